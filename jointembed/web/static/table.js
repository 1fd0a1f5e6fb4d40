// @ts-check
// The table: the items of the present list as rows, of which only those in view are in the page.

import { valuesOf } from "./api.js";
import { el, icon, isNarrow } from "./dom.js";
import { formatCell, formatScore, numberFormat, plainText, stem } from "./format.js";
import { detailColumns } from "./list.js";
import { sortKeys, sortPoints } from "./sorting.js";
import { state } from "./state.js";

const MAX_HEIGHT = 12e6; // pixels; browsers draw no element that is much taller
const OVERSCAN = 6; // rows above and below those in view
const SAMPLE = 200; // cells that the width of a column is estimated from
const CHAR_WIDTH = 7.4; // pixels
const WIDTH = { least: 74, most: 300, title: 220, score: 96 }; // pixels
const SCORE = ":score"; // no column of an index

export class Table {
  /** @param {{open: (point: number) => any, sort: (name: string, isDescending: boolean) => any}} actions */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.list = new Uint32Array(0); // points in the order of the question
    this.points = this.list; // as sorted
    this.scores = null; // Map of point -> score
    this.sort = { name: "", isDescending: false };
    this.source = null; // of the columns
    this.loading = Promise.resolve();
    this.columns = [];
    this.shown = []; // the columns and, after the first one, the score of each result
    this.active = 0; // the row that the keys move from
    this.widths = el("colgroup");
    this.head = el("tr");
    this.above = el("tr", { class: "space", "aria-hidden": "true" });
    this.below = el("tr", { class: "space", "aria-hidden": "true" });
    this.body = el("tbody", { onclick: (event) => this.open(event.target.closest("[data-at]")) });
    this.table = el("table", { "aria-label": "Items" }, this.widths, el("thead", {}, this.head), this.body);
    this.scroller = el("div", { class: "rows", tabindex: -1, onscroll: () => this.draw() }, this.table);
    this.scroller.addEventListener("keydown", (event) => this.move(event));
    root.append(this.scroller);
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  /** Show the columns of an index, or of another version or field of it, each once it is there. */
  setSource(source) {
    if (this.source === source) return;
    this.source = source;
    this.columns = [];
    this.loading = this.load(source);
    this.loading.catch(() => (this.source = null)); // the next list tries again
  }

  async load(source) {
    const { info } = state;
    for (const name of [info.title, ...detailColumns(info).map((column) => column.name)]) {
      const column = await source.column(name);
      const isTitle = name === info.title;
      const ids = isTitle && hasGaps(column, info.count) ? (await source.column("id")).values : null;
      if (this.source !== source) return;
      this.columns.push(describe(name, column, isTitle, ids));
      this.update();
    }
  }

  /** Show other items. @param {ArrayLike<number>} points @param {Map<number, number> | null} scores */
  setList(points, scores) {
    this.list = Uint32Array.from(points);
    this.scores = scores;
    this.active = this.scroller.scrollTop = 0;
    this.update();
  }

  setSort(name, isDescending) {
    this.sort = { name, isDescending };
    this.active = this.scroller.scrollTop = 0;
    this.update();
  }

  update() {
    if (this.root.hidden) return;
    const [title, ...others] = this.columns;
    this.shown = title && this.scores ? [title, scoreColumn(this.scores), ...others] : this.columns;
    const { name, isDescending } = this.sort;
    const column = this.shown.find((each) => each.name === name);
    if (column) column.keys ??= sortKeys(column.column);
    this.points = column ? sortPoints(this.list, column.keys, isDescending) : this.list;
    this.table.setAttribute("aria-rowcount", this.points.length + 1);
    this.drawHead();
    this.draw();
  }

  drawHead() {
    const focused = /** @type {any} */ (document.activeElement)?.closest("[data-name]")?.dataset.name;
    const { name: sorted, isDescending } = this.sort;
    let width = 0;
    const heads = this.shown.map((column) => {
      const isSorted = column.name === sorted;
      // Up, down, and then the order of the list again.
      const sort = () =>
        this.actions.sort(isSorted && isDescending ? "" : column.name, isSorted && !isDescending);
      const button = el("button", { type: "button", onclick: sort }, el("span", {}, column.label), icon("chevron"));
      const order = isSorted ? (isDescending ? "descending" : "ascending") : "none";
      width += column.width;
      return el(
        "th",
        { scope: "col", "data-name": column.name, "aria-sort": order, class: column.isNumber ? "number" : null },
        button,
      );
    });
    this.widths.replaceChildren(
      ...this.shown.map((column) => {
        const col = el("col");
        col.style.width = `${column.width}px`;
        return col;
      }),
    );
    this.table.style.width = `max(100%, ${width}px)`;
    this.head.replaceChildren(...heads);
    if (focused !== undefined) heads.find((each) => each.dataset.name === focused)?.firstChild.focus();
  }

