// @ts-check
// Where answers come from: a server, or the data embedded in the page. Both have the same methods; items are
// identified by id, and hits are { id, rank, score, row, position, audio, duplicates }; the position is that on the map.

import { encodeId, normalize } from "./format.js";
import { readOutline } from "./outline.js";
import { dequantize, isMissing, typeColumn, unpackColumn } from "./packed.js";

const PATH_ITEMS = 10;
const MAX_FINE = 100000; // items whose map is loaded in all its precision at once

/** The index changed between two answers: what was loaded belongs to an older version. */
export class VersionError extends Error {}

/** The values of a row in a column, as a list. */
export function valuesOf(column, point) {
  if (column.kind !== "category") return isMissing(column.values[point]) ? [] : [column.values[point]];
  const code = column.codes[point];
  return (Array.isArray(code) ? code : code < 0 ? [] : [code]).map((each) => column.values[each]);
}

/** The numbers of a column, also of one whose few integers are categories; NaN for none. @returns {Float64Array} */
export function numeric(column) {
  if (column.kind === "number") return column.values;
  return Float64Array.from(column.codes, (code) => (Array.isArray(code) || code < 0 ? NaN : column.values[code]));
}

/** A promise for each key, made once; a failed one is forgotten. */
class Cache {
  promises = new Map();

  get(key, load) {
    if (!this.promises.has(key)) {
      const promise = load();
      this.promises.set(key, promise);
      promise.catch(() => this.promises.delete(key));
    }
    return this.promises.get(key);
  }
}

/** A server, asked about one vector field (the first one if "") of one version of its index. */
export class ServerSource {
  isLive = true;
  cache = new Cache();

  constructor(field = "", version = "", count = 0) {
    this.field = field;
    this.version = version;
    this.count = count; // of the items
  }

  at(field, version, count) {
    return new ServerSource(field, version, count);
  }

  /** @param {RequestInit} [init] */
  async get(path, params = [], init = {}, field = this.field) {
    const query = [...params, ["field", field]].filter(
      ([, value]) => value !== "" && value !== null && value !== undefined && value !== false && value !== 0,
    );
    const text = query.map(([name, value]) => `${name}=${encodeId(String(value))}`).join("&");
    const answer = await fetch(`api/${path}${text ? `?${text}` : ""}`, init).catch(() => null);
    init.signal?.throwIfAborted();
    if (!answer) throw new Error("The server does not answer.");
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(body.error || `The server answered with status ${answer.status}.`), {
      status: answer.status,
    });
  }

  async json(path, params = [], init = {}) {
    return (await this.get(path, params, init)).json();
  }

  async info(field = this.field) {
    return (await this.get("info", [], {}, field)).json();
  }

  check(version) {
    if (version !== this.version) throw new VersionError("The index has changed.");
  }

  /** Whether the points of `layout` are only nearly where they belong. */
  get isCoarse() {
    return this.count > MAX_FINE;
  }

  /**
   * The points (N, 3) of a layout.
   * @param {string} axes @param {AbortSignal} [signal] of who waits
   * @param {boolean} isFine whether they are exact, which takes more bytes
   */
  layout(axes, signal, isFine = !this.isCoarse) {
    return this.cache.get(`layout ${axes} ${isFine}`, async () => {
      const answer = await this.get("layout", [["axes", axes], ["bits", isFine ? "" : 16]], { signal });
      this.check(answer.headers.get("index-version"));
      const content = await answer.arrayBuffer();
      return isFine ? new Float32Array(content) : dequantize(new Uint16Array(content), this.count);
    });
  }

  column(name) {
    return this.cache.get(`column ${name}`, async () => {
      const answer = await this.get("column", [["name", name], ["format", "packed"]]);
      const column = unpackColumn(await answer.arrayBuffer());
      this.check(column.version);
      return column;
    });
  }

  /** The items at some points, of which there may be 200. */
  async items(points) {
    const { items, version } = await this.json("items", points.map((point) => ["position", String(point)]));
    this.check(version);
    return items;
  }

  row(id) {
    return this.json("row", [["id", id]]);
  }

  similar(plus, minus, { k, where, options }) {
    const ids = [...plus.map((id) => ["id", id]), ...minus.map((id) => ["unlike", id])];
    const { one_per, diversity, deduplicate } = options;
    const chosen = [
      ["one_per", one_per],
      ["diversity", diversity],
      ["deduplicate", deduplicate],
    ];
    return this.json("similar", [...ids, ["k", k], ["where", where], ...chosen]);
  }

  search(words, { k, where, options }) {
    return this.json("search", [
      ["q", words],
      ["k", k],
      ["where", where],
      ["one_per", options.one_per],
    ]);
  }

  path(start, end, { where }) {
    return this.json("path", [
      ["start", start],
      ["end", end],
      ["n", PATH_ITEMS],
      ["where", where],
    ]);
  }

  /** The address of the picture of a hit, which need not exist. */
  cover(hit) {
    return hit.audio ? `api/cover?id=${encodeId(hit.id)}&version=${encodeId(this.version)}` : null;
  }

  /** The outline of the sound of a song, in [0, 1], if it can be read. */
  outline(song, signal) {
    return readOutline(song.audio, signal);
  }

  /** A playlist of items, as a Blob. */
  async playlist(ids) {
    return (await this.get("playlist", [], { method: "POST", body: JSON.stringify({ ids }) })).blob();
  }

  file(blob, { k, where }) {
    return this.json(
      "query",
      [
        ["k", k],
        ["where", where],
      ],
      { method: "POST", body: blob },
    );
  }
}

