// @ts-check
// The control of a filter on a column, which also shows how the column is distributed: among all items, and among the
// present ones, which are those listed that pass the filters of the other columns.

import { binCategories, binNumbers } from "./crossfilter.js";
import { el } from "./dom.js";
import { formatCount, formatQuantity, plainText } from "./format.js";
import { isMissing } from "./packed.js";

const BARS = 40; // of a histogram
const CHIPS_AT_FIRST = 8;
const MAX_STEPS = 500; // of a slider

const share = (count, most) => (count ? Math.max(0.04, Math.sqrt(count / most)) : 0);

/** The values of a category column as chips with their counts. */
export class CategoryFacet {
  /**
   * @param {() => Set<number>} chosen the codes of the values that are chosen
   * @param {(codes: Set<number>) => void} choose
   */
  constructor(column, chosen, choose) {
    this.column = column;
    this.chosen = chosen;
    this.choose = choose;
    this.bins = binCategories(column);
    this.chips = [];
    this.counts = this.whole = new Uint32Array(this.bins.size);
    this.box = el("div", { class: "chips" });
    this.nodes = [this.box];
  }

  /** The counts of all items. */
  setWhole(counts) {
    this.whole = this.counts = counts;
    this.fill(false);
  }

  fill(isComplete) {
    const { values } = this.column;
    const codes = [...values.keys()].filter((code) => isComplete || code < CHIPS_AT_FIRST || this.chosen().has(code));
    this.chips = codes.map((code) => this.chip(values[code], code));
    const rest = values.length - codes.length;
    const showAll = () => {
      this.fill(true);
      this.chips[CHIPS_AT_FIRST].node.focus();
    };
    const more = el("button", { class: "link", type: "button", onclick: showAll }, `${formatCount(rest)} more`);
    this.box.replaceChildren(...this.chips.map(({ node }) => node), ...(rest > 0 ? [more] : []));
    this.show(this.counts);
  }

  chip(value, code) {
    const count = el("small");
    const toggle = () => {
      const codes = new Set(this.chosen());
      if (!codes.delete(code)) codes.add(code);
      node.setAttribute("aria-pressed", codes.has(code));
      this.choose(codes);
    };
    const text = el("span", { dir: "auto" }, plainText(value) || "(blank)");
    const node = el(
      "button",
      { class: "chip", type: "button", "aria-pressed": this.chosen().has(code), onclick: toggle },
      text,
      count,
    );
    return { node, count, code };
  }

  /** Show the counts of the present items. */
  show(counts) {
    this.counts = counts;
    for (const { node, count, code } of this.chips) {
      const [part, whole] = [counts[code], this.whole[code]];
      count.textContent = part === whole ? formatCount(whole) : `${formatCount(part)} of ${formatCount(whole)}`;
      node.style.setProperty("--share", `${part === whole ? 0 : (100 * part) / whole}%`);
    }
  }
}

/** The numbers of a column as a histogram, with a range that is drawn, dragged or typed. */
export class NumberFacet {
  /**
   * @param {() => [number, number] | undefined} chosen the range
   * @param {(range: [number, number] | null) => void} choose
   */
  constructor(name, column, chosen, choose) {
    this.name = name;
    this.chosen = chosen;
    const present = column.values.filter((value) => !isMissing(value));
    let [least, most] = [Infinity, -Infinity];
    for (const value of present) [least, most] = [Math.min(least, value), Math.max(most, value)];
    const isInteger = (this.isInteger = present.every(Number.isInteger));
    const span = (this.span = most - least || 1);
    this.least = least;
    this.most = most;
    this.steps = isInteger && span <= 1000 ? span : MAX_STEPS;
    this.bins = binNumbers(column.values, least, span, BARS);
    this.counts = this.whole = new Uint32Array(BARS);
    this.set = (from, to) => {
      choose(from === least && to === most ? null : [from, to]);
      this.showRange();
    };
    this.build(plainText(name));
    this.showRange();
  }

