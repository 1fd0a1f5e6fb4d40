// @ts-check
// What the page shows as the query of its URL, so that it can be shared, bookmarked and reloaded: the question, its
// field and filters, the map and its colours, the table and its order.

import { encodeId } from "./format.js";

const REGION_DIGITS = 4; // of a coordinate; the map is about 2 wide

/**
 * @param {any} question
 * @param {{field?: string, where?: string, options?: Record<string, any>, map?: string | string[], colour?: string,
 *   view?: string, contours?: boolean, sort?: {name: string, isDescending: boolean}}}
 *   scope `map` is the name of a layout or the columns that are its axes; what is undefined is left out
 * @returns {string} the query with its "?", or ""
 */
export function formatQuery(question, { field, where, options = {}, map, colour, view, contours, sort }) {
  const params = [];
  if (question.kind === "similar") {
    for (const id of question.plus) params.push(["similar", id]);
    for (const id of question.minus) params.push(["unlike", id]);
  }
  if (question.kind === "search") params.push(["q", question.words]);
  if (question.kind === "path") params.push(["start", question.start], ["end", question.end]);
  if (question.kind === "selection" && question.region)
    params.push(["region", question.region.flat().map((value) => +value.toFixed(REGION_DIGITS))]);
  for (const [name, value] of Object.entries({ where, field, ...options })) if (value) params.push([name, value]);
  if (Array.isArray(map)) for (const name of map) params.push(["axis", name]);
  else if (map) params.push(["map", map]);
  if (colour !== undefined) params.push(["colour", colour]);
  if (contours) params.push(["contours", true]);
  if (view === "table") params.push(["view", view]);
  if (sort?.name) params.push(["sort", sort.name], ...(sort.isDescending ? [["order", "descending"]] : []));
  return params.length ? `?${params.map(([name, value]) => `${name}=${encodeId(String(value))}`).join("&")}` : "";
}

/** The question and scope of a query that `formatQuery` wrote. */
export function parseQuery(query) {
  const all = query
    .replace(/^\?/, "")
    .split("&")
    .filter(Boolean)
    .map((part) => {
      const [name, ...value] = part.split("=");
      return [name, decodeId(value.join("="))];
    });
  const list = (name) => all.filter(([each]) => each === name).map(([, value]) => value);
  const get = (name) => list(name)[0] ?? "";
  const options = /** @type {Record<string, any>} */ ({});
  if (get("one_per")) options.one_per = get("one_per");
  if (Number(get("diversity"))) options.diversity = Number(get("diversity"));
  if (get("deduplicate") === "true") options.deduplicate = true;
  /**
   * @type {{field: string, where: string, options: Record<string, any>, map?: string | string[], colour?: string,
   *   view?: string, contours?: boolean, sort?: {name: string, isDescending: boolean}}}
   */
  const scope = { field: get("field"), where: get("where"), options };
  if (list("axis").length > 1) scope.map = list("axis");
  else if (get("map")) scope.map = get("map");
  if (list("colour").length) scope.colour = get("colour");
  if (get("contours") === "true") scope.contours = true;
  if (get("view") === "table") scope.view = "table";
  if (get("sort")) scope.sort = { name: get("sort"), isDescending: get("order") === "descending" };
  if (list("similar").length)
    return { ...scope, question: { kind: "similar", plus: list("similar"), minus: list("unlike") } };
  if (get("q")) return { ...scope, question: { kind: "search", words: get("q") } };
  if (get("start") && get("end")) return { ...scope, question: { kind: "path", start: get("start"), end: get("end") } };
  const region = parseRegion(get("region"));
  if (region) return { ...scope, question: { kind: "selection", region } };
  return { ...scope, question: { kind: "start" } };
}

/** The corners [x, y] of a region, or null if it is none. */
function parseRegion(text) {
  const values = text.split(",").map(Number);
  if (values.length < 6 || values.length % 2 || !values.every(Number.isFinite)) return null;
  return Array.from({ length: values.length / 2 }, (_, at) => [values[2 * at], values[2 * at + 1]]);
}

/** The inverse of `encodeId`: bytes that are not UTF-8 become lone surrogates. */
function decodeId(text) {
  return text.replaceAll("+", " ").replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    let decoded = "";
    while (run) {
      const character = [4, 3, 2, 1].map((bytes) => run.slice(0, 3 * bytes)).find(isUtf8);
      decoded += character
        ? decodeURIComponent(character)
        : String.fromCharCode(0xdc00 + parseInt(run.slice(1, 3), 16));
      run = run.slice(character ? character.length : 3);
    }
    return decoded;
  });
}

function isUtf8(run) {
  try {
    return [...decodeURIComponent(run)].length === 1;
  } catch {
    return false;
  }
}