/** The data of an exported page, which holds one field of one version. */
export class EmbeddedSource {
  isLive = false;
  field = "";
  version = "";
  cache = new Cache();
  covers = new Map(); // id -> data URL, of the items that were shown

  at() {
    return this;
  }

  /** The text of a data block, which may still be loading; a block is read once. */
  async block(name) {
    const find = () => document.querySelector(`script[data-name="${name}"]`);
    // A block is complete once another node follows it.
    while (document.readyState === "loading" && !find()?.nextSibling)
      await new Promise((resolve) => setTimeout(resolve, 30));
    const node = find();
    const text = node ? node.textContent : null;
    node?.remove();
    return text;
  }

  /** @returns {Promise<ArrayBuffer>} */
  async bytes(name) {
    const text = await this.block(name);
    const decode = /** @type {any} */ (Uint8Array).fromBase64;
    if (decode) return decode.call(Uint8Array, text).buffer;
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  }

  info(_field = "") {
    return this.cache.get("info", async () => JSON.parse(await this.block("info")));
  }

  isCoarse = false;

  layout(axes) {
    return this.cache.get(`layout ${axes}`, async () => {
      const { count } = await this.info();
      return dequantize(new Uint16Array(await this.bytes(`layout ${axes}`)), count);
    });
  }

  column(name) {
    return this.cache.get(`column ${name}`, async () => {
      const at = (await this.info()).columns.findIndex((column) => column.name === name);
      return typeColumn(JSON.parse(await this.block(`column ${at < 0 ? "id" : at}`)));
    });
  }

  items(points) {
    return Promise.all(points.map((point) => this.rowAt(point)));
  }

  /** Map(id -> point). */
  points() {
    return this.cache.get("points", async () => {
      const ids = (await this.column("id")).values;
      return new Map(ids.map((id, point) => [id, point]));
    });
  }

  async row(id) {
    const point = (await this.points()).get(id);
    if (point === undefined) throw new Error(`This page has no item ${id}.`);
    return this.rowAt(point);
  }

