// @ts-check
// Filters by metadata columns: chips for categories, a range for numbers. They hold for the map and for the results.

import { CrossFilter } from "./crossfilter.js";
import { debounce, el, iconButton } from "./dom.js";
import { CategoryFacet, NumberFacet } from "./facets.js";
import { formatCount, plainText, plural } from "./format.js";
import { formatWhere, parseWhere } from "./where.js";

const DELAY = 180; // milliseconds after the last move of a slider

export class Filters {
  chosen = new Map(); // column name -> Set of codes, or [low, high]
  columns = new Map();
  custom = ""; // a condition that the controls cannot show
  options = {}; // one_per, diversity, deduplicate
  isBuilt = false;
  cross = new CrossFilter(0);
  facets = new Map(); // column name -> its control
  /** @type {Uint8Array | null} */
  members = null; // 1 for each item of the list that the distributions are of; null if it is all

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
    const [first] = this.columns.values();
    const count = first ? (first.codes ?? first.values).length : 0;
    if (count !== this.cross.failures.length) this.cross = new CrossFilter(count);
  }

  /** Set the filter of a column: a Set of codes, [low, high], or null for none. */
  setFilter(name, chosen) {
    if (chosen === null || chosen.size === 0) this.chosen.delete(name);
    else this.chosen.set(name, chosen);
    this.cross.set(name, this.chosen.has(name) ? accepts(this.columns.get(name), chosen) : null);
  }

  clear() {
    for (const name of [...this.chosen.keys()]) this.setFilter(name, null);
    this.custom = "";
  }

  /** Choose by a condition and options, such as those of a URL. */
  async restore(where, options = {}) {
    this.clear();
    this.options = { ...options };
    if (!this.groupNames.includes(this.options.one_per)) delete this.options.one_per;
    if (where) {
      await this.load();
      const filters = parseWhere(where);
      const isKnown = filters?.every((filter) => this.choose(filter));
      if (!isKnown) {
        this.clear();
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
    this.setFilter(name, range ?? new Set(codes));
    return !codes.includes(-1);
  }

  show() {
    this.isBuilt = true;
    this.facets = new Map(this.names.map((name) => [name, this.facet(name)]));
    const fieldsets = this.names.map((name) =>
      el("fieldset", {}, el("legend", {}, plainText(name)), ...this.facets.get(name).nodes),
    );
    this.total = el("p", { class: "total" });
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
    this.root.replaceChildren(...(this.names.length ? [this.total] : []), ...fieldsets, clear);
    this.showPresent(this.members);
  }

  facet(name) {
    const column = this.columns.get(name);
    const later = debounce(DELAY, () => this.onChange());
    const soon = debounce(0, () => this.onChange()); // the map follows once the facets are drawn
    const set = (chosen, notify) => {
      this.setFilter(name, chosen);
      this.showPresent(this.members);
      notify();
    };
    const facet =
      column.kind === "category"
        ? new CategoryFacet(column, () => this.chosen.get(name) ?? new Set(), (codes) => set(codes, soon))
        : new NumberFacet(name, column, () => this.chosen.get(name), (range) => set(range, later));
    facet.setWhole(new CrossFilter(this.cross.failures.length).tally(name, facet.bins, null));
    return facet;
  }

  /** Show how the values of a list are distributed. @param {Uint8Array | null} members */
  showPresent(members) {
    this.members = members;
    if (!this.isBuilt) return;
    for (const [name, facet] of this.facets) facet.show(this.cross.tally(name, facet.bins, members));
    const whole = this.cross.failures.length;
    const part = this.cross.count(members);
    this.root.classList.toggle("all", part === whole);
    this.total.textContent = part === whole ? plural(whole, "item") : `${formatCount(part)} of ${plural(whole, "item")}`;
  }

  reset() {
    this.clear();
    this.options = {};
    if (this.isBuilt) this.show();
    this.onChange();
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
    return !this.chosen.size || this.cross.accepts(point);
  }
}

/** Whether a point passes the filter of a column: a Set of codes or [low, high]. */
function accepts(column, chosen) {
  const { codes, values } = column;
  if (!Array.isArray(chosen)) {
    return (point) => {
      const code = codes[point];
      return Array.isArray(code) ? code.some((each) => chosen.has(each)) : chosen.has(code);
    };
  }
  const [low, high] = chosen;
  return (point) => values[point] >= low && values[point] <= high; // NaN is neither
}
