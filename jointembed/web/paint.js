// What the points are coloured by, the legend that says so, and which map is shown.

function colours() {
  const { chart, overlay, filters } = parts;
  const { kinds, tints, count } = chart;
  const column = parts.column;
  const grey = channels(OTHER[theme()]);
  const plainTint = channels(theme() === "dark" ? "#8fb4dd" : "#3d6b9e");
  const ghost = channels(theme() === "dark" ? "#9aa0a6" : "#8a867e");
  const made = column?.kind === "category" ? column.values.map((_, code) => category(code)) : [];
  const none = { rgb: grey, ring: 0 };
  const [least, most] = column?.kind === "number" ? parts.range : [0, 1];
  const asked = column?.kind === "category" ? filters.chosen.get(state.colour) : null;
  const crowd = count > 20000 ? 0.8 : 0.92;
  for (let place = 0; place < count; place++) {
    let one = none;
    let hidden = false;
    if (!column) one = { rgb: plainTint, ring: 0 };
    else if (column.kind === "number") {
      const value = column.values[place];
      if (value !== null) one = { rgb: shade((value - least) / (most - least || 1)), ring: 0 };
    } else {
      const code = column.codes[place];
      const codes = Array.isArray(code) ? code : [code];
      const on = codes.filter((each) => !state.off.has(Math.min(each, NAMED)));
      const lit = on.some((each) => asked?.has(each)) ? on.filter((each) => asked.has(each)) : on; // what is filtered for
      hidden = on.length === 0;
      one = made[lit[0] ?? -1] ?? none;
    }
    const fits = filters.test(place);
    const [r, g, b] = fits ? one.rgb : ghost;
    tints[place * 4] = r;
    tints[place * 4 + 1] = g;
    tints[place * 4 + 2] = b;
    tints[place * 4 + 3] = fits ? 255 * crowd : 255 * 0.16;
    kinds[place] = hidden ? HIDDEN : !fits ? GHOST : one.ring ? RING : DISC;
  }
  chart.paper = channels(token("--paper-hex")).map((value) => value / 255);
  if (column?.kind === "category") overlay.name(column.values, column.codes, NAMED, asked);
  else overlay.labels = [];
  chart.painted();
  for (const item of byId("list").children) {
    dress(item.querySelector(".swatch"), Number(item.dataset.place));
  }
}

/** Give a swatch the colour and the shape that a point has on the map. */
function dress(swatch, place) {
  swatch.style.color = css([...parts.chart.tints.subarray(place * 4, place * 4 + 3)]);
  swatch.classList.toggle("ring", parts.chart.kinds[place] === RING);
}

function legend() {
  const { column } = parts;
  const box = byId("keys-of-colour");
  byId("legend").hidden = !column;
  if (!column) return;
  byId("legend-name").textContent = plain(state.colour);
  if (column.kind === "number") {
    const [least, most] = parts.range;
    const ramp = el("i", { class: "ramp", "aria-hidden": "true" });
    ramp.style.background = `linear-gradient(to right, ${[0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => css(shade(share))).join(", ")})`;
    const whole = column.values.every((value) => value === null || Number.isInteger(value));
    const middle = (least + most) / 2;
    const ends = [least, whole ? Math.round(middle) : middle, most].map((value) => figure(value, most - least));
    if (parts.range.low) ends[0] = `≤ ${ends[0]}`;
    if (parts.range.high) ends[2] = `≥ ${ends[2]}`;
    box.replaceChildren(ramp, el("div", { class: "scale" }, ...ends.map((text) => el("span", {}, text))));
    return;
  }
  const counts = new Array(column.values.length + 1).fill(0);
  for (const code of column.codes.flat()) counts[code < 0 ? column.values.length : code]++;
  const entry = (code, text, count) => {
    const { rgb, ring } = category(code);
    const swatch = el("i", { class: ring ? "swatch ring" : "swatch", "aria-hidden": "true" });
    swatch.style.color = css(rgb);
    return el(
      "button",
      {
        class: "key",
        type: "button",
        "aria-pressed": !state.off.has(Math.min(code, NAMED)),
        onclick: (event) => {
          const at = Math.min(code, NAMED);
          if (!state.off.delete(at)) state.off.add(at);
          event.currentTarget.setAttribute("aria-pressed", !state.off.has(at));
          byId("all-keys").hidden = !state.off.size;
          colours();
        },
      },
      swatch,
      el("span", { class: "title", dir: "auto" }, text),
      el("small", {}, count.toLocaleString("en")),
    );
  };
  const keys = column.values.slice(0, NAMED).map((value, code) => entry(code, plain(value) || "(blank)", counts[code]));
  const rest = column.values.length - NAMED;
  if (rest > 0)
    keys.push(
      entry(
        NAMED,
        several(rest, "other"),
        counts.slice(NAMED, -1).reduce((sum, one) => sum + one, 0),
      ),
    );
  if (counts.at(-1)) keys.push(entry(-1, "none", counts.at(-1)));
  const all = el(
    "button",
    {
      id: "all-keys",
      class: "link",
      type: "button",
      onclick: () => {
        state.off.clear();
        legend();
        colours();
      },
    },
    "Show all",
  );
  all.hidden = !state.off.size;
  box.replaceChildren(...keys, all);
}

async function colourBy(name) {
  const column = name ? await source.cells(name) : null;
  state.colour = name;
  state.off.clear();
  parts.column = column;
  if (column?.kind === "number") parts.range = bulk(column.values);
  legend();
  colours();
  frame();
}

function extremes(values) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) if (value !== null) [least, most] = [Math.min(least, value), Math.max(most, value)];
  return [least, most];
}

/** The range that nearly all numbers lie in, so that a few far ones do not take the colours from the rest. */
function bulk(values) {
  const sorted = Float64Array.from(values.filter((value) => value !== null)).sort();
  if (!sorted.length) return [0, 1];
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const [least, most, low, high] = [at(0), at(1), at(0.02), at(0.98)];
  if (sorted.length < 50 || low === high) return [least, most];
  return Object.assign([low, high], { low: low > least, high: high < most });
}

/** Show a map by its name, or two or three cells as axes. */
async function mapBy(axes) {
  const { chart } = parts;
  if (typeof axes === "string") {
    chart.place(await source.map(axes), axes.endsWith("3") ? 3 : 2, null);
  } else {
    const columns = await Promise.all(axes.map((name) => source.cells(name)));
    const numbers = columns.map(numeric);
    const scales = axes.map((name, at) => ({ name, least: extremes(numbers[at])[0], most: extremes(numbers[at])[1] }));
    const points = new Float32Array(state.about.count * 3);
    for (let place = 0; place < state.about.count; place++) {
      numbers.forEach((values, axis) => {
        const { least, most } = scales[axis];
        points[place * 3 + axis] =
          values[place] === null ? NaN : (2 * (values[place] - least)) / (most - least || 1) - 1;
      });
      if (numbers.some((values) => values[place] === null)) points[place * 3] = NaN;
    }
    chart.place(points, axes.length, scales);
  }
  colours();
  frame();
}

/** The numbers of a column, also of one whose few whole numbers are categories. */
function numeric(column) {
  if (column.kind === "number") return column.values;
  return column.codes.map((code) => (Array.isArray(code) || code < 0 ? null : column.values[code]));
}
