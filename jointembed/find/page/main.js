// The page: what is shown and asked, and how its parts hear of it.

const STEP = 10; // results at first, and more at each turn
const NAMED = 18; // categories in the legend, and named on the map: as many as there are colours and shapes

const state = {
  about: null,
  ask: { kind: "start" }, // start | similar {plus, minus} | search {words} | path {start, end} | file {blob}
  hits: [],
  k: STEP,
  start: null, // where a path is to begin
  colour: "", // the cell that gives the colours
  off: new Set(), // categories that the legend hides
  turn: 0, // which question was asked last
  sought: "", // the words that were searched for last
};
const parts = {};

const rowsOf = new Map(); // place: hit, of what was asked for
async function rowOf(place) {
  if (!rowsOf.has(place)) rowsOf.set(place, await source.row(place));
  return rowsOf.get(place);
}

const say = (text) => (byId("status").textContent = text);

/** Tell of what failed where it is seen. */
function failed(error) {
  byId("hint").textContent = error.message;
  byId("hint").hidden = false;
  byId("heading").textContent = "That did not work";
  state.hits = [];
  parts.list.show([]);
  byId("more").hidden = true;
  say(error.message);
  mark();
}

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
    item.querySelector(".swatch").style.backgroundColor = tint(Number(item.dataset.place));
  }
}

const tint = (place) => css([...parts.chart.tints.subarray(place * 4, place * 4 + 3)]);

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
    return el("button", {
      class: "key", type: "button", "aria-pressed": !state.off.has(Math.min(code, NAMED)),
      onclick: (event) => {
        const at = Math.min(code, NAMED);
        if (!state.off.delete(at)) state.off.add(at);
        event.currentTarget.setAttribute("aria-pressed", !state.off.has(at));
        byId("all-keys").hidden = !state.off.size;
        colours();
      },
    }, swatch, el("span", { class: "title", dir: "auto" }, text), el("small", {}, count.toLocaleString("en")));
  };
  const keys = column.values.slice(0, NAMED).map((value, code) => entry(code, plain(value) || "(blank)", counts[code]));
  const rest = column.values.length - NAMED;
  if (rest > 0) keys.push(entry(NAMED, several(rest, "other"), counts.slice(NAMED, -1).reduce((sum, one) => sum + one, 0)));
  if (counts.at(-1)) keys.push(entry(-1, "none", counts.at(-1)));
  const all = el("button", { id: "all-keys", class: "link", type: "button", onclick: () => { state.off.clear(); legend(); colours(); } }, "Show all");
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
        points[place * 3 + axis] = values[place] === null ? NaN : (2 * (values[place] - least)) / (most - least || 1) - 1;
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

/** Ask again what was asked, and show the answer. */
async function ask(question = state.ask, k = STEP) {
  const turn = ++state.turn;
  Object.assign(state, { ask: question, k });
  const { filters, list } = parts;
  const wanted = { k, where: filters.where(), accept: (place) => filters.test(place), ...filters.options };
  byId("results").setAttribute("aria-busy", "true");
  try {
    const answer = await answered(question, wanted);
    if (turn !== state.turn) return;
    state.hits = answer.hits;
    const chosen = question.kind === "similar" && question.plus.length === 1 && !question.minus.length ? await rowOf(question.plus[0]) : null;
    for (const hit of answer.hits) rowsOf.set(hit.place, { ...rowsOf.get(hit.place), ...hit });
    if (turn !== state.turn) return;
    choose(chosen);
    list.show(answer.hits, { ranked: question.kind !== "start", scores: answer.how !== "text" && question.kind !== "start" });
    byId("heading").textContent = answer.heading;
    byId("hint").textContent = answer.hint || "";
    byId("hint").hidden = !answer.hint;
    byId("clear").hidden = question.kind === "start";
    byId("more").hidden = answer.hits.length < k || !["similar", "search", "file"].includes(question.kind) || k >= (state.about.k ?? Infinity);
    say(question.kind === "start" ? "" : `${several(answer.hits.length, "result")}. ${answer.heading}. ${answer.hint || ""}`);
    mark();
    parts.player?.state();
    if (question.kind !== "start") parts.chart.reveal([...(question.plus ?? []), ...answer.hits.slice(0, 10).map((hit) => hit.place)]);
  } catch (error) {
    if (turn === state.turn) failed(error);
  } finally {
    if (turn === state.turn) byId("results").removeAttribute("aria-busy");
    mixed();
  }
}

