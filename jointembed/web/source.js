// Where answers come from: a server, or what is written into the page. Both answer alike, with hits
// { place, id, score, row, audio, alike }, place being the number of a point of the map.

const fold = (text) => {
  const low = text.toLowerCase();
  return /[^\x00-\x7f]/.test(low) ? low.normalize("NFKD").replace(/\p{M}/gu, "") : low;
};

/** What a row has in a column, as a list. */
function things(column, place) {
  if (column.kind !== "category") return column.values[place] === null ? [] : [column.values[place]];
  const code = column.codes[place];
  return (Array.isArray(code) ? code : code < 0 ? [] : [code]).map((one) => column.values[one]);
}

/** An id in an address: bytes of a file name that are no UTF-8 are lone surrogates. */
const address = (id) => {
  let text = "";
  for (const sign of id) {
    const code = sign.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) text += `%${(code - 0xdc00).toString(16)}`;
    else text += code >= 0xd800 && code <= 0xdfff ? "%EF%BF%BD" : encodeURIComponent(sign);
  }
  return text;
};

class Served {
  compose = true;
  column = ""; // whose vectors are meant; those of the first one if ""
  known = new Map();

  async get(path, params = [], more = {}, column = this.column) {
    const query = [...params, ["column", column]].filter(
      ([, value]) => value !== "" && value !== null && value !== undefined,
    );
    const text = query.map(([name, value]) => `${name}=${address(String(value))}`).join("&");
    const answer = await fetch(`/api/${path}${text ? `?${text}` : ""}`, more).catch(() => null);
    if (!answer) throw new Error("The server does not answer.");
    if (!answer.ok)
      throw new Error((await answer.json().catch(() => ({}))).error || `The server answers ${answer.status}.`);
    return answer;
  }

  async json(path, params, more, column) {
    return (await this.get(path, params, more, column)).json();
  }

  about(column) {
    return this.json("about", [], {}, column);
  }

  /** What is asked for once, unless that fails. */
  once(name, read) {
    if (!this.known.has(name)) {
      this.known.set(name, read());
      this.known.get(name).catch(() => this.known.delete(name));
    }
    return this.known.get(name);
  }

  map(axes, column = this.column) {
    return this.once(`map ${axes} ${column}`, async () => {
      const answer = await this.get("map", [["axes", axes]], {}, column);
      return new Float32Array(await answer.arrayBuffer());
    });
  }

  cells(name, column = this.column) {
    return this.once(JSON.stringify([name, column]), () => this.json("cells", [["name", name]], {}, column));
  }

  async row(place) {
    const id = (await this.cells("id")).values[place];
    return { place, ...(await this.json("row", [["id", id]])) };
  }

  async hits(path, params, wanted, more) {
    const { k, where, per, diverse, distinct } = wanted;
    const options = [
      ["k", k],
      ["where", where],
      ["per", per],
      ["diverse", diverse || ""],
      ["distinct", distinct ? 1 : ""],
    ];
    return this.json(path, [...params, ...options], more);
  }

  async similar(plus, minus, wanted) {
    const ids = (await this.cells("id")).values;
    const params = [...plus.map((place) => ["id", ids[place]]), ...minus.map((place) => ["minus", ids[place]])];
    return this.hits("similar", params, wanted);
  }

  search(words, { k, where, per }) {
    return this.hits("search", [["q", words]], { k, where, per });
  }

  async path(start, end, { where }) {
    const ids = (await this.cells("id")).values;
    return this.json("path", [
      ["start", ids[start]],
      ["end", ids[end]],
      ["n", 10],
      ["where", where],
    ]);
  }

  file(blob, { k, where }) {
    return this.hits("query", [], { k, where }, { method: "POST", body: blob });
  }
}

class Saved {
  compose = false;
  column = ""; // it holds one only
  known = new Map();

  /** The text of a block of the page, which may still be on its way; it is read once. */
  async block(name) {
    const find = () => document.querySelector(`script[data-name="${name}"]`);
    // A block counts once something stands after it: until then it may be half of itself.
    while (document.readyState === "loading" && !find()?.nextSibling) await new Promise((go) => setTimeout(go, 30));
    const node = find();
    const text = node ? node.textContent : null;
    node?.remove();
    return text;
  }

