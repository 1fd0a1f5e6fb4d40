// @ts-check
// The map or the table, one of which is shown.

import { byId, announce } from "./dom.js";
import { plural } from "./format.js";
import { parts, pointOf, presentPoints, state } from "./state.js";

const VIEWS = ["map", "table"];

/** Show the map or the table. @param {string} view */
export async function setView(view) {
  state.view = view;
  for (const name of VIEWS) byId(`view-${name}`).setAttribute("aria-pressed", name === view);
  byId("stage").dataset.view = view;
  byId("table").hidden = view !== "table";
  updateTable();
  await parts.table.loading;
}

/** Let the table show the present list. */
export function updateTable() {
  const isTable = state.view === "table";
  byId("save").hidden = !isTable && (state.question.kind === "start" || !state.hits.length);
  byId("count").hidden = !isTable;
  if (!isTable) return;
  const scored = state.hits.filter(({ id, score }) => pointOf(id) !== null && typeof score === "number");
  const scores = state.hasScores ? new Map(scored.map(({ id, score }) => [pointOf(id), score])) : null;
  parts.table.setSource(state.source);
  parts.table.setList(presentPoints(), scores);
  byId("count").textContent = plural(parts.table.list.length, "item");
  byId("save").hidden = !parts.table.list.length;
}

/** Let the buttons switch the view, by `run`, which writes the address and shows errors. */
export function attachView(run) {
  for (const name of VIEWS) {
    byId(`view-${name}`).addEventListener("click", () =>
      run(async () => {
        await setView(name);
        announce(name === "table" ? `Table of ${byId("count").textContent}` : "Map");
      }),
    );
  }
}
