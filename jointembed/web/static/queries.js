// @ts-check
// Questions, their answers, and how the answers are shown: similar items, mixes, words, paths, files, selections.

import { VersionError } from "./api.js";
import { formatQuery } from "./address.js";
import { theme } from "./colour.js";
import { updateColours } from "./colouring.js";
import { showField } from "./dataset.js";
import { announce, byId, el, icon, iconButton } from "./dom.js";
import { plainText, plural } from "./format.js";
import { rowDetails } from "./list.js";
import { openMenu } from "./menu.js";
import { pointsWithin, thin } from "./region.js";
import {
  PAGE_SIZE,
  idsOf,
  itemsAt,
  listMembers,
  locate,
  parts,
  pointOf,
  remember,
  rowOf,
  state,
  titleOf,
} from "./state.js";
import { updateTable } from "./view.js";

const EXAMPLES = 8; // items of the start page
const GOLDEN_RATIO = 0.6180339887;
const MAX_TRIES = 4000; // points tried as examples
const MAX_RELOADS = 3;
const NEAR = 50; // items near the last songs, some of which follow
const REVEALED = 10; // hits that the map moves to show
const MAX_REMEMBERED = 10000; // ids of a selection in an entry of the history

/** Ask a question, or the present one again, and show the answer. */
export async function ask(question = state.question, { k = PAGE_SIZE, isNew = question !== state.question } = {}) {
  const turn = ++state.turn;
  Object.assign(state, { question, k });
  updateAddress(isNew);
  byId("results").setAttribute("aria-busy", "true");
  try {
    const result = await runUpToDate(question, k, turn);
    if (turn === state.turn && result) renderResult(question, result);
  } catch (error) {
    if (turn === state.turn) renderError(error);
  } finally {
    if (turn === state.turn) byId("results").removeAttribute("aria-busy");
    await renderMix();
  }
}

/** Write the question into the page's URL, as a new entry of the history or in place of the present one. */
export function updateAddress(isNew) {
  const { field } = state.source;
  const { filters } = parts;
  const { hasContours: contours } = parts.overlay;
  const view = { map: state.map, colour: state.wantedColour, contours, view: state.view, sort: parts.table.sort };
  const scope = { field, where: filters.where(), options: filters.options, ...view };
  const entry = { question: questionToRemember(), ...scope };
  const write = (isNew ? history.pushState : history.replaceState).bind(history);
  try {
    write(entry, "", formatQuery(state.question, scope) || location.pathname);
  } catch {
    write(entry, ""); // a page opened from disk may not change its URL
  }
}

/** The present question as an entry of the history holds it. */
function questionToRemember() {
  const { points, source, ...question } = state.question;
  return question.ids?.length > MAX_REMEMBERED ? { kind: "start" } : question;
}

/** Keep the selected items while another map or field takes the place of the one in which they were selected. */
export async function keepSelection(question) {
  if (question.region) Object.assign(question, { ids: await idsOf(question.points), region: null });
}

/** Run a query. If the index has changed since the map was loaded, load the map again, then repeat the query. */
async function runUpToDate(question, k, turn) {
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await runQuery(question, k);
      if (!result.version || result.version === state.info.version || attempt > MAX_RELOADS) return result;
    } catch (error) {
      if (attempt > MAX_RELOADS || !(await isOutdated(error))) throw error;
    }
    if (turn !== state.turn || !(await showField(state.source.field, { isReload: true }))) return null;
  }
}

/** Whether an error comes from a change of the index. */
async function isOutdated(error) {
  if (error instanceof VersionError) return true;
  return error.status === 404 && (await state.source.info()).version !== state.info.version;
}

/** Load the map again because the index has changed; the results stay. */
export async function reloadMap() {
  await showField(state.source.field, { isReload: true });
  const { plus = [] } = state.question;
  await locate([...plus, ...state.hits.map((/** @type {any} */ hit) => hit.id)]);
  highlightResults();
}

/** Do something with the data of the map, which is loaded again first if the index has changed. */
export async function withCurrentMap(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof VersionError)) throw error;
    await reloadMap();
    await action();
  }
}