  async bytes(name) {
    const text = await this.block(name);
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text).buffer;
    return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;
  }

  once(name, read) {
    if (!this.known.has(name)) this.known.set(name, read());
    return this.known.get(name);
  }

  about() {
    return this.once("about", async () => (this.shown = JSON.parse(await this.block("about"))));
  }

  map(axes) {
    return this.once(`map ${axes}`, async () => {
      const steps = new Uint16Array(await this.bytes(`map ${axes}`));
      const { count } = await this.about();
      const dims = steps.length / count;
      const points = new Float32Array(count * 3);
      for (let place = 0; place < count; place++) {
        const missing = steps[place * dims] === 65535;
        for (let axis = 0; axis < dims; axis++) {
          points[place * 3 + axis] = missing ? NaN : (steps[place * dims + axis] / 65534) * 2 - 1;
        }
      }
      return points;
    });
  }

  cells(name) {
    return this.once(`cell ${name}`, async () => {
      const at = (await this.about()).cells.findIndex((cell) => cell.name === name);
      return JSON.parse(await this.block(`cell ${at < 0 ? "id" : at}`));
    });
  }

  async row(place) {
    const { cells } = await this.about();
    const links = await this.once("links", async () => JSON.parse(await this.block("links")) || []);
    const id = (await this.cells("id")).values[place];
    const row = { id };
    for (const { name } of cells) {
      const found = things(await this.cells(name), place);
      if (found.length) row[name] = found.length > 1 ? found : found[0];
    }
    const told = await this.once("words", async () => JSON.parse(await this.block("words")));
    const words = told ? told.near[place].map((at) => told.values[at]) : [];
    return { place, id, row, words, audio: links[place] || null, alike: [] };
  }

  async listed(places, scores) {
    const hits = await Promise.all(places.map((place) => this.row(place)));
    return hits.map((hit, at) => ({ ...hit, rank: at + 1, score: scores ? scores[at] : null }));
  }

  async similar([place], _minus, { k, accept }) {
    const {
      k: most,
      scores: [low, high],
    } = await this.about();
    const near = await this.once("near", async () => new Uint32Array(await this.bytes("near")));
    const steps = await this.once("scores", async () => new Uint16Array(await this.bytes("scores")));
    const all = Array.from({ length: most }, (_, at) => place * most + at);
    const kept = all.filter((at) => accept(near[at])).slice(0, k);
    const hits = await this.listed(
      kept.map((at) => near[at]),
      kept.map((at) => low + (steps[at] / 65535) * (high - low)),
    );
    return { hits, note: kept.length < k && kept.length < most ? `of the ${most} nearest, which this file holds` : "" };
  }

  async search(words, { k, accept }) {
    const { cells, count, title } = await this.about();
    const wanted = fold(words).split(/\s+/).filter(Boolean);
    const names = [
      title,
      ...cells.filter((cell) => cell.kind !== "number" && cell.name !== title).map((cell) => cell.name),
    ];
    const tables = await Promise.all(names.map((name) => this.folded(name)));
    const found = [];
    for (let place = 0; place < count; place++) {
      if (!accept(place)) continue;
      let worth = 0;
      const all = wanted.every((word) => {
        const at = tables.findIndex((has) => has(place, word));
        worth += at === 0 ? 1 : 0;
        return at >= 0;
      });
      if (all) found.push([worth, place]);
    }
    found.sort((one, other) => other[0] - one[0] || one[1] - other[1]);
    return { hits: await this.listed(found.slice(0, k).map(([, place]) => place)), how: "text", total: found.length };
  }

  /** Whether a row has a word in a column. */
  folded(name) {
    return this.once(`folded ${name}`, async () => {
      const column = await this.cells(name);
      const low = column.values.map((value) => (value === null ? "" : fold(String(value))));
      if (column.kind !== "category") return (place, word) => low[place].includes(word);
      return (place, word) => [column.codes[place]].flat().some((code) => code >= 0 && low[code].includes(word));
    });
  }
}

const source = document.querySelector('script[data-name="about"]') ? new Saved() : new Served();