  build(label) {
    const { least, most, steps } = this;
    const slider = (end) =>
      el("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": `${label} ${end}` });
    const number = (end) =>
      el("input", { type: "number", step: "any", min: least, max: most, "aria-label": `${end} ${label}` });
    const [low, high] = (this.sliders = [slider("from"), slider("to")]);
    const [lowest, highest] = (this.numbers = [number("Lowest"), number("Highest")]);
    low.addEventListener("input", () => this.set(this.valueAt(Math.min(+low.value, +high.value)), this.range[1]));
    high.addEventListener("input", () => this.set(this.range[0], this.valueAt(Math.max(+low.value, +high.value))));
    const typed = () => {
      const bound = (input, fallback) =>
        input.value === "" ? fallback : Math.min(most, Math.max(least, Number(input.value)));
      const [from, to] = [bound(lowest, least), bound(highest, most)];
      this.set(Math.min(from, to), Math.max(from, to));
    };
    for (const input of this.numbers) input.addEventListener("change", typed);
    this.bars = Array.from({ length: BARS }, () => el("i", {}, el("b")));
    const histogram = el("div", { class: "bars", "aria-hidden": "true" }, ...this.bars);
    this.attachBrush(histogram);
    this.nodes = [
      el("div", { class: "numbers" }, lowest, el("span", { "aria-hidden": "true" }, "–"), highest),
      histogram,
      el("div", { class: "handles" }, low, high),
    ];
  }

  get range() {
    return this.chosen() ?? [this.least, this.most];
  }

  /** The value of a position of a slider. */
  valueAt(step) {
    if (step <= 0) return this.least;
    if (step >= this.steps) return this.most;
    const value = this.least + (step / this.steps) * this.span;
    return this.isInteger ? Math.round(value) : value;
  }

  /** The lowest and the highest value of a bar. @returns {[number, number]} */
  edges(bar) {
    const [from, to] = [bar, bar + 1].map((at) => this.least + (at / BARS) * this.span);
    if (!this.isInteger) return [from, to];
    return [Math.ceil(from), bar === BARS - 1 ? this.most : Math.max(Math.ceil(from), Math.ceil(to) - 1)];
  }

  /** Let a drag over the histogram choose the range of its bars, and a click on it remove the range. */
  attachBrush(histogram) {
    let start = /** @type {number | null} */ (null);
    let isDrag = false;
    const barAt = (event) => {
      const { left, width } = histogram.getBoundingClientRect();
      return Math.min(BARS - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * BARS)));
    };
    histogram.addEventListener("pointerdown", (event) => {
      histogram.setPointerCapture(event.pointerId);
      start = barAt(event);
      isDrag = false;
    });
    histogram.addEventListener("pointermove", (event) => {
      const bar = barAt(event);
      histogram.title = this.describe(bar);
      if (start === null || (!isDrag && bar === start)) return;
      isDrag = true;
      this.set(this.edges(Math.min(start, bar))[0], this.edges(Math.max(start, bar))[1]);
    });
    for (const name of ["pointerup", "pointercancel"])
      histogram.addEventListener(name, () => {
        if (start !== null && !isDrag && name === "pointerup") this.set(this.least, this.most);
        start = null;
      });
  }

  describe(bar) {
    const [from, to] = this.edges(bar).map((value) => formatQuantity(this.name, value, this.span));
    const [part, whole] = [this.counts[bar], this.whole[bar]].map(formatCount);
    return `${from === to ? from : `${from} – ${to}`}: ${part} of ${whole}`;
  }

  setWhole(counts) {
    this.whole = counts;
    const most = Math.max(...counts);
    this.bars.forEach((bar, at) => bar.style.setProperty("--whole", String(share(counts[at], most))));
    this.show(counts);
  }

  /** Show the counts of the present items; their highest bar is as high as that of all items. */
  show(counts) {
    this.counts = counts;
    const most = Math.max(...counts);
    this.bars.forEach((bar, at) => bar.style.setProperty("--part", String(share(counts[at], most))));
  }

  showRange() {
    const { least, span, steps, isInteger, name } = this;
    const [from, to] = this.range;
    const digits = (value) => (isInteger ? value : Number(value.toPrecision(6)));
    [from, to].forEach((value, end) => {
      this.numbers[end].value = digits(value);
      this.sliders[end].value = Math.round(((value - least) / span) * steps);
      this.sliders[end].setAttribute("aria-valuetext", formatQuantity(name, value, span));
    });
    this.bars.forEach((bar, at) => {
      const middle = least + ((at + 0.5) / BARS) * span;
      bar.classList.toggle("off", middle < from || middle > to);
    });
  }
}
