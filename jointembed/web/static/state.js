// @ts-check
// What the page shows and asks. Items are identified by id; a point is the position of an item on the map that is shown.

import { EmbeddedSource, ServerSource, VersionError } from "./api.js";
import { formatCell, plainText, stem } from "./format.js";

export const PAGE_SIZE = 10; // results at first, and more each time
const MAX_ITEMS = 200; // of a request
const MAX_ROWS = 20; // that are asked for by id, each by a request
const NAMING_MS = 60; // for which titles are collected before they are asked for

/** @type {any} */
export const state = {
  source: document.querySelector('script[data-name="info"]') ? new EmbeddedSource() : new ServerSource(),
  info: null,
  points: new Map(), // id -> point, of the items that are known so far
  ids: new Map(), // the inverse
  rows: new Map(), // id -> hit, of this version
  // start | similar {plus, minus} | search {words} | path {start, end} | file {blob} |
  // selection {region, ids, points, source}: the points within the region, whatever the filters, of a source; their ids
  // in place of the region once another map or field is shown
  question: { kind: "start" },
  axes: "", // the layout that is shown, or the columns that are its axes
  map: undefined, // the same if it was chosen; undefined if it is that of the start
  selected: null, // Uint8Array, 1 for each selected point; the others are dimmed
  hits: [],
  k: PAGE_SIZE,
  pathStart: null, // the id where a path begins whose end is still to be chosen
  colour: "", // the column that colours the points
  column: null, // its cells
  clusters: null, // the column of the clusters, whose names the map shows where no other categories colour it
  range: [0, 1], // of its colours, if it holds numbers
  wantedColour: undefined, // that which was chosen, "" for none; undefined if none was
  view: "map", // or "table"
  hasScores: false, // whether the hits have some that mean nearness
  hidden: new Set(), // categories that the legend hides
  turn: 0, // number of the latest question
  loads: 0, // number of the latest load of a field
  searched: "", // the words that were searched last
};

/** @type {any} The chart, overlay, filters, list, table and player. */
export const parts = {};

/** The point of an item, or null if it is not on the map. */
export const pointOf = (id) => state.points.get(id) ?? null;

/** Keep what hits tell of their items. */
export function remember(hits) {
  for (const hit of hits) {
    const { id, position } = hit;
    state.rows.set(id, { ...state.rows.get(id), ...hit });
    if (typeof position !== "number") continue;
    state.points.set(id, position);
    state.ids.set(position, id);
  }
}

/** The row of an item, with the terms that it is near. */
export async function rowOf(id) {
  if (!state.rows.get(id)?.terms) {
    const { source } = state;
    const row = await source.row(id);
    if (source !== state.source) return row;
    remember([row]);
  }
  return state.rows.get(id);
}

/** The items at some points. @param {number[]} points */
export async function itemsAt(points) {
  const { source } = state;
  const missing = points.filter((point) => !state.rows.has(state.ids.get(point)));
  for (let at = 0; at < missing.length; at += MAX_ITEMS) {
    const items = await source.items(missing.slice(at, at + MAX_ITEMS));
    if (source !== state.source) throw new VersionError("Another map is shown.");
    remember(items);
  }
  return points.map((point) => state.rows.get(state.ids.get(point)));
}

/** The ids of some points. @param {ArrayLike<number>} points @returns {Promise<string[]>} */
export async function idsOf(points) {
  const known = Array.from(points, (point) => state.ids.get(point));
  if (!known.includes(undefined)) return known;
  if (points.length <= MAX_ITEMS) return (await itemsAt(Array.from(points))).map(({ id }) => id);
  const { values } = await state.source.column("id");
  return Array.from(points, (point) => values[point]);
}

/** Find out which points some items are. Those that are not on the map have none. @param {string[]} ids */
export async function locate(ids) {
  const missing = new Set(ids.filter((id) => !state.points.has(id)));
  if (missing.size <= MAX_ROWS) return void (await Promise.all([...missing].map((id) => rowOf(id).catch(() => null))));
  const { source } = state;
  const { values } = await source.column("id");
  if (source !== state.source) return;
  values.forEach((id, point) => missing.has(id) && state.points.set(id, point));
}

/**
 * The points of the present list: the results, the selection, or all items that pass the filters.
 * @returns {Uint32Array}
 */
export function presentPoints() {
  const { kind } = state.question;
  const accepts = (point) => parts.filters.accepts(point);
  if (kind !== "start") {
    const points = Uint32Array.from(listedPoints());
    return kind === "selection" ? points.filter(accepts) : points;
  }
  const points = new Uint32Array(state.info.count);
  let count = 0;
  for (let point = 0; point < points.length; point++) if (accepts(point)) points[count++] = point;
  return points.subarray(0, count);
}

/** The points of the selection, whatever the filters, or of the results. @returns {Iterable<number>} */
function listedPoints() {
  const { kind, points = [] } = state.question;
  return kind === "selection" ? points : state.hits.map(({ id }) => pointOf(id)).filter((point) => point !== null);
}

/** 1 for each point of the selection, whatever the filters, or of the results; null if all items are listed. */
export function listMembers() {
  if (state.question.kind === "start") return null;
  const members = new Uint8Array(state.info.count);
  for (const point of listedPoints()) members[point] = 1;
  return members;
}

/** The title of a hit. */
export function titleOf(hit) {
  const title = hit.row[state.info.title];
  return (
    (typeof title === "string" && plainText(title)) || (typeof title === "number" && String(title)) || stem(hit.id)
  );
}

const unnamed = new Set(); // points whose titles are to be loaded
let isNaming = false;

/** The title of a point; "" until its item is there, which this loads. */
export function titleAt(point) {
  const hit = state.rows.get(state.ids.get(point));
  if (hit) return titleOf(hit);
  unnamed.add(point);
  if (!isNaming) loadTitles();
  return "";
}

/** Load the items of the points whose titles are wanted last, one request after the other. */
async function loadTitles() {
  isNaming = true;
  await new Promise((resolve) => setTimeout(resolve, NAMING_MS));
  const points = [...unnamed].slice(-MAX_ITEMS);
  unnamed.clear();
  await itemsAt(points.filter((point) => point < state.info.count)).catch(() => {}); // the map shows less names
  isNaming = false;
  parts.chart.drawMarks();
}

/** The title of a point, and its value in the column that colours the map ("" if that is the title or none). */
export async function labelOf(point) {
  const [hit] = await itemsAt([point]);
  const { title } = state.info;
  const colour = state.colour && state.colour !== title ? state.colour : "";
  const cell = colour ? (hit.row[colour] ?? "") : "";
  return { title: titleOf(hit), value: formatCell(cell, colour) };
}
