// @ts-check
// What the page shows of an index: one field of one version. When the index changes, it is loaded again.

import { VersionError } from "./api.js";
import { availableChoices, loadLayout, showChoices, updateColours, useColour } from "./colouring.js";
import { byId } from "./dom.js";
import { Filters } from "./filters.js";
import { formatCount, plainText, plural } from "./format.js";
import { updateInset } from "./sheet.js";
import { parts, state } from "./state.js";

const MAX_ATTEMPTS = 5;
const MODEL_POLL_MS = 1000;
const CLUSTERS = "cluster"; // the column that `jointembed cluster` writes
const EMPTY = { points: new Float32Array(0), dims: 2, scales: null };

/**
 * Show the items that have a vector in a field. Everything is loaded before anything is shown. A reload keeps the
 * results, the question and the view of the map.
 * @returns {Promise<boolean>} false if another field was chosen meanwhile
 */
export async function showField(field, { isReload = false } = {}) {
  const load = ++state.loads;
  for (let attempt = 1; ; attempt++) {
    try {
      const loaded = await loadField(field);
      if (load !== state.loads) return false;
      apply(loaded, isReload);
      await loadIds(loaded);
      return load === state.loads;
    } catch (error) {
      if (!(error instanceof VersionError) || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

async function loadField(field) {
  const info = await state.source.info(field);
  const source = state.source.at(field, info.version, info.count);
  const choices = availableChoices(info);
  const layout = info.count ? await loadLayout(choices.axes, source) : EMPTY;
  const column = info.count && choices.colour ? await source.column(choices.colour) : null;
  const hasClusters = info.columns.some(({ name, kind, size }) => name === CLUSTERS && kind === "category" && size > 1);
  const clusters = hasClusters ? await source.column(CLUSTERS) : null;
  const filters = new Filters(byId("controls"), info, source, parts.onFilter);
  if (parts.filters && info.count) await filters.restore(parts.filters.where(), parts.filters.options);
  if (parts.filters?.isBuilt) await filters.load();
  return { info, source, choices, layout, column, clusters, filters };
}

function apply({ info, source, choices, layout, column, clusters, filters }, isReload) {
  const wasBuilt = parts.filters?.isBuilt;
  const hidden = [...state.hidden].map((code) => state.column?.values?.[code]);
  Object.assign(state, { source, info, clusters, ids: new Map(), points: new Map() });
  parts.list.info = info;
  parts.filters = filters;
  state.rows.clear();
  if (!isReload) {
    state.turn++; // answers on their way are about other items
    parts.list.show([]);
  }
  parts.overlay.hovered = null;
  parts.overlay.results = { from: [], hits: [], isPath: false };
  byId("tip").hidden = true;
  byId("field").value = source.field;
  showFacts();
  showQueries();
  byId("filters").hidden = !filters.hasControls;
  if (wasBuilt) filters.show();
  showFilterCount();
  showChoices(choices);
  const isSameColour = choices.colour === state.colour && column?.kind === "category";
  state.hidden = new Set(
    isSameColour ? hidden.map((value) => column.values.indexOf(value)).filter((at) => at >= 0) : [],
  );
  useColour(choices.colour, column);
  parts.chart.setPoints(layout.points, layout.dims, layout.scales, isReload);
  updateColours();
  updateInset();
  requestAnimationFrame(() => performance.mark("map"));
}

/** Load the ids of an index that is not large: its items are found then, also after the index has changed. */
async function loadIds({ info, source }) {
  if (source.isCoarse || !info.count) return;
  const { values } = await source.column("id");
  if (source !== state.source) return;
  state.ids = new Map(values.entries());
  state.points = new Map(values.map((id, point) => [id, point]));
}

function showFacts() {
  const { info } = state;
  const items = info.rows > info.count ? `${formatCount(info.count)} of ` : "";
  const by = info.fields.length > 1 ? ` by ${plainText(info.field)}` : "";
  const facts = [`${items}${plural(info.rows, "item")}${by}`, `${info.dim} dimensions`, info.metric, info.note];
  byId("facts").textContent = facts.filter(Boolean).join(" · ");
  byId("points").setAttribute("aria-label", `Map of ${plural(info.count, "item")}${by}`);
}

export function showFilterCount() {
  byId("active").textContent = parts.filters.count;
  byId("active").hidden = !parts.filters.count;
}

/** Show which queries are possible; ask again until the model has loaded. */
function showQueries() {
  const { info } = state;
  byId("query").placeholder = info.text && info.text !== "none" ? "Search by meaning" : "Search in titles and columns";
  byId("file").hidden = !info.file;
  if (info.text !== "loading") return;
  setTimeout(async () => {
    const { text, file } = await state.source.info().catch(() => info);
    if (info !== state.info) return;
    Object.assign(info, { text, file });
    showQueries();
    if (text === "ready") parts.onModel(); // what was searched in the columns is searched by meaning
  }, MODEL_POLL_MS);
}
