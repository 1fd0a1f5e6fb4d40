// @ts-check
// Filters by metadata columns: chips for categories, a range for numbers. They hold for the map and for the results.

import { debounce, el, iconButton } from "./dom.js";
import { formatCount, formatQuantity, plainText } from "./format.js";
import { formatWhere, parseWhere } from "./where.js";

const BARS = 40; // of a histogram
const CHIPS_AT_FIRST = 8;
const MAX_STEPS = 500; // of a slider
const DELAY = 180; // milliseconds after the last move of a slider

export class Filters {
  chosen = new Map(); // column name -> Set of codes, or [low, high]
  columns = new Map();
  custom = ""; // a condition that the controls cannot show
  options = {}; // one_per, diversity, deduplicate
  isBuilt = false;

  /** @param {(reset?: boolean) => void} onChange */
  constructor(root, info, source, onChange) {
    this.root = root;
    this.source = source;
    this.onChange = onChange;
    this.field = source.field; // the items are those that have a vector in it
    // The grammar of conditions cannot name columns with quotes, backslashes or control characters.
    this.names = info.columns
      .filter((column) => column.kind !== "text" && column.size > 1 && !/["\\\u0000-\u001f]/.test(column.name))
      .map((column) => column.name);
    this.groupNames = source.isLive
      ? info.columns.filter((column) => column.kind !== "number" && column.name !== info.title).map(({ name }) => name)
      : [];
  }

  get hasControls() {
    return this.names.length > 0 || this.source.isLive;
  }

  get count() {
    return this.chosen.size + (this.custom ? 1 : 0);
  }

  /** Build the controls; only now are the columns loaded. */
  async open() {
    if (this.isBuilt) return;
    await this.load();
    this.show();
  }

  async load() {
    for (const name of this.names) this.columns.set(name, await this.source.column(name, this.field));
  }

  /** Choose by a condition and options, such as those of a URL. */
  async restore(where, options = {}) {
    this.chosen.clear();
    this.custom = "";
    this.options = { ...options };
    if (!this.groupNames.includes(this.options.one_per)) delete this.options.one_per;
    if (where) {
      await this.load();
      const filters = parseWhere(where);
      const isKnown = filters?.every((filter) => this.choose(filter));
      if (!isKnown) {
        this.chosen.clear();
        this.custom = this.source.isLive ? where : "";
      }
    }
    if (this.isBuilt) this.show();
  }

  /** Choose by one filter; false if no control can show it. @param {import("./where.js").Filter} filter */
  choose({ name, range, values }) {
    const column = this.columns.get(name);
    if (!column || (column.kind === "number") !== Boolean(range)) return false;
    const codes = (values ?? []).map((value) => column.values.indexOf(value));
    this.chosen.set(name, range ?? new Set(codes));
    return !codes.includes(-1);
  }

  show() {
    this.isBuilt = true;
    const fieldsets = this.names.map((name) => {
      const column = this.columns.get(name);
      const box = el("fieldset", {}, el("legend", {}, plainText(name)));
      box.append(...(column.kind === "category" ? this.chips(name, column) : this.range(name, column)));
      return box;
    });
    if (this.source.isLive) fieldsets.push(this.resultOptions());
    if (this.custom) {
      const remove = () => {
        this.custom = "";
        this.show();
        this.onChange();
      };
      const text = el("span", { class: "title" }, plainText(this.custom));
      fieldsets.unshift(
        el("span", { class: "token wide" }, text, iconButton("close", "Remove this condition", remove)),
      );
    }
    const clear = el("button", { class: "link", type: "button", onclick: () => this.reset() }, "Clear all filters");
    this.root.replaceChildren(...fieldsets, clear);
  }

  reset() {
    this.chosen.clear();
    this.custom = "";
    this.options = {};
    if (this.isBuilt) this.show();
    this.onChange();
  }

  chips(name, column) {
    const counts = new Map();
    for (const code of column.codes.flat()) counts.set(code, (counts.get(code) || 0) + 1);
    const chosen = () => this.chosen.get(name) ?? new Set();
    const box = el("div", { class: "chips" });
    const toggle = (button, code) => {
      const codes = chosen();
      if (!codes.delete(code)) codes.add(code);
      if (codes.size) this.chosen.set(name, codes);
      else this.chosen.delete(name);
      button.setAttribute("aria-pressed", codes.has(code));
      this.onChange();
    };
    const chip = (value, code) =>
      el(
        "button",
        {
          class: "chip",
          type: "button",
          "aria-pressed": chosen().has(code),
          onclick: (event) => toggle(event.currentTarget, code),
        },
        el("span", { dir: "auto" }, plainText(value) || "(blank)"),
        el("small", {}, formatCount(counts.get(code) || 0)),
      );
    const fill = (all) => {
      const shown = column.values.map(chip).filter((_, code) => all || code < CHIPS_AT_FIRST || chosen().has(code));
      const rest = column.values.length - shown.length;
      const showAll = () => {
        fill(true);
        box.children[CHIPS_AT_FIRST].focus();
      };
      const more = el("button", { class: "link", type: "button", onclick: showAll }, `${formatCount(rest)} more`);
      box.replaceChildren(...shown, ...(rest > 0 ? [more] : []));
    };
    fill(false);
    return [box];
  }

  /** A histogram with two sliders, and a number input beside each. */
  range(name, column) {
    const present = column.values.filter((value) => value !== null);
    let [least, most] = [Infinity, -Infinity];
    for (const value of present) [least, most] = [Math.min(least, value), Math.max(most, value)];
    const isInteger = present.every(Number.isInteger);
    const span = most - least || 1;
    const steps = isInteger && span <= 1000 ? span : MAX_STEPS;
    const valueAt = (step) => {
      if (step <= 0) return least;
      if (step >= steps) return most;
      const value = least + (step / steps) * span;
      return isInteger ? Math.round(value) : value;
    };
    const stepOf = (value) => Math.round(((value - least) / span) * steps);
    const counts = new Array(BARS).fill(0);
    for (const value of present) counts[Math.min(BARS - 1, Math.floor(((value - least) / span) * BARS))]++;
    const tallest = Math.max(...counts);
    const bars = counts.map((count) => {
      const bar = el("i");
      bar.style.height = `${count ? Math.max(4, 100 * Math.sqrt(count / tallest)) : 0}%`;
      return bar;
    });
    const slider = (label) =>
      el("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": `${plainText(name)} ${label}` });
    const number = (label) =>
      el("input", { type: "number", step: "any", min: least, max: most, "aria-label": `${label} ${plainText(name)}` });
    const [low, high] = [slider("from"), slider("to")];
    const [lowest, highest] = [number("Lowest"), number("Highest")];
    const show = () => {
      const [from, to] = this.chosen.get(name) ?? [least, most];
      const digits = (value) => (isInteger ? value : Number(value.toPrecision(6)));
      [lowest.value, highest.value] = [digits(from), digits(to)];
      [low.value, high.value] = [stepOf(from), stepOf(to)];
      low.setAttribute("aria-valuetext", formatQuantity(name, from, span));
      high.setAttribute("aria-valuetext", formatQuantity(name, to, span));
      bars.forEach((bar, at) => {
        const middle = least + ((at + 0.5) / BARS) * span;
        bar.classList.toggle("off", middle < from || middle > to);
      });
    };
    const later = debounce(DELAY, () => this.onChange());
    const set = (from, to) => {
      if (from === least && to === most) this.chosen.delete(name);
      else this.chosen.set(name, [from, to]);
      show();
      later();
    };
    low.addEventListener("input", () => set(valueAt(Math.min(+low.value, +high.value)), valueAt(+high.value)));
    high.addEventListener("input", () => set(valueAt(+low.value), valueAt(Math.max(+low.value, +high.value))));
    const typed = () => {
      const bound = (input, fallback) =>
        input.value === "" ? fallback : Math.min(most, Math.max(least, Number(input.value)));
      const [from, to] = [bound(lowest, least), bound(highest, most)];
      set(Math.min(from, to), Math.max(from, to));
    };
    for (const input of [lowest, highest]) input.addEventListener("change", typed);
    show();
    return [
      el("div", { class: "numbers" }, lowest, el("span", { "aria-hidden": "true" }, "–"), highest),
      el("div", { class: "bars", "aria-hidden": "true" }, ...bars),
      el("div", { class: "handles" }, low, high),
    ];
  }

  /** What a server can do with the results beyond filters. */
  resultOptions() {
    const { options } = this;
    const changed = () => this.onChange();
    const onePer = el(
      "select",
      {
        onchange: () => {
          options.one_per = onePer.value;
          changed();
        },
      },
      el("option", { value: "" }, "all results"),
      ...this.groupNames.map((name) => el("option", { value: name }, `one per ${plainText(name)}`)),
    );
    onePer.value = options.one_per ?? "";
    const later = debounce(DELAY, changed);
    const diversity = el("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.1,
      value: options.diversity ?? 0,
      oninput: () => {
        options.diversity = +diversity.value;
        later();
      },
    });
    const deduplicate = el("input", {
      type: "checkbox",
      checked: options.deduplicate ? "" : null,
      onchange: () => {
        options.deduplicate = deduplicate.checked;
        changed();
      },
    });
    return el(
      "fieldset",
      { class: "variety" },
      el("legend", {}, "Results"),
      el("label", {}, el("span", {}, "Show"), onePer),
      el("label", {}, el("span", {}, "Diversity"), diversity),
      el("label", { class: "check" }, deduplicate, el("span", {}, "Merge near-duplicates")),
    );
  }

  /** The condition that the results meet, or "". */
  where() {
    const filters = [...this.chosen].map(([name, chosen]) =>
      Array.isArray(chosen)
        ? { name, range: /** @type {[number, number]} */ (chosen) }
        : { name, values: [...chosen].map((code) => this.columns.get(name).values[code]) },
    );
    const where = formatWhere(filters);
    if (!this.custom) return where;
    return where ? `(${this.custom}) and ${where}` : this.custom;
  }

  /** Whether a point passes the filters. */
  accepts(point) {
    for (const [name, chosen] of this.chosen) {
      const column = this.columns.get(name);
      if (Array.isArray(chosen)) {
        const value = column.values[point];
        if (value === null || value < chosen[0] || value > chosen[1]) return false;
      } else {
        const code = column.codes[point];
        if (!(Array.isArray(code) ? code.some((each) => chosen.has(each)) : chosen.has(code))) return false;
      }
    }
    return true;
  }
}
