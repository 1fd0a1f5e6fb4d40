// @ts-check
// The page: its parts, their events, and how it starts.

import { parseQuery } from "./address.js";
import { VersionError } from "./api.js";
import { Chart } from "./chart.js";
import { theme } from "./colour.js";
import {
  AXES,
  LAYOUTS,
  chosenAxes,
  refineLayout,
  setColour,
  setLayout,
  showAxes,
  styleSwatch,
  updateColours,
  updateLegend,
} from "./colouring.js";
import { showField, showFilterCount } from "./dataset.js";
import { announce, byId, debounce, memory, option, prefersDark } from "./dom.js";
import { plainText } from "./format.js";
import { ResultList } from "./list.js";
import { Overlay } from "./overlay.js";
import { Player } from "./player.js";
import { attachPointer } from "./pointer.js";
import {
  addToMix,
  ask,
  askSelection,
  askSimilar,
  clear,
  findSimilar,
  highlightResults,
  keepSelection,
  openHitMenu,
  reloadMap,
  renderError,
  switchField,
  updateAddress,
  withCurrentMap,
} from "./queries.js";
import { attachSaveMenu } from "./save.js";
import { attachSheetHandle, updateInset } from "./sheet.js";
import { PAGE_SIZE, idsOf, labelOf, parts, pointOf, state, titleAt, titleOf } from "./state.js";
import { Table } from "./table.js";
import { attachView, setView } from "./view.js";

const TYPING_DELAY = 220; // milliseconds
const PENDING_MS = 500; // after which, and how often, the wait for a layout is shown
const MAX_ZOOM = 500;
const MIN_ZOOM = 0.5;
const UNSORTED = { name: "", isDescending: false };

/** @type {Promise<any>} */
let label = Promise.resolve(null); // of the point under the pointer, once it is loaded
let tipped = null; // the point that the tooltip was shown for

