// @ts-check
// The column that colours the points, the legend that explains it, and the layout that is shown.

import { numeric } from "./api.js";
import { DIMMED, DISC, HIDDEN, RING } from "./chart.js";
import { GREY, categoryColour, channels, css, rampColour, theme } from "./colour.js";
import { byId, cssVariable, el, option } from "./dom.js";
import { formatCount, formatQuantity, plainText, plural } from "./format.js";
import { updateInset } from "./sheet.js";
import { parts, pointOf, state } from "./state.js";

export const MAX_CATEGORIES = 18; // in the legend and named on the map: one for each colour and shape
export const LAYOUTS = {
  pca2: "Principal components",
  pca3: "Principal components, 3-D",
  umap2: "UMAP",
  umap3: "UMAP, 3-D",
};
export const AXES = ["axis-0", "axis-1", "axis-2"];
const CROWD = 20000; // points, above which they are more transparent

/** The chosen layout: its name, or two or three columns as axes. */
export const chosenAxes = () => byId("map").value || AXES.map((id) => byId(id).value).filter(Boolean);

/** Colour all points by the chosen column, and dim those that the filters exclude or that are not selected. */
export function updateColours() {
  const { chart, overlay, filters } = parts;
  const { shapes, tints, count } = chart;
  const { column } = state;
  const isDark = theme() === "dark";
  const grey = { rgb: channels(GREY[theme()]), isRing: false };
  const uniform = { rgb: channels(isDark ? "#8fb4dd" : "#3d6b9e"), isRing: false };
  const dimmed = channels(isDark ? "#9aa0a6" : "#8a867e");
  const styles = column?.kind === "category" ? column.values.map((_, code) => categoryColour(code)) : [];
  const [low, high] = state.range;
  const filtered = column?.kind === "category" ? filters.chosen.get(state.colour) : null;
  const alpha = 255 * (count > CROWD ? 0.8 : 0.92);
  for (let point = 0; point < count; point++) {
    let style = grey;
    let isHidden = false;
    if (!column) style = uniform;
    else if (column.kind === "number") {
      const value = column.values[point];
      if (value !== null) style = { rgb: rampColour((value - low) / (high - low || 1)), isRing: false };
    } else {
      const codes = column.codes[point];
      const code = Array.isArray(codes) ? shownCategory(codes, filtered) : codes;
      isHidden = code === undefined || state.hidden.has(Math.min(code, MAX_CATEGORIES));
      style = styles[code] ?? grey;
    }
    const isAccepted = filters.accepts(point) && (!state.selected || state.selected.has(point));
    const rgb = isAccepted ? style.rgb : dimmed;
    tints[point * 4] = rgb[0];
    tints[point * 4 + 1] = rgb[1];
    tints[point * 4 + 2] = rgb[2];
    tints[point * 4 + 3] = isAccepted ? alpha : 255 * 0.16;
    shapes[point] = isHidden ? HIDDEN : !isAccepted ? DIMMED : style.isRing ? RING : DISC;
  }
  chart.paper = channels(cssVariable("--paper-hex")).map((value) => value / 255);
  overlay.setLabels(column?.kind === "category" ? column : state.clusters, MAX_CATEGORIES, filtered);
  chart.updateBuffers();
  for (const item of byId("list").children) styleSwatch(item.querySelector(".swatch"), item.dataset.id);
}

/** The category that colours an item of several: one that is filtered for, else the first that is not hidden. */
function shownCategory(codes, filtered) {
  const visible = codes.filter((code) => !state.hidden.has(Math.min(code, MAX_CATEGORIES)));
  return visible.find((code) => filtered?.has(code)) ?? visible[0];
}

/** Give a swatch the colour and the shape of an item on the map; hide it if the item is not there. */
export function styleSwatch(swatch, id) {
  const point = pointOf(id);
  swatch.hidden = point === null;
  if (point === null) return;
  swatch.style.color = css([...parts.chart.tints.subarray(point * 4, point * 4 + 3)]);
  swatch.classList.toggle("ring", parts.chart.shapes[point] === RING);
}

