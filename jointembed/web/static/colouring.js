// @ts-check
// The column that colours the points, the legend that explains it, and the layout that is shown.

import { numeric } from "./api.js";
import { GREY, categoryColour, channels, css, rampColour, theme } from "./colour.js";
import { byId, cssVariable, el, option } from "./dom.js";
import { formatCount, formatQuantity, plainText, plural } from "./format.js";
import { isMissing } from "./packed.js";
import { DIMMED, DISC, HIDDEN, RING } from "./renderer.js";
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
const SHADES = 256; // of a ramp
const FINE_ZOOM = 24; // from which the steps of quantized places would show

/** The chosen layout: its name, or two or three columns as axes. */
export const chosenAxes = () => byId("map").value || AXES.map((id) => byId(id).value).filter(Boolean);

/** Colour all points by the chosen column, and dim those that the filters exclude or that are not selected. */
export function updateColours() {
  const { chart, overlay, filters } = parts;
  const { shapes, tints, count } = chart;
  const { column, selected } = state;
  const isDark = theme() === "dark";
  const filtered = column?.kind === "category" ? filters.chosen.get(state.colour) : null;
  const alpha = 255 * (count > CROWD ? 0.8 : 0.92);
  const { styles, styleOf } = choosePalette(column, filtered);
  const colours = Uint32Array.from(styles, ({ rgb }) => packColour(rgb, alpha));
  const forms = Uint8Array.from(styles, ({ isHidden, isRing }) => (isHidden ? HIDDEN : isRing ? RING : DISC));
  const dimmed = packColour(channels(isDark ? "#9aa0a6" : "#8a867e"), 255 * 0.16);
  const words = new Uint32Array(tints.buffer);
  for (let point = 0; point < count; point++) {
    const style = styleOf(point);
    const isAccepted = (!selected || selected[point]) && filters.accepts(point);
    words[point] = isAccepted ? colours[style] : dimmed;
    shapes[point] = forms[style] && !isAccepted ? DIMMED : forms[style];
  }
  chart.paper = channels(cssVariable("--paper-hex")).map((value) => value / 255);
  overlay.setLabels(column?.kind === "category" ? column : state.clusters, MAX_CATEGORIES, filtered);
  chart.updateStyles();
  for (const item of byId("list").children) styleSwatch(item.querySelector(".swatch"), item.dataset.id);
}

/** A colour as a word of the bytes r, g, b, a. */
const packColour = (rgb, alpha) => new Uint32Array(Uint8Array.of(...rgb, alpha).buffer)[0];

/** The styles of points, and a function from a point to the place of its style; the first one is that of no value. */
function choosePalette(column, filtered) {
  const grey = { rgb: channels(GREY[theme()]), isHidden: state.hidden.has(-1) };
  if (!column) return { styles: [{ rgb: channels(theme() === "dark" ? "#8fb4dd" : "#3d6b9e") }], styleOf: () => 0 };
  if (column.kind === "number") {
    const { values } = column;
    const [low, high] = state.range;
    const last = SHADES - 1;
    const scale = last / (high - low || 1);
    return {
      styles: [grey, ...Array.from({ length: SHADES }, (_, shade) => ({ rgb: rampColour(shade / last) }))],
      styleOf: (point) => {
        const shade = (values[point] - low) * scale;
        return shade === shade ? 1 + Math.round(Math.min(last, Math.max(0, shade))) : 0;
      },
    };
  }
  const { codes, values } = column;
  const isHidden = (code) => state.hidden.has(Math.min(code, MAX_CATEGORIES));
  const styles = [grey, ...values.map((_, code) => ({ ...categoryColour(code), isHidden: isHidden(code) }))];
  if (!Array.isArray(codes)) return { styles, styleOf: (point) => 1 + codes[point] };
  styles.push({ rgb: grey.rgb, isHidden: true }); // an item all of whose categories are hidden
  const styleOf = (point) => {
    const code = Array.isArray(codes[point]) ? shownCategory(codes[point], filtered) : codes[point];
    return code === undefined ? styles.length - 1 : 1 + code;
  };
  return { styles, styleOf };
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
  const isInteger = column.values.every((value) => isMissing(value) || Number.isInteger(value));
  const middle = isInteger ? Math.round((low + high) / 2) : (low + high) / 2;
  const labels = [low, middle, high].map((value) => formatQuantity(state.colour, value, high - low));
  if (state.range.isCutLow) labels[0] = `≤ ${labels[0]}`;
  if (state.range.isCutHigh) labels[2] = `≥ ${labels[2]}`;
  return [ramp, el("div", { class: "scale" }, ...labels.map((label) => el("span", {}, label)))];
}

function categoryLegend(column) {
  const counts = new Array(column.values.length + 1).fill(0);
  const add = (code) => counts[code < 0 ? column.values.length : code]++;
  for (const codes of column.codes) if (Array.isArray(codes)) codes.forEach(add);
    else add(codes);
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
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

/** The range without the outer 2 % at both ends, so that outliers do not take most of the colours. */
function robustRange(values) {
  const sorted = values.filter((value) => !isMissing(value)).sort();
  if (!sorted.length) return [0, 1];
  const quantile = (fraction) => sorted[Math.round(fraction * (sorted.length - 1))];
  const [least, most, low, high] = [quantile(0), quantile(1), quantile(0.02), quantile(0.98)];
  if (sorted.length < 50 || low === high) return [least, most];
  return Object.assign([low, high], { isCutLow: low > least, isCutHigh: high < most });
}

/** The points (N, 3) of a layout, by its name or by columns as axes: { points, dims, scales }. */
export async function loadLayout(axes, source = state.source, signal = undefined, isFine = undefined) {
  if (typeof axes === "string")
    return { points: await source.layout(axes, signal, isFine), dims: axes.endsWith("3") ? 3 : 2, scales: null };
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
    if (numbers.some((values) => isMissing(values[point]))) points[point * 3] = NaN;
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

/** @type {any} */
let refined = {}; // the source and the axes of the exact points that were asked for last

/** Show where the points of a large index are exactly, once the map is enlarged so far that it matters. */
export async function refineLayout() {
  const { source, axes } = state;
  const { chart } = parts;
  if (chart.view.zoom < FINE_ZOOM || !source.isCoarse || Array.isArray(axes)) return;
  if (refined.source === source && refined.axes === axes) return;
  refined = { source, axes };
  const { points, dims } = await loadLayout(axes, source, undefined, true);
  if (refined.source === state.source && refined.axes === state.axes) chart.setPoints(points, dims, null, true);
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