/** The items near some others that pass the filters, nearest first. */
export async function findSimilar(ids) {
  const { filters } = parts;
  const accept = (/** @type {number} */ point) => filters.accepts(point);
  return (await state.source.similar(ids, [], { k: NEAR, where: filters.where(), options: {}, accept })).hits;
}

/** The answer to a question: { hits, heading, hint, version, method }. */
async function runQuery(question, k) {
  const { filters } = parts;
  const { source, info } = state;
  const wanted = {
    k,
    where: filters.where(),
    options: filters.options,
    accept: (/** @type {number} */ point) => filters.accepts(point),
  };
  const within = filters.count ? " within the filters" : "";
  if (question.kind === "similar") {
    const answer = await source.similar(question.plus, question.minus, wanted);
    const isSingle = question.plus.length === 1 && !question.minus.length;
    const [first] = await Promise.all(question.plus.map(rowOf));
    return {
      ...answer,
      chosen: isSingle ? first : null,
      heading: isSingle ? "Most similar" : "Most similar to the mix",
      hint: answer.note || (answer.hits.length ? "" : `No items${within}.`),
    };
  }
  if (question.kind === "search") {
    const answer = await source.search(question.words, wanted);
    if (answer.method === "model") info.text = "ready";
    const loading = info.text === "loading" ? " while the model loads" : "";
    const method = answer.method === "model" ? "by meaning" : `by the words in the columns${loading}`;
    const total = answer.total > answer.hits.length ? `${plural(answer.total, "item")} in total` : "";
    return {
      ...answer,
      heading: `“${plainText(question.words)}”`,
      hint: answer.hits.length
        ? [method, total].filter(Boolean).join(", ")
        : `No matches${within}${loading && " in the columns; the model still loads"}.`,
    };
  }
  if (question.kind === "path") {
    const answer = await source.path(question.start, question.end, wanted);
    const [start, end] = await Promise.all([question.start, question.end].map(async (id) => titleOf(await rowOf(id))));
    return { ...answer, heading: "Path", hint: `From ${start} to ${end}. Scores are similarities to the end.` };
  }
  if (question.kind === "selection") return listSelection(question, k);
  if (question.kind === "file") {
    const answer = await source.file(question.blob, wanted);
    return { ...answer, heading: `Similar to ${plainText(question.blob.name)}` };
  }
  return {
    hits: await itemsAt(examplePoints()),
    heading: info.count ? "Start anywhere" : "Nothing here yet",
    hint:
      question.hint ??
      (info.count ? "Click a point on the map, search, or start with one of these." : "This index is empty."),
  };
}

/** The selected items: those within a region of the map, which later maps show too, if the filters accept them. */
async function listSelection(question, k) {
  const { source } = state;
  if (question.region) question.points = pointsWithin(question.region, parts.chart);
  else if (question.source !== source) {
    await locate(question.ids);
    question.points = Uint32Array.from(question.ids.map(pointOf).filter((/** @type {any} */ point) => point !== null));
  }
  question.source = source;
  const points = question.points.filter((/** @type {number} */ point) => parts.filters.accepts(point));
  const hits = await itemsAt([...points.subarray(0, k)]);
  const selected = new Uint8Array(state.info.count);
  for (const point of points) selected[point] = 1;
  return {
    hits,
    selected,
    heading: `${plural(points.length, "item")} selected`,
    hint: points.length ? (points.length > hits.length ? `The first ${hits.length} are listed.` : "") : "Draw around some points.",
  };
}

/** Points in all parts of the index that pass the filters. */
function examplePoints() {
  const { count } = state.info;
  const points = new Set();
  for (let at = 0; at < Math.min(count, MAX_TRIES) && points.size < EXAMPLES; at++) {
    const point = Math.floor((((at + 0.5) * GOLDEN_RATIO) % 1) * count);
    if (parts.filters.accepts(point)) points.add(point);
  }
  return [...points];
}

