// @ts-check
// What the page shows and asks. Items are identified by id; a point is the position of an item on the map that is shown.

import { EmbeddedSource, ServerSource, valuesOf } from "./api.js";
import { formatCell, plainText, stem } from "./format.js";

export const PAGE_SIZE = 10; // results at first, and more each time

/** @type {any} */
export const state = {
  source: document.querySelector('script[data-name="info"]') ? new EmbeddedSource() : new ServerSource(),
  info: null,
  ids: [], // of the points of the map
  points: new Map(), // id -> point
  rows: new Map(), // id -> hit, of this version
  // start | similar {plus, minus} | search {words} | path {start, end} | file {blob} |
  // selection {region, ids}: the ids within the region, whatever the filters
  question: { kind: "start" },
  axes: "", // the layout that is shown, or the columns that are its axes
  map: undefined, // the same if it was chosen; undefined if it is that of the start
  selected: null, // Set of the selected points; the others are dimmed
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

/** The row of an item, with the terms that it is near. */
export async function rowOf(id) {
  if (!state.rows.get(id)?.terms) {
    const row = await state.source.row(id);
    state.rows.set(id, { ...state.rows.get(id), ...row });
  }
  return state.rows.get(id);
}

/**
 * The points of the present list: the results, the selection, or all items that pass the filters.
 * @returns {number[]}
 */
export function presentPoints() {
  const { kind } = state.question;
  const points = kind === "start" ? [...state.ids.keys()] : listedPoints();
  return kind === "start" || kind === "selection" ? points.filter((point) => parts.filters.accepts(point)) : points;
}

/** The points of the selection, whatever the filters, or of the results. */
function listedPoints() {
  const { kind, ids = [] } = state.question;
  const listed = kind === "selection" ? ids : state.hits.map(({ id }) => id);
  return listed.map(pointOf).filter((point) => point !== null);
}

/** 1 for each point of the selection, whatever the filters, or of the results; null if all items are listed. */
export function listMembers() {
  if (state.question.kind === "start") return null;
  const members = new Uint8Array(state.ids.length);
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

let titles = { source: null, column: /** @type {any} */ (null) };

/** The title of a point; "" until the column of the titles is there, which this loads. */
export function titleAt(point) {
  const id = state.ids[point] ?? "";
  const hit = state.rows.get(id);
  if (hit) return titleOf(hit);
  const { source, info } = state;
  if (info.title === "id") return stem(id);
  if (titles.source !== source) {
    const loading = (titles = { source, column: null });
    const show = (column) => {
      loading.column = column;
      parts.chart.draw();
    };
    source.column(info.title).then(show, () => {});
  }
  return titles.column ? valuesOf(titles.column, point).map((cell) => formatCell(cell)).join(", ") || stem(id) : "";
}

/** The title of a point, and its value in the column that colours the map ("" if that is the title or none). */
export async function labelOf(point) {
  const { title } = state.info;
  const colour = state.colour && state.colour !== title ? state.colour : "";
  const format = async (name) =>
    valuesOf(await state.source.column(name), point)
      .map((cell) => formatCell(cell))
      .join(", ");
  return {
    title: (title === "id" ? "" : await format(title)) || stem(state.ids[point]),
    value: colour ? await format(colour) : "",
  };
}