export function updateLegend() {
  const { column } = state;
  byId("legend").hidden = !column;
  if (!column) return;
  byId("legend-name").textContent = plainText(state.colour);
  byId("keys-of-colour").replaceChildren(...(column.kind === "number" ? rampLegend(column) : categoryLegend(column)));
}

function rampLegend(column) {
  const [low, high] = state.range;
  const ramp = el("i", { class: "ramp", "aria-hidden": "true" });
  const stops = [0, 0.2, 0.4, 0.6, 0.8, 1].map((fraction) => css(rampColour(fraction)));
  ramp.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  const isInteger = column.values.every((value) => value === null || Number.isInteger(value));
  const middle = isInteger ? Math.round((low + high) / 2) : (low + high) / 2;
  const labels = [low, middle, high].map((value) => formatQuantity(state.colour, value, high - low));
  if (state.range.isCutLow) labels[0] = `≤ ${labels[0]}`;
  if (state.range.isCutHigh) labels[2] = `≥ ${labels[2]}`;
  return [ramp, el("div", { class: "scale" }, ...labels.map((label) => el("span", {}, label)))];
}

function categoryLegend(column) {
  const counts = new Array(column.values.length + 1).fill(0);
  for (const code of column.codes.flat()) counts[code < 0 ? column.values.length : code]++;
  const showAll = el(
    "button",
    {
      id: "all-keys",
      class: "link",
      type: "button",
      onclick: () => {
        state.hidden.clear();
        updateLegend();
        updateColours();
      },
    },
    "Show all",
  );
  showAll.hidden = !state.hidden.size;
  const toggle = (button, code) => {
    if (!state.hidden.delete(code)) state.hidden.add(code);
    button.setAttribute("aria-pressed", !state.hidden.has(code));
    showAll.hidden = !state.hidden.size;
    updateColours();
  };
  const entry = (code, text, count) => {
    const { rgb, isRing } = categoryColour(code);
    const swatch = el("i", { class: isRing ? "swatch ring" : "swatch", "aria-hidden": "true" });
    swatch.style.color = css(rgb);
    return el(
      "button",
      {
        class: "key",
        type: "button",
        "aria-pressed": !state.hidden.has(code),
        onclick: (event) => toggle(event.currentTarget, code),
      },
      swatch,
      el("span", { class: "title", dir: "auto" }, text),
      el("small", {}, formatCount(count)),
    );
  };
  const keys = column.values
    .slice(0, MAX_CATEGORIES)
    .map((value, code) => entry(code, plainText(value) || "(blank)", counts[code]));
  const rest = column.values.length - MAX_CATEGORIES;
  if (rest > 0) {
    const count = counts.slice(MAX_CATEGORIES, -1).reduce((sum, each) => sum + each, 0);
    keys.push(entry(MAX_CATEGORIES, plural(rest, "other"), count));
  }
  if (counts.at(-1)) keys.push(entry(-1, "none", counts.at(-1)));
  return [...keys, showAll];
}

/** Colour by a column with these cells (null for none). */
export function useColour(name, column) {
  state.colour = name;
  state.column = column;
  if (column?.kind === "number") state.range = robustRange(column.values);
  updateLegend();
}

export async function setColour(name) {
  state.wantedColour = name;
  const column = name ? await state.source.column(name) : null;
  state.hidden.clear();
  useColour(name, column);
  updateColours();
  updateInset();
}

function extremes(values) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) if (value !== null) [least, most] = [Math.min(least, value), Math.max(most, value)];
  return [least, most];
}