function renderResult(question, result) {
  const { hits, heading, hint } = result;
  const isStart = question.kind === "start";
  const isSelection = question.kind === "selection";
  const focused = document.activeElement;
  const hasScores = result.method !== "text" && !isStart && !isSelection;
  Object.assign(state, { hits, hasScores });
  remember(hits);
  renderChosen(result.chosen);
  parts.list.show(hits, {
    hasRanks: !isStart && !isSelection,
    hasScores,
  });
  select(result.selected ?? null, question.region ?? []);
  byId("heading").textContent = heading;
  byId("hint").textContent = hint || "";
  byId("hint").hidden = !hint;
  byId("clear").hidden = isStart;
  byId("more").hidden =
    hits.length < state.k ||
    !["similar", "search", "file", "selection"].includes(question.kind) ||
    (!isSelection && state.k >= (state.info.k ?? Infinity));
  byId("saved").textContent = "";
  updateTable();
  parts.filters.showPresent(listMembers());
  announce(isStart ? "" : `${plural(hits.length, "result")}. ${heading}. ${hint || ""}`);
  highlightResults();
  parts.player.showState();
  if (!isStart && !isSelection) {
    const ids = [...(question.plus ?? []), ...hits.slice(0, REVEALED).map((hit) => hit.id)];
    parts.chart.reveal(ids.map(pointOf).filter((point) => point !== null));
  }
  // A button that the answer replaced had the focus: keep it with the answer.
  if (focused && focused !== document.body && !document.contains(focused))
    (byId("chosen").querySelector("h2") ?? byId("heading")).focus({ preventScroll: true });
}

export function renderError(error) {
  byId("heading").textContent = "That did not work";
  byId("hint").textContent = error.message;
  byId("hint").hidden = false;
  byId("more").hidden = true;
  state.hits = [];
  parts.list.show([]);
  updateTable();
  announce(error.message);
  highlightResults();
}

/** Dim all points but the selected ones (none if null), and outline their region. */
function select(points, region) {
  parts.overlay.region = region;
  if (!points && !state.selected) return;
  state.selected = points;
  updateColours();
}

/** Select the points within a region that was drawn on the map. */
export const askSelection = (corners) => ask({ kind: "selection", region: thin(corners) });

/** The item whose neighbours are listed. */
function renderChosen(hit) {
  const box = byId("chosen");
  box.hidden = !hit;
  if (!hit) return box.replaceChildren();
  const title = titleOf(hit);
  const play = () => parts.player.play(hit, [hit, ...state.hits]);
  const startPath = () => {
    state.pathStart = hit.id;
    renderMix();
    announce("Choose the end of the path");
  };
  const actions = el(
    "div",
    { class: "acts" },
    hit.audio ? iconButton("play", `Play ${title}`, play, { "data-play": hit.id }) : null,
    hit.audio
      ? iconButton("more", `More for ${title}`, (event) => openHitMenu(hit, event.currentTarget), {
          "aria-haspopup": "menu",
        })
      : null,
    state.source.isLive ? iconButton("path", "Path from here to another item", startPath) : null,
    iconButton("close", "Clear the selection", clear),
  );
  const heading = el("h2", { dir: "auto", tabindex: -1 }, title);
  const details = rowDetails(hit.row, state.info, hit.terms);
  box.replaceChildren(el("div", { class: "over" }, heading, actions), ...(details ? [details] : []));
  if (details && details.scrollHeight > details.clientHeight) details.tabIndex = 0; // so that keys scroll it
}

/** What can be done with an item beyond its buttons. */
export function openHitMenu(hit, button, { hasMix = false } = {}) {
  /** @type {[string, () => any][]} */
  const queue = [
    ["Play next", () => parts.player.enqueue(hit, true)],
    ["Add to queue", () => parts.player.enqueue(hit)],
  ];
  /** @type {[string, () => any][]} */
  const mix = [
    ["Add to the mix", () => addToMix(hit.id, 1)],
    ["Subtract from the mix", () => addToMix(hit.id, -1)],
  ];
  openMenu(button, [...(hit.audio ? queue : []), ...(hasMix && state.source.isLive ? mix : [])]);
}

