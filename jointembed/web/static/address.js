// @ts-check
// The question as the query of the page's URL, so that a search can be shared, bookmarked and reloaded.

import { encodeId } from "./format.js";

/**
 * @param {any} question
 * @param {{field?: string, where?: string, options?: Record<string, any>}} scope
 * @returns {string} the query with its "?", or ""
 */
export function formatQuery(question, { field, where, options = {} }) {
  const params = [];
  if (question.kind === "similar") {
    for (const id of question.plus) params.push(["similar", id]);
    for (const id of question.minus) params.push(["unlike", id]);
  }
  if (question.kind === "search") params.push(["q", question.words]);
  if (question.kind === "path") params.push(["start", question.start], ["end", question.end]);
  for (const [name, value] of Object.entries({ where, field, ...options })) if (value) params.push([name, value]);
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
  const scope = { field: get("field"), where: get("where"), options };
  if (list("similar").length)
    return { ...scope, question: { kind: "similar", plus: list("similar"), minus: list("unlike") } };
  if (get("q")) return { ...scope, question: { kind: "search", words: get("q") } };
  if (get("start") && get("end")) return { ...scope, question: { kind: "path", start: get("start"), end: get("end") } };
  return { ...scope, question: { kind: "start" } };
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