  async rowAt(point) {
    const { columns } = await this.info();
    const links = await this.cache.get("links", async () => JSON.parse(await this.block("links")) || []);
    const id = (await this.column("id")).values[point];
    const row = { id };
    for (const { name } of columns) {
      const values = valuesOf(await this.column(name), point);
      if (values.length) row[name] = values.length > 1 ? values : values[0];
    }
    const vocabulary = await this.cache.get("terms", async () => JSON.parse(await this.block("terms")));
    const terms = vocabulary ? vocabulary.near[point].map((at) => vocabulary.values[at]) : [];
    const covers = await this.cache.get("covers", async () => JSON.parse(await this.block("covers")));
    if (covers) this.covers.set(id, covers.values[covers.of[point]] ?? null);
    return { id, row, position: point, terms, audio: links[point] || null, duplicates: [] };
  }

  /** The picture of a hit as a data URL, if the file has room for it. */
  cover(hit) {
    return this.covers.get(hit.id) ?? null;
  }

  /** The outline of the sound of a song, in [0, 1], if the file holds it. @returns {Promise<Float32Array | null>} */
  async outline(song) {
    const outlines = await this.cache.get("outlines", async () => JSON.parse(await this.block("outlines")));
    const point = (await this.points()).get(song.id);
    const text = outlines?.values[outlines.of[point]];
    return text ? Float32Array.from(atob(text), (character) => character.charCodeAt(0) / 255) : null;
  }

  async hits(points, scores) {
    const rows = await Promise.all(points.map((point) => this.rowAt(point)));
    return rows.map((hit, at) => ({ ...hit, rank: at + 1, score: scores ? scores[at] : null }));
  }

  async similar([id], _minus, { k, accept }) {
    const info = await this.info();
    const [low, high] = info.scores;
    const neighbors = await this.cache.get("neighbors", async () => new Uint32Array(await this.bytes("neighbors")));
    const steps = await this.cache.get("scores", async () => new Uint16Array(await this.bytes("scores")));
    const point = (await this.points()).get(id);
    if (point === undefined) throw new Error(`This page has no item ${id}.`);
    const all = Array.from({ length: info.k }, (_, at) => point * info.k + at);
    const accepted = all.filter((at) => accept(neighbors[at])).slice(0, k);
    const hits = await this.hits(
      accepted.map((at) => neighbors[at]),
      accepted.map((at) => low + (steps[at] / 65535) * (high - low)),
    );
    const isCut = accepted.length < k && accepted.length < info.k;
    return { hits, note: isCut ? `Only the ${info.k} nearest items are in this file.` : "" };
  }

  async search(words, { k, accept }) {
    const { columns, count, title } = await this.info();
    const terms = normalize(words).split(/\s+/).filter(Boolean);
    const names = [
      title,
      ...columns.filter((column) => column.kind !== "number" && column.name !== title).map((column) => column.name),
    ];
    const contains = await Promise.all(names.map((name) => this.matcher(name)));
    const matches = [];
    for (let point = 0; point < count; point++) {
      if (!accept(point)) continue;
      let inTitle = 0;
      const hasAll = terms.every((term) => {
        const at = contains.findIndex((matches) => matches(point, term));
        inTitle += at === 0 ? 1 : 0;
        return at >= 0;
      });
      if (hasAll) matches.push({ inTitle, point });
    }
    matches.sort((a, b) => b.inTitle - a.inTitle || a.point - b.point);
    const hits = await this.hits(matches.slice(0, k).map(({ point }) => point));
    return { hits, method: "text", total: matches.length };
  }

  /** A function (point, term) -> whether a column of this row contains the term. */
  matcher(name) {
    return this.cache.get(`matcher ${name}`, async () => {
      const column = await this.column(name);
      const texts = column.values.map((value) => (value === null ? "" : normalize(String(value))));
      if (column.kind !== "category") return (point, term) => texts[point].includes(term);
      return (point, term) => [column.codes[point]].flat().some((code) => code >= 0 && texts[code].includes(term));
    });
  }
}