/** The items of a mix, or the start of a path whose end is still to be chosen. */
async function renderMix() {
  const { question } = state;
  const signs =
    question.kind === "similar" ? [...question.plus.map((id) => [id, 1]), ...question.minus.map((id) => [id, -1])] : [];
  const isMix = signs.length > 1;
  const tokens = await Promise.all(
    (isMix ? signs : []).map(async ([id, sign]) => {
      const title = titleOf(await rowOf(id));
      return el(
        "span",
        { class: sign > 0 ? "token" : "token less" },
        icon(sign > 0 ? "plus" : "minus"),
        el("span", { class: "title", dir: "auto" }, title),
        iconButton("close", `Remove ${title} from the mix`, () => removeFromMix(id)),
      );
    }),
  ).catch(() => []);
  const start = state.pathStart === null ? null : await rowOf(state.pathStart).catch(() => null);
  if (!start) state.pathStart = null;
  else {
    const title = titleOf(start);
    const cancel = () => {
      state.pathStart = null;
      renderMix();
    };
    const label = el("span", { class: "title", dir: "auto" }, `From ${title} to …`);
    tokens.push(
      el("span", { class: "token wide" }, icon("path"), label, iconButton("close", "Cancel the path", cancel)),
    );
  }
  const box = byId("mix");
  const hadFocus = box.contains(document.activeElement);
  box.replaceChildren(...tokens);
  box.hidden = !tokens.length;
  if (hadFocus) byId("heading").focus({ preventScroll: true });
}

export function askSimilar(id) {
  const start = state.pathStart;
  state.pathStart = null;
  if (start !== null && id !== start) return ask({ kind: "path", start, end: id });
  return ask({ kind: "similar", plus: [id], minus: [] });
}

/** Add an item to the mix (sign 1) or subtract it (-1). */
export function addToMix(id, sign) {
  const { plus = [], minus = [] } = state.question.kind === "similar" ? state.question : {};
  const without = (ids) => ids.filter((each) => each !== id);
  const next = { kind: "similar", plus: without(plus), minus: without(minus) };
  (sign > 0 ? next.plus : next.minus).push(id);
  if (!next.plus.length) return announce("Add an item before you subtract one");
  return ask(next);
}

function removeFromMix(id) {
  const { plus, minus } = state.question;
  const without = (ids) => ids.filter((each) => each !== id);
  const next = { kind: "similar", plus: without(plus), minus: without(minus) };
  return next.plus.length ? ask(next) : clear();
}

export function clear() {
  state.pathStart = null;
  byId("query").value = state.searched = "";
  return ask({ kind: "start" });
}

/** Ask the present question of another field. */
export async function switchField(field) {
  const title = byId("chosen").querySelector("h2")?.textContent;
  const { question } = state;
  if (question.kind === "selection") await keepSelection(question);
  if (!(await showField(field))) return;
  if (question.kind === "selection") return ask({ ...question });
  const ids = [question.plus, question.minus, question.start, question.end].flat().filter((id) => id !== undefined);
  await locate(state.pathStart === null ? ids : [...ids, state.pathStart]);
  const isComplete = ids.every((id) => state.points.has(id));
  if (pointOf(state.pathStart) === null) state.pathStart = null;
  const name = plainText(field);
  const hint = `${title ? `“${title}”` : "An item of the query"} has no vector in ${name}.`;
  await ask(isComplete ? { ...question, hint: null } : { kind: "start", hint });
  const answer = byId("status").textContent || byId("facts").textContent;
  announce(`Compared by ${name}. ${isComplete ? answer : hint}`);
}

/** Show the results on the map. */
export function highlightResults() {
  const { chart, overlay } = parts;
  const { question, hits } = state;
  const isResult = question.kind !== "start" && question.kind !== "selection";
  const points = (ids) => ids.map(pointOf).filter((point) => point !== null);
  overlay.results = {
    from: question.kind === "similar" ? points(question.plus) : [],
    hits: isResult ? points(hits.map((hit) => hit.id)) : [],
    isPath: question.kind === "path",
  };
  const opacity = isResult && hits.length ? (theme() === "dark" ? 0.4 : 0.38) : 1;
  if (opacity === chart.opacity) chart.drawMarks();
  else Object.assign(chart, { opacity }).draw();
}