async function answered(question, wanted) {
  const named = async (place) => parts.list.title(await rowOf(place));
  const limits = parts.filters.count ? "within the filters" : "";
  if (question.kind === "similar") {
    const found = await source.similar(question.plus, question.minus, wanted);
    const single = question.plus.length === 1 && !question.minus.length;
    const heading = single ? "Most like it" : "Most like the mix";
    return { ...found, heading, hint: found.note || (found.hits.length ? "" : `Nothing is left ${limits}.`) };
  }
  if (question.kind === "search") {
    const found = await source.search(question.words, wanted);
    const how = found.how === "model" ? "by meaning" : "by the words in the cells";
    const count = found.total > found.hits.length ? `${several(found.total, "item")} in all` : "";
    return { ...found, heading: `“${plain(question.words)}”`, hint: found.hits.length ? [how, count].filter(Boolean).join(", ") : `Nothing fits ${limits}`.trim() + "." };
  }
  if (question.kind === "path") {
    const found = await source.path(question.start, question.end, wanted);
    return { ...found, heading: "Path", hint: `From ${await named(question.start)} to ${await named(question.end)}; the score is with the end.` };
  }
  if (question.kind === "file") {
    const found = await source.file(question.blob, wanted);
    return { ...found, heading: `Like ${plain(question.blob.name)}` };
  }
  const places = [];
  for (let at = 0; at < state.about.count && places.length < 8; at++) {
    // Steps of the golden section reach all parts of the index.
    const place = Math.floor((((at + 0.5) * 0.6180339887) % 1) * state.about.count);
    if (parts.filters.test(place) && !places.includes(place)) places.push(place);
    if (at > 4000) break;
  }
  const hits = await Promise.all(places.map(rowOf));
  const hint = state.about.count ? "Click a point on the map, search, or begin with one of these." : "This index is empty.";
  return { hits, heading: state.about.count ? "Begin anywhere" : "Nothing here yet", hint };
}

/** Show the item whose neighbours are listed. */
function choose(hit) {
  const box = byId("chosen");
  box.hidden = !hit;
  if (!hit) return box.replaceChildren();
  const name = parts.list.title(hit);
  const acts = el("div", { class: "acts" },
    hit.audio ? tool("play", `Play ${name}`, () => parts.player.play(hit, [hit, ...state.hits]), { "data-play": hit.place }) : null,
    source.compose ? tool("path", "Path from here to another item", () => { state.start = hit.place; mixed(); say("Choose where the path ends"); }) : null,
    tool("close", "Clear the choice", clear));
  box.replaceChildren(...[el("div", { class: "over" }, el("h2", { dir: "auto" }, name), acts), facts(hit.row, state.about)].filter(Boolean));
}

/** The chips of a mix, or of a path that wants its end. */
async function mixed() {
  const box = byId("mix");
  const { ask: question } = state;
  const signs = question.kind === "similar" ? [...question.plus.map((place) => [place, 1]), ...question.minus.map((place) => [place, -1])] : [];
  const shown = signs.length > 1 || question.minus?.length ? signs : [];
  const chips = await Promise.all(shown.map(async ([place, sign]) => {
    const name = parts.list.title(await rowOf(place));
    return el("span", { class: sign > 0 ? "token" : "token less" }, icon(sign > 0 ? "plus" : "minus"), el("span", { class: "title", dir: "auto" }, name),
      tool("close", `Take ${name} out of the mix`, () => unmix(place)));
  }));
  if (state.start !== null) {
    const name = parts.list.title(await rowOf(state.start));
    chips.push(el("span", { class: "token wide" }, icon("path"), el("span", { class: "title", dir: "auto" }, `From ${name} to …`),
      tool("close", "No path", () => { state.start = null; mixed(); })));
  }
  box.replaceChildren(...chips);
  box.hidden = !chips.length;
}