/** The range without the outer 2 % at both ends, so that outliers do not take most of the colours. */
function robustRange(values) {
  const sorted = Float64Array.from(values.filter((value) => value !== null)).sort();
  if (!sorted.length) return [0, 1];
  const quantile = (fraction) => sorted[Math.round(fraction * (sorted.length - 1))];
  const [least, most, low, high] = [quantile(0), quantile(1), quantile(0.02), quantile(0.98)];
  if (sorted.length < 50 || low === high) return [least, most];
  return Object.assign([low, high], { isCutLow: low > least, isCutHigh: high < most });
}

/** The points (N, 3) of a layout, by its name or by columns as axes: { points, dims, scales }. */
export async function loadLayout(axes, source = state.source, signal = undefined) {
  if (typeof axes === "string")
    return { points: await source.layout(axes, signal), dims: axes.endsWith("3") ? 3 : 2, scales: null };
  const columns = await Promise.all(axes.map((name) => source.column(name)));
  const numbers = columns.map(numeric);
  const scales = axes.map((name, axis) => {
    const [least, most] = extremes(numbers[axis]);
    return { name, least, most };
  });
  const points = new Float32Array(numbers[0].length * 3);
  for (let point = 0; point < numbers[0].length; point++) {
    numbers.forEach((values, axis) => {
      const { least, most } = scales[axis];
      points[point * 3 + axis] = (2 * (values[point] - least)) / (most - least || 1) - 1;
    });
    if (numbers.some((values) => values[point] === null)) points[point * 3] = NaN;
  }
  return { points, dims: axes.length, scales };
}

/** Show another layout once it has been loaded. @param {AbortSignal} [signal] of who waits for it */
export async function setLayout(axes, signal) {
  const { points, dims, scales } = await loadLayout(axes, state.source, signal);
  state.map = axes;
  showAxes(axes);
  parts.chart.setPoints(points, dims, scales);
  updateColours();
  updateInset();
}

/** The layouts, axes and colours of a field, with the current choice where it is still available. */
export function availableChoices(info) {
  const layouts = info.axes.filter((name) => LAYOUTS[name]);
  const numbers = info.axes.filter((name) => !LAYOUTS[name]);
  const now = state.info ? state.axes : (state.map ?? info.start ?? layouts[0]);
  const names = Array.isArray(now) ? now : now.split(",");
  const columns = info.columns.filter((column) => column.kind !== "text" && column.size > 1);
  const preferred =
    columns.find(({ kind, name, size }) => kind === "category" && name !== "split" && size <= 2 * MAX_CATEGORIES) ??
    columns.find(({ name }) => name !== "split");
  const wanted = state.info ? state.colour : state.wantedColour;
  const current = wanted === "" ? { name: "" } : columns.find(({ name }) => name === wanted);
  return {
    layouts,
    numbers,
    axes: layouts.includes(now) ? now : names.every((name) => numbers.includes(name)) ? names : layouts[0],
    colours: columns.map((column) => column.name),
    colour: (current || preferred)?.name ?? "",
  };
}

/** Fill the menus of layouts, axes and colours. */
export function showChoices({ layouts, numbers, axes, colours, colour }) {
  const columns = numbers.length > 1 ? [option("", "Columns")] : [];
  byId("map").replaceChildren(...layouts.map((name) => option(name, LAYOUTS[name])), ...columns);
  AXES.forEach((id, axis) => {
    const none = axis === 2 ? [option("", "none")] : [];
    byId(id).replaceChildren(...none, ...numbers.map((name) => option(name, plainText(name))));
    byId(id).value = (axis < 2 && numbers[axis]) || "";
  });
  showAxes(axes);
  byId("colour").replaceChildren(option("", "none"), ...colours.map((name) => option(name, plainText(name))));
  byId("colour").value = colour;
}

/** Let the menus name the layout that is shown. */
export function showAxes(axes) {
  state.axes = axes;
  byId("map").value = Array.isArray(axes) ? "" : axes;
  if (Array.isArray(axes)) AXES.forEach((id, axis) => (byId(id).value = axes[axis] ?? ""));
  byId("axes").hidden = !Array.isArray(axes);
}