  /** What part of the table is in view: rows in fractions, pixels otherwise. */
  measure() {
    const row = isNarrow.matches ? 44 : 36;
    const count = this.points.length;
    const height = Math.min(MAX_HEIGHT, count * row);
    const room = Math.max(row, this.scroller.clientHeight - this.head.offsetHeight);
    const range = Math.max(0, height - room);
    const rows = Math.max(0, count - room / row); // that can be scrolled away
    const first = range ? (Math.min(range, this.scroller.scrollTop) / range) * rows : 0;
    return { row, count, height, room, range, rows, first };
  }

  draw() {
    if (this.root.hidden) return;
    const { row, count, height, room, first } = this.measure();
    const start = Math.max(0, Math.floor(first) - OVERSCAN);
    const end = Math.min(count, Math.ceil(first + room / row) + OVERSCAN);
    const top = Math.max(0, this.scroller.scrollTop - (first - start) * row);
    const hadFocus = this.body.contains(document.activeElement);
    this.root.style.setProperty("--row", `${row}px`);
    this.above.style.height = `${top}px`;
    this.below.style.height = `${Math.max(0, height - top - (end - start) * row)}px`;
    const stop = this.active >= start && this.active < end ? this.active : Math.ceil(first);
    const rows = Array.from({ length: Math.max(0, end - start) }, (_, at) => this.row(start + at, stop));
    this.body.replaceChildren(this.above, ...rows, this.below);
    if (hadFocus) (rows[this.active - start]?.querySelector("button") ?? this.scroller).focus({ preventScroll: true });
  }

  row(at, stop) {
    const point = this.points[at];
    const cells = this.shown.map((column, place) => {
      const text = column.text(point);
      const props = { class: column.isNumber ? "number" : null, title: text.length * CHAR_WIDTH > column.width ? text : null };
      if (place) return el("td", { ...props, dir: column.isNumber ? null : "auto" }, text);
      const button = el("button", { type: "button", tabindex: at === stop ? 0 : -1, dir: "auto" }, text);
      return el("th", { scope: "row", ...props }, button);
    });
    return el("tr", { "data-at": at, "aria-rowindex": at + 2, class: at % 2 ? "odd" : null }, ...cells);
  }

  open(row) {
    if (row) this.actions.open(this.points[row.dataset.at]);
  }

  /** The keys that move between the rows. */
  move(event) {
    if (this.head.contains(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, count, room, range, rows, first } = this.measure();
    const page = Math.max(1, Math.floor(room / row) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -count, End: count }[event.key];
    if (!step || !count) return;
    event.preventDefault();
    const focused = event.target.closest("[data-at]");
    const from = focused ? Number(focused.dataset.at) : this.active;
    this.active = Math.min(count - 1, Math.max(0, from + step));
    const last = this.active + 1 - room / row;
    const target = Math.max(last, Math.min(first, this.active));
    if (target !== first && rows) this.scroller.scrollTop = (Math.max(0, target) / rows) * range;
    this.draw();
    this.body.querySelector(`[data-at="${this.active}"] button`)?.focus({ preventScroll: true });
  }
}

/** Whether some of the items have no value in a column. */
function hasGaps(column, count) {
  for (let point = 0; point < count; point++) if (!valuesOf(column, point).some((value) => value !== "")) return true;
  return false;
}

/** A column with how it is shown; in place of titles that are missing, `ids` are. */
function describe(name, column, isTitle, ids) {
  const numbers = column.kind === "number" ? column.values : column.kind === "category" ? column.values : [];
  const isNumber = column.kind !== "text" && numbers.every((value) => value === null || typeof value === "number");
  const format = isNumber ? numberFormat(name, numbers) : formatCell;
  const text = (point) =>
    valuesOf(column, point)
      .map((value) => format(value))
      .join(", ") || (ids ? stem(ids[point]) : "");
  const label = plainText(name);
  const { count } = state.info;
  const step = Math.max(1, Math.floor(count / SAMPLE));
  let longest = label.length + 3;
  for (let point = 0; point < count; point += step) longest = Math.max(longest, text(point).length);
  const least = isTitle ? WIDTH.title : WIDTH.least;
  const width = Math.max(least, Math.min(WIDTH.most, Math.round(longest * CHAR_WIDTH) + 26));
  return { name, label, column, isNumber, text, width, keys: /** @type {Float64Array | null} */ (null) };
}

function scoreColumn(scores) {
  const keys = new Float64Array(state.info.count).fill(NaN);
  for (const [point, score] of scores) keys[point] = score;
  const text = (point) => (scores.has(point) ? formatScore(scores.get(point), state.info.metric) : "");
  return { name: SCORE, label: "score", isNumber: true, width: WIDTH.score, keys, text, column: null };
}