function similar(place) {
  if (state.start !== null && place !== state.start) {
    const { start } = state;
    state.start = null;
    return ask({ kind: "path", start, end: place });
  }
  state.start = null;
  return ask({ kind: "similar", plus: [place], minus: [] });
}

function mix(place, sign) {
  const { plus = [], minus = [] } = state.ask.kind === "similar" ? state.ask : {};
  const without = (list) => list.filter((one) => one !== place);
  const next = { kind: "similar", plus: without(plus), minus: without(minus) };
  (sign > 0 ? next.plus : next.minus).push(place);
  if (!next.plus.length) return say("Add an item before taking one away");
  return ask(next);
}

function unmix(place) {
  const { plus, minus } = state.ask;
  const next = { kind: "similar", plus: plus.filter((one) => one !== place), minus: minus.filter((one) => one !== place) };
  return next.plus.length ? ask(next) : clear();
}

function clear() {
  state.start = null;
  byId("query").value = state.sought = "";
  return ask({ kind: "start" });
}

/** Show on the map what was found. */
function mark() {
  const { chart, overlay } = parts;
  const { ask: question, hits } = state;
  const on = question.kind !== "start";
  overlay.found = {
    from: question.kind === "similar" ? question.plus : [],
    hits: on ? hits.map((hit) => hit.place).filter((place) => place !== undefined && place !== null) : [],
    chain: question.kind === "path",
  };
  chart.veil = on && hits.length ? (theme() === "dark" ? 0.4 : 0.38) : 1;
  chart.draw();
}

