// Filters by columns: chips for categories, two handles for numbers. They hold for the map and for the results.

const BARS = 40; // of a histogram
const FIRST = 8; // chips shown at first

class Filters {
  chosen = new Map(); // name: Set of codes, or [low, high]
  columns = new Map();
  options = {};

  constructor(root, about, changed, column) {
    this.root = root;
    this.changed = changed;
    this.column = column; // of vectors: the items are those that have one
    // A condition cannot name a column that holds such signs.
    this.cells = about.cells.filter(
      (cell) => cell.kind !== "text" && cell.size > 1 && !/["\\\u0000-\u001f]/.test(cell.name),
    );
    this.parts = source.compose
      ? about.cells.filter((cell) => cell.kind !== "number" && cell.name !== about.title)
      : [];
  }

  get any() {
    return this.cells.length > 0 || source.compose;
  }

  get count() {
    return this.chosen.size;
  }

  /** Build the controls; the columns come only now. */
  async open() {
    if (this.built) return;
    await this.load();
    this.show();
  }

  async load() {
    for (const { name } of this.cells) this.columns.set(name, await source.cells(name, this.column));
  }

  /** Choose what was chosen among other items, as far as there is such a thing among these. */
  async like(other) {
    if (!other?.built) return;
    await this.load();
    this.options = { ...other.options };
    if (!this.parts.some(({ name }) => name === this.options.per)) delete this.options.per;
    for (const [name, chosen] of other.chosen) {
      const { kind, values } = this.columns.get(name) ?? {};
      if (kind !== other.columns.get(name).kind) continue;
      const codes = Array.isArray(chosen)
        ? chosen
        : [...chosen].map((code) => values.indexOf(other.columns.get(name).values[code])).filter((code) => code >= 0);
      if (codes.length) this.chosen.set(name, Array.isArray(chosen) ? codes : new Set(codes));
    }
  }

  show() {
    this.built = true;
    const made = this.cells.map(({ name }) => {
      const column = this.columns.get(name);
      const box = el("fieldset", {}, el("legend", {}, plain(name)));
      box.append(...(column.kind === "category" ? this.chips(name, column) : this.range(name, column)));
      return box;
    });
    if (source.compose) made.push(this.variety());
    made.push(el("button", { class: "link", type: "button", onclick: () => this.reset() }, "Clear all filters"));
    this.root.replaceChildren(...made);
  }

  reset() {
    this.chosen.clear();
    this.options = {};
    if (this.built) this.show();
    this.changed();
  }

  chips(name, column) {
    const counts = new Map();
    for (const code of column.codes.flat()) counts.set(code, (counts.get(code) || 0) + 1);
    const chosen = () => this.chosen.get(name) ?? new Set();
    const box = el("div", { class: "chips" });
    const chip = (value, code) =>
      el(
        "button",
        {
          class: "chip",
          type: "button",
          "aria-pressed": chosen().has(code),
          onclick: (event) => {
            const now = chosen();
            if (!now.delete(code)) now.add(code);
            if (now.size) this.chosen.set(name, now);
            else this.chosen.delete(name);
            event.currentTarget.setAttribute("aria-pressed", now.has(code));
            this.changed();
          },
        },
        el("span", { dir: "auto" }, plain(value) || "(blank)"),
        el("small", {}, (counts.get(code) || 0).toLocaleString("en")),
      );
    const fill = (whole) => {
      const shown = column.values.map(chip).filter((_, code) => whole || code < FIRST || chosen().has(code));
      const rest = column.values.length - shown.length;
      const more =
        rest > 0
          ? el(
              "button",
              {
                class: "link",
                type: "button",
                onclick: () => {
                  fill(true);
                  box.children[FIRST].focus();
                },
              },
              `${rest} more`,
            )
          : null;
      box.replaceChildren(...shown, ...(more ? [more] : []));
    };
    fill(false);
    return [box];
  }

  range(name, column) {
    const present = column.values.filter((value) => value !== null);
    let [least, most] = [Infinity, -Infinity];
    for (const value of present) [least, most] = [Math.min(least, value), Math.max(most, value)];
    const whole = present.every(Number.isInteger);
    const span = most - least || 1;
    const steps = whole && span <= 1000 ? span : 500;
    const value = (step) =>
      step <= 0
        ? least
        : step >= steps
          ? most
          : whole
            ? Math.round(least + (step / steps) * span)
            : least + (step / steps) * span;
    const bars = new Array(BARS).fill(0);
    for (const one of present) bars[Math.min(BARS - 1, Math.floor(((one - least) / span) * BARS))]++;
    const tallest = Math.max(...bars);
    const histogram = el(
      "div",
      { class: "bars", "aria-hidden": "true" },
      ...bars.map((count) => {
        const bar = el("i");
        bar.style.height = `${count ? Math.max(4, 100 * Math.sqrt(count / tallest)) : 0}%`;
        return bar;
      }),
    );
    const [from, to] = this.chosen.get(name) ?? [least, most];
    const handle = (label, start) =>
      el("input", {
        type: "range",
        min: 0,
        max: steps,
        step: 1,
        "aria-label": `${plain(name)} ${label}`,
        value: Math.round(((start - least) / span) * steps),
      });
    const [low, high] = [handle("from", from), handle("to", to)];
    const told = el("span", { class: "told" });
    const say = () => {
      const [one, other] = [value(+low.value), value(+high.value)];
      told.textContent = `${figure(one, span)} – ${figure(other, span)}`;
      for (const [input, at] of [
        [low, one],
        [high, other],
      ])
        input.setAttribute("aria-valuetext", figure(at, span));
      [...histogram.children].forEach((bar, at) => {
        const middle = ((at + 0.5) / BARS) * steps;
        bar.classList.toggle("off", middle < +low.value || middle > +high.value);
      });
      return [one, other];
    };
    const later = settled(180, () => this.changed());
    const moved = (mover) => {
      if (+low.value > +high.value) (mover === low ? low : high).value = (mover === low ? high : low).value;
      const [one, other] = say();
      if (one === least && other === most) this.chosen.delete(name);
      else this.chosen.set(name, [one, other]);
      later();
    };
    low.addEventListener("input", () => moved(low));
    high.addEventListener("input", () => moved(high));
    say();
    return [told, histogram, el("div", { class: "handles" }, low, high)];
  }

  /** What a server can do with the results beyond filters. */
  variety() {
    const { options, changed } = this;
    const per = el(
      "select",
      {
        onchange: () => {
          options.per = per.value;
          changed();
        },
      },
      el("option", { value: "" }, "as many as there are"),
      ...this.parts.map(({ name }) => el("option", { value: name }, `one per ${plain(name)}`)),
    );
    per.value = options.per ?? "";
    const later = settled(180, changed);
    const diverse = el("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.1,
      value: options.diverse ?? 0,
      oninput: () => {
        options.diverse = +diverse.value;
        later();
      },
    });
    const distinct = el("input", {
      type: "checkbox",
      checked: options.distinct ? "" : null,
      onchange: () => {
        options.distinct = distinct.checked;
        changed();
      },
    });
    return el(
      "fieldset",
      { class: "variety" },
      el("legend", {}, "Results"),
      el("label", {}, el("span", {}, "Show"), per),
      el("label", {}, el("span", {}, "Variety"), diverse),
      el("label", { class: "check" }, distinct, el("span", {}, "Fold near-duplicates")),
    );
  }

  /** The condition as a server takes it; see find/where.py. */
  where() {
    return [...this.chosen]
      .map(([name, chosen]) => {
        const column = `"${name}"`;
        if (Array.isArray(chosen)) return `${column} >= ${chosen[0]} and ${column} <= ${chosen[1]}`;
        const values = [...chosen].map((code) => this.columns.get(name).values[code]);
        return `${column} in (${values.map((value) => (typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : value)).join(", ")})`;
      })
      .join(" and ");
  }

  /** Whether a row meets them. */
  test(place) {
    for (const [name, chosen] of this.chosen) {
      const column = this.columns.get(name);
      if (Array.isArray(chosen)) {
        const value = column.values[place];
        if (value === null || value < chosen[0] || value > chosen[1]) return false;
      } else {
        const code = column.codes[place];
        if (!(Array.isArray(code) ? code.some((one) => chosen.has(one)) : chosen.has(code))) return false;
      }
    }
    return true;
  }
}