/** Show the tooltip of a point. */
async function showTooltip(point, pixel) {
  const { overlay, chart } = parts;
  const tip = byId("tip");
  overlay.hovered = point;
  chart.canvas.classList.toggle("over", point !== null);
  chart.drawMarks();
  if (point !== tipped) tip.hidden = true;
  if (point === null || !pixel) return;
  // One label is loaded at a time, so that a pointer on its way leaves no queue.
  const loading = (label = label.then(() => (overlay.hovered === point ? labelOf(point) : null)).catch(() => null));
  const shown = await loading;
  if (overlay.hovered !== point || !shown) return;
  const { title, value } = shown;
  tip.hidden = false;
  tipped = point;
  const bold = document.createElement("b");
  bold.dir = "auto";
  bold.textContent = title;
  tip.replaceChildren(bold);
  if (value) {
    const text = document.createElement("span");
    text.dir = "auto";
    text.textContent = value;
    tip.append(text);
  }
  const [x, y] = chart.position(point);
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(chart.width - width - 8, x - width / 2))}px`;
  tip.style.top = `${y - height - 14 < 8 ? y + 16 : y - height - 14}px`;
}

/** Announce the point that is nearest to the middle of the map. */
async function announceMiddle() {
  const { chart } = parts;
  const { x, y } = chart.frame();
  const point = chart.nearest(x, y, Infinity);
  if (point === null) return;
  const { title, value } = await labelOf(point);
  announce(value ? `${title}, ${value}` : title);
}

/** Show the items similar to that of a point; if the index has changed meanwhile, only load it again. */
async function openPoint(point) {
  try {
    const [id] = await idsOf([point]);
    await askSimilar(id);
  } catch (error) {
    if (!(error instanceof VersionError)) throw error;
    await reloadMap();
  }
}

function applyTheme() {
  document.documentElement.dataset.theme = memory.get("theme") ?? (prefersDark.matches ? "dark" : "light");
  byId("theme").setAttribute("aria-pressed", theme() === "dark");
  if (!parts.chart?.count) return;
  updateLegend();
  updateColours();
  highlightResults();
  parts.player.waveform.draw();
}

function onFiltersChanged() {
  showFilterCount();
  updateColours();
  ask();
}

async function whileBusy(action) {
  document.body.classList.add("busy");
  try {
    await action();
  } finally {
    document.body.classList.remove("busy");
  }
}

let waiting = new AbortController(); // for a layout
let awaited = ""; // its name

/** Show a layout once it has been computed, which takes long for a new one; until then the present one stays. */
async function showLayout(axes) {
  showAxes(state.axes);
  if (awaited === String(axes)) return false;
  waiting.abort();
  const own = (waiting = new AbortController());
  awaited = String(axes);
  const name = LAYOUTS[axes] ?? "Columns";
  const begin = performance.now();
  const show = () => {
    byId("pending").hidden = false;
    byId("pending-text").textContent = `${name}: computing, ${Math.round((performance.now() - begin) / 1000)} s`;
  };
  const timer = setInterval(show, PENDING_MS);
  try {
    await whileBusy(() => withCurrentMap(() => setLayout(axes, own.signal)));
    showFlatTools();
    announce(`Map: ${name}`);
    return true;
  } catch (error) {
    if (!own.signal.aborted) throw error;
    announce(`Map: ${LAYOUTS[state.axes] ?? "Columns"}`);
    return false;
  } finally {
    clearInterval(timer);
    if (own === waiting) {
      byId("pending").hidden = true;
      awaited = "";
    }
  }
}

/** Whether a drag on the map draws a region, or moves the map. */
function setSelecting(isSelecting) {
  parts.chart.isSelecting = isSelecting;
  parts.chart.canvas.classList.toggle("selecting", isSelecting);
  byId("select").setAttribute("aria-pressed", isSelecting);
}

/** Whether lines of equal density are drawn on the map. */
function setContours(hasContours) {
  parts.overlay.hasContours = hasContours;
  byId("contours").setAttribute("aria-pressed", hasContours);
  parts.chart.drawMarks();
}

/** The buttons for what only a flat map has. */
function showFlatTools() {
  for (const id of ["select", "contours"]) byId(id).hidden = parts.chart.dims !== 2;
}

/** Show the view, the map and the colours of an address, if they are not shown yet. */
async function restoreView(/** @type {any} */ { map, colour, contours, view = "map", sort = UNSORTED }) {
  setContours(Boolean(contours));
  parts.table.setSort(sort.name, sort.isDescending);
  if (view !== state.view) await withCurrentMap(() => setView(view));
  if (map !== undefined && String(map) !== String(state.axes)) await showLayout(map);
  if (colour !== undefined && colour !== state.colour) {
    byId("colour").value = colour;
    await withCurrentMap(() => setColour(colour));
  }
}

function attachMapEvents() {
  const { chart } = parts;
  const onLayout = () =>
    showLayout(chosenAxes())
      .then((isShown) => {
        const { question } = state;
        if (!isShown) return null;
        if (question.kind === "selection") return keepSelection(question).then(() => ask(question));
        return updateAddress(false);
      })
      .catch(renderError);
  byId("pending-cancel").addEventListener("click", () => {
    waiting.abort();
    byId("map").focus();
  });
  for (const id of ["map", ...AXES]) byId(id).addEventListener("change", onLayout);
  byId("colour").addEventListener("change", () => {
    const name = byId("colour").value;
    withCurrentMap(() => setColour(name))
      .then(() => updateAddress(false))
      .catch(renderError);
  });
  byId("field").addEventListener("change", () =>
    whileBusy(() => switchField(byId("field").value)).catch((error) => {
      byId("field").value = state.source.field;
      renderError(error);
    }),
  );
  const announceLater = debounce(300, () => announceMiddle().catch(() => {}));
  chart.on("view", () => {
    parts.overlay.draw();
    refineLayout().catch(() => {}); // the coarse map stays
  });
  chart.on("hover", (point, pixel) => showTooltip(point, pixel).catch(() => {}));
  chart.on("move", announceLater);
  chart.on("pick", (point) => {
    if (point !== null) openPoint(point).catch(renderError);
    else if (state.pathStart === null && state.question.kind === "similar") clear();
  });
  chart.on("outline", (corners) => {
    parts.overlay.outline = corners;
    chart.drawMarks();
  });
  chart.on("select", askSelection);
  byId("select").addEventListener("click", () => setSelecting(!chart.isSelecting));
  byId("contours").addEventListener("click", () => {
    setContours(!parts.overlay.hasContours);
    updateAddress(false);
  });
  const zoom = (factor) =>
    chart.animateTo({ zoom: Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, chart.view.zoom * factor)) }, 260);
  byId("in").addEventListener("click", () => zoom(1.7));
  byId("out").addEventListener("click", () => zoom(1 / 1.7));
  byId("fit").addEventListener("click", () => chart.fit());
  for (const name of ["focus", "blur"]) chart.canvas.addEventListener(name, () => chart.drawMarks());
  byId("legend").addEventListener("toggle", updateInset);
  const resizes = new ResizeObserver(() => updateInset());
  for (const id of ["panel", "stage"]) resizes.observe(byId(id));
}

function attachSearchEvents() {
  const search = (isTyped = false) => {
    const words = (state.searched = byId("query").value.trim());
    if (!words) return clear();
    // What is typed on the way to the words that are meant is no entry of the history.
    const { kind, words: before } = state.question;
    const isNew = kind !== "search" || (!isTyped && words !== before);
    return ask({ kind: "search", words }, { isNew });
  };
  byId("search").addEventListener("submit", () => search());
  byId("query").addEventListener("search", () => {
    if (!byId("query").value && state.question.kind === "search") clear();
  });
  let isSearching = false; // one at a time, so that a slow model has no queue of half words
  const searchTyped = async () => {
    const words = byId("query").value.trim();
    if (isSearching || words.length < 2 || words === state.searched) return;
    isSearching = true;
    await search(true);
    isSearching = false;
    searchTyped();
  };
  byId("query").addEventListener("input", debounce(TYPING_DELAY, searchTyped));
  byId("clear").addEventListener("click", clear);
  byId("more").addEventListener("click", () => ask(state.question, { k: state.k + PAGE_SIZE }));
  byId("filters").addEventListener("toggle", () => withCurrentMap(() => parts.filters.open()).catch(renderError));
  byId("theme").addEventListener("click", () => {
    memory.set("theme", theme() === "dark" ? "light" : "dark");
    applyTheme();
  });
  prefersDark.addEventListener("change", applyTheme);
}

function attachFileEvents() {
  const searchFile = (files) => files[0] && ask({ kind: "file", blob: files[0] });
  byId("file").addEventListener("click", () => byId("upload").click());
  byId("upload").addEventListener("change", () => searchFile(byId("upload").files));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (state.info.file && event.dataTransfer) searchFile(event.dataTransfer.files);
  });
}

function attachPageEvents() {
  // Back and forward restore the question with its field and filters.
  window.addEventListener("popstate", async (event) => {
    const { question, field, where, options, ...view } = event.state ?? parseQuery(location.search);
    try {
      if (field !== state.source.field && !(await showField(field))) return;
      await parts.filters.restore(where, options);
      await restoreView(view);
      showFilterCount();
      updateColours();
      await ask(question, { isNew: false });
    } catch (error) {
      renderError(error);
    }
  });
  document.addEventListener("keydown", (event) => {
    const target = /** @type {any} */ (event.target);
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== "range";
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      byId("query").focus();
      byId("query").select();
    }
    if (event.key === "Escape") clear();
  });
}

function createParts(info) {
  parts.onFilter = onFiltersChanged;
  parts.onModel = () => state.question.kind === "search" && ask();
  parts.chart = new Chart(byId("points"));
  attachPointer(parts.chart);
  parts.overlay = new Overlay(byId("marks"), byId("ground"), parts.chart);
  parts.overlay.title = titleAt;
  parts.list = new ResultList(byId("list"), info, {
    similar: (hit) => askSimilar(hit.id),
    mix: (hit, sign) => addToMix(hit.id, sign),
    play: (hit, list) => parts.player.play(hit, list),
    more: (hit, button) => openHitMenu(hit, button, { hasMix: true }),
    hover: (id) => {
      parts.overlay.hovered = id === null ? null : pointOf(id);
      parts.chart.drawMarks();
    },
    styleSwatch,
  });
  parts.table = new Table(byId("table"), {
    open: (point) => openPoint(point).catch(renderError),
    sort: (name, isDescending) => {
      parts.table.setSort(name, isDescending);
      updateAddress(false);
    },
  });
  parts.player = new Player(byId("player"), byId("queue"), {
    titleOf,
    announce,
    isLive: state.source.isLive,
    name: info.name,
    coverOf: (song) => state.source.cover(song),
    readOutline: (song, signal) => state.source.outline(song, signal),
    findSimilar,
  });
  if (!parts.chart.alive) showNotice("This browser does not support WebGL 2. The list works without the map.");
}

function showNotice(text) {
  byId("veil").textContent = text;
  byId("veil").hidden = false;
}

/** Offer the other indexes of the server, each of which has a page of its own. */
function showIndexes({ name, indexes = [] }) {
  byId("indexes").hidden = indexes.length < 2;
  byId("index").append(...indexes.map((each) => option(each, each)));
  byId("index").value = name;
  byId("index").addEventListener("change", () => location.assign(`../${encodeURIComponent(byId("index").value)}/`));
  // The browser may show this page again as it was left, on the way back.
  window.addEventListener("pageshow", () => (byId("index").value = name));
}

async function start() {
  applyTheme();
  byId("search").addEventListener("submit", (event) => event.preventDefault());
  const { question, field, where, options, map, colour, contours, view, sort } = parseQuery(location.search);
  Object.assign(state, { map, wantedColour: colour });
  const info = await state.source.info(field);
  const hasFields = state.source.isLive && info.fields.length > 1;
  document.title = `${info.name} · jointembed`;
  byId("name").textContent = info.name;
  byId("fields").hidden = !hasFields;
  byId("field").append(...info.fields.map((name) => option(name, plainText(name))));
  showIndexes(info);
  createParts(info);
  await showField(hasFields ? info.field : "");
  attachMapEvents();
  attachSearchEvents();
  attachFileEvents();
  attachPageEvents();
  attachSaveMenu();
  attachView((/** @type {() => Promise<any>} */ action) =>
    withCurrentMap(action)
      .then(() => updateAddress(false))
      .catch(renderError),
  );
  attachSheetHandle();
  showFlatTools();
  if (where || Object.keys(options).length) {
    await parts.filters.restore(where, options);
    showFilterCount();
    updateColours();
  }
  if (question.kind === "search") byId("query").value = state.searched = question.words;
  await restoreView({ contours, view, sort });
  await ask(question, { isNew: false });
}

start().catch((error) => showNotice(error.message));