/** The tooltip of a point. */
async function hover(place, point) {
  const { overlay, chart } = parts;
  const tip = byId("tip");
  overlay.hovered = place;
  chart.canvas.classList.toggle("over", place !== null);
  chart.draw();
  tip.hidden = place === null || !point;
  if (tip.hidden) return;
  const { title } = state.about;
  const names = [title, "id", ...(state.colour && state.colour !== title ? [state.colour] : [])];
  const [named, ids, colour] = await Promise.all(names.map((name) => source.cells(name)));
  if (overlay.hovered !== place) return;
  const name = things(named, place).map(shown).join(", ") || stem(ids.values[place]);
  const value = colour ? things(colour, place).map(shown).join(", ") : "";
  tip.replaceChildren(el("b", { dir: "auto" }, name), ...(value ? [el("span", { dir: "auto" }, value)] : []));
  const [x, y] = chart.at(place);
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(chart.width - width - 8, x - width / 2))}px`;
  tip.style.top = `${y - height - 14 < 8 ? y + 16 : y - height - 14}px`;
}

/** What of the map the sheet of a narrow screen covers. */
function frame() {
  const covered = narrow.matches ? byId("panel").getBoundingClientRect().height : 0;
  const most = parts.chart.height * 0.55;
  const legend = byId("legend");
  const beside = narrow.matches || legend.hidden || !legend.open ? 0 : 226;
  parts.chart.inset = { left: 0, right: beside, top: narrow.matches ? 96 : byId("bar").offsetHeight + 22, bottom: Math.min(covered, most) + (narrow.matches ? 0 : 12) };
  parts.chart.draw();
}

function sheet(size) {
  const panel = byId("panel");
  panel.dataset.sheet = size;
  byId("handle").setAttribute("aria-expanded", size === "full");
  byId("handle").setAttribute("aria-label", size === "full" ? "Less room for the results" : "More room for the results");
  setTimeout(frame, still.matches ? 0 : 260);
}

function themed() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = memory.get("theme") ?? (dark ? "dark" : "light");
  byId("theme").setAttribute("aria-pressed", theme() === "dark");
  if (!parts.chart?.count) return;
  legend();
  colours();
  mark();
}

const option = (value, text) => el("option", { value }, text);

/** The choices of map, axes and colour. */
function choices() {
  const { about } = state;
  const names = { pca2: "Principal components", pca3: "Principal components, 3-D", umap2: "UMAP", umap3: "UMAP, 3-D" };
  const maps = about.axes.filter((name) => names[name]);
  const numbers = about.axes.filter((name) => !names[name]);
  const map = byId("map");
  map.append(...maps.map((name) => option(name, names[name])));
  const axes = [0, 1, 2].map((axis) => byId(`axis-${axis}`));
  if (numbers.length > 1) {
    map.append(option("", "Columns"));
    axes.forEach((select, axis) => {
      if (axis === 2) select.append(option("", "none"));
      select.append(...numbers.map((name) => option(name, plain(name))));
      select.value = axis === 2 ? "" : numbers[axis];
      select.addEventListener("change", () => change());
    });
  }
  const change = async () => {
    byId("axes").hidden = map.value !== "";
    const chosen = map.value || axes.map((select) => select.value).filter(Boolean);
    document.body.classList.add("busy");
    await mapBy(chosen).catch(failed);
    document.body.classList.remove("busy");
    say(`Map: ${map.selectedOptions[0].textContent}`);
  };
  map.addEventListener("change", change);
  const start = about.start ?? maps[0];
  if (maps.includes(start)) map.value = start;
  else {
    map.value = "";
    start.split(",").forEach((name, axis) => (axes[axis].value = name));
    byId("axes").hidden = false;
  }
  const colour = byId("colour");
  const kept = about.cells.filter((cell) => cell.kind !== "text" && cell.size > 1);
  colour.append(option("", "none"), ...kept.map(({ name }) => option(name, plain(name))));
  const first = kept.find((cell) => cell.kind === "category" && cell.name !== "split" && cell.size <= 2 * NAMED) ?? kept.find((cell) => cell.name !== "split");
  colour.value = first?.name ?? "";
  colour.addEventListener("change", () => colourBy(colour.value).catch(failed));
  return { axes: map.value || axes.map((select) => select.value).filter(Boolean), colour: colour.value };
}

function wire() {
  const { chart } = parts;
  chart.on("view", () => parts.overlay.draw());
  chart.on("hover", (place, point) => hover(place, point).catch(() => {}));
  chart.on("pick", (place) => (place === null ? state.start === null && state.ask.kind === "similar" && clear() : similar(place)));
  byId("in").addEventListener("click", () => chart.glide({ zoom: Math.min(500, chart.view.zoom * 1.7) }, 260));
  byId("out").addEventListener("click", () => chart.glide({ zoom: Math.max(0.5, chart.view.zoom / 1.7) }, 260));
  byId("fit").addEventListener("click", () => chart.fit());
  chart.canvas.addEventListener("focus", () => chart.draw());
  chart.canvas.addEventListener("blur", () => chart.draw());
  const search = () => {
    const words = (state.sought = byId("query").value.trim());
    if (words) ask({ kind: "search", words });
    else clear();
  };
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("query").addEventListener("search", () => byId("query").value || state.ask.kind !== "search" || clear());
  if (!source.compose) byId("query").addEventListener("input", settled(220, () => {
    const words = byId("query").value.trim();
    if (words.length > 1 && words !== state.sought) search();
  }));
  byId("clear").addEventListener("click", clear);
  byId("more").addEventListener("click", () => ask(state.ask, state.k + STEP));
  byId("filters").addEventListener("toggle", () => parts.filters.open().catch(failed));
  byId("theme").addEventListener("click", () => {
    memory.set("theme", theme() === "dark" ? "light" : "dark");
    themed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed());
  byId("file").hidden = !state.about.file;
  byId("file").addEventListener("click", () => byId("upload").click());
  byId("upload").addEventListener("change", (event) => event.target.files[0] && ask({ kind: "file", blob: event.target.files[0] }));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (state.about.file && event.dataTransfer.files[0]) ask({ kind: "file", blob: event.dataTransfer.files[0] });
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range";
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      byId("query").focus();
      byId("query").select();
    }
    if (event.key === "Escape") clear();
  });
  hold();
  byId("legend").addEventListener("toggle", frame);
  narrow.addEventListener("change", () => { byId("legend").open = !narrow.matches; frame(); });
  byId("legend").open = !narrow.matches;
  new ResizeObserver(() => frame()).observe(byId("panel"));
}

/** The handle of the sheet: pressed it goes to the next size, dragged it goes where it is let go. */
function hold() {
  const handle = byId("handle");
  const panel = byId("panel");
  let from = null, moved = false;
  handle.addEventListener("pointerdown", (event) => {
    from = { y: event.clientY, height: panel.getBoundingClientRect().height };
    moved = false;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!from) return;
    moved ||= Math.abs(event.clientY - from.y) > 5;
    if (moved) panel.style.height = `${Math.max(96, Math.min(innerHeight - 40, from.height + from.y - event.clientY))}px`;
  });
  handle.addEventListener("pointerup", () => {
    const share = panel.getBoundingClientRect().height / innerHeight;
    from = null;
    if (!moved) return;
    panel.style.height = "";
    sheet(share > 0.65 ? "full" : share > 0.28 ? "half" : "peek");
  });
  handle.addEventListener("click", () => {
    if (moved) moved = false;
    else sheet({ peek: "half", half: "full", full: "peek" }[panel.dataset.sheet]);
  });
}

async function start() {
  themed();
  const about = (state.about = await source.about());
  document.title = `${about.name} · jointembed`;
  byId("name").textContent = about.name;
  byId("facts").textContent = [several(about.count, "item"), `${about.dim} dimensions`, about.metric, about.note].filter(Boolean).join(" · ");
  byId("query").placeholder = about.text && about.text !== "none" ? "Search by words" : "Search in titles and cells";
  parts.chart = new Chart(byId("points"));
  parts.overlay = new Overlay(byId("marks"), byId("ground"), parts.chart);
  parts.filters = new Filters(byId("controls"), about, () => {
    byId("active").textContent = parts.filters.count;
    byId("active").hidden = !parts.filters.count;
    colours();
    ask();
  });
  byId("filters").hidden = !parts.filters.any;
  parts.list = new List(byId("list"), about, {
    similar: (hit) => similar(hit.place),
    mix: (hit, sign) => mix(hit.place, sign),
    play: (hit, queue) => parts.player.play(hit, queue),
    hover: (place) => { parts.overlay.hovered = place; parts.chart.draw(); },
    tint,
  });
  parts.player = new Player(byId("player"), (hit) => parts.list.title(hit), say);
  parts.overlay.title = (place) => (rowsOf.has(place) ? parts.list.title(rowsOf.get(place)) : "");
  const chosen = choices();
  wire();
  if (!parts.chart.alive) {
    byId("veil").textContent = "This browser draws no WebGL 2. The list works all the same.";
    byId("veil").hidden = false;
  }
  if (about.count) {
    parts.column = chosen.colour ? await source.cells(chosen.colour) : null;
    state.colour = chosen.colour;
    if (parts.column?.kind === "number") parts.range = bulk(parts.column.values);
    legend();
    await mapBy(chosen.axes);
    byId("points").setAttribute("aria-label", `Map of ${several(about.count, "item")}`);
  }
  requestAnimationFrame(() => performance.mark("map"));
  await ask({ kind: "start" });
}

start().catch((error) => {
  byId("veil").textContent = error.message;
  byId("veil").hidden = false;
});
