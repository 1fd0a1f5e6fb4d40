// The page: what is shown and asked, and how its parts hear of it.

const STEP = 10; // results at first, and more at each turn
const NAMED = 18; // categories in the legend, and named on the map: as many as there are colours and shapes
const MAPS = { pca2: "Principal components", pca3: "Principal components, 3-D", umap2: "UMAP", umap3: "UMAP, 3-D" };
const AXES = ["axis-0", "axis-1", "axis-2"];

const state = {
  about: null,
  ask: { kind: "start" }, // start | similar {plus, minus} | search {words} | path {start, end} | file {blob}
  hits: [],
  k: STEP,
  start: null, // where a path is to begin
  colour: "", // the cell that gives the colours
  off: new Set(), // categories that the legend hides
  turn: 0, // which question was asked last
  shows: 0, // how often a column was chosen
  sought: "", // the words that were searched for last
};
const parts = {};

const rowsOf = new Map(); // place: hit, of what was asked for
async function rowOf(place) {
  if (!rowsOf.get(place)?.words) rowsOf.set(place, { ...rowsOf.get(place), ...(await source.row(place)) });
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
  parts.chart.inset = {
    left: 0,
    right: beside,
    top: narrow.matches ? 96 : byId("bar").offsetHeight + 22,
    bottom: Math.min(covered, most) + (narrow.matches ? 0 : 12),
  };
  parts.chart.draw();
}

function sheet(size) {
  const panel = byId("panel");
  panel.dataset.sheet = size;
  byId("handle").setAttribute("aria-expanded", size === "full");
  byId("handle").setAttribute(
    "aria-label",
    size === "full" ? "Less room for the results" : "More room for the results",
  );
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

/** What of a map, of axes and colours there is to choose among items, and what is chosen; that stays if it can. */
function choices(about) {
  const maps = about.axes.filter((name) => MAPS[name]);
  const numbers = about.axes.filter((name) => !MAPS[name]);
  const now = state.about ? axes() : (about.start ?? maps[0]);
  const cells = Array.isArray(now) ? now : now.split(",");
  const kept = about.cells.filter((cell) => cell.kind !== "text" && cell.size > 1);
  const first =
    kept.find((cell) => cell.kind === "category" && cell.name !== "split" && cell.size <= 2 * NAMED) ??
    kept.find((cell) => cell.name !== "split");
  const same = state.about && (state.colour ? kept.find((cell) => cell.name === state.colour) : { name: "" });
  return {
    maps,
    numbers,
    axes: maps.includes(now) ? now : cells.every((name) => numbers.includes(name)) ? cells : maps[0],
    colours: kept.map((cell) => cell.name),
    colour: (same || first)?.name ?? "",
  };
}

/** Offer the choices. */
function offer({ maps, numbers, axes, colours, colour }) {
  const map = byId("map");
  const columns = numbers.length > 1 ? [option("", "Columns")] : [];
  map.replaceChildren(...maps.map((name) => option(name, MAPS[name])), ...columns);
  map.value = Array.isArray(axes) ? "" : axes;
  AXES.forEach((id, axis) => {
    const select = byId(id);
    const none = axis === 2 ? [option("", "none")] : [];
    select.replaceChildren(...none, ...numbers.map((name) => option(name, plain(name))));
    select.value = (Array.isArray(axes) ? axes[axis] : axis < 2 && numbers[axis]) || "";
  });
  byId("axes").hidden = map.value !== "";
  byId("colour").replaceChildren(option("", "none"), ...colours.map((name) => option(name, plain(name))));
  byId("colour").value = colour;
}

/** The map that is chosen, by its name, or two or three cells as axes. */
const axes = () => byId("map").value || AXES.map((id) => byId(id).value).filter(Boolean);

// Show the items that have a vector in a column: their map, colours and filters. All of it is there before any of it is
// shown. Gives the ids of the items before and of these, or null if another column was chosen meanwhile.
async function shownBy(column, known) {
  const turn = ++state.shows;
  const before = state.about?.count ? (await source.cells("id")).values : [];
  const about = known ?? (await source.about(column));
  const choice = choices(about);
  const filters = new Filters(byId("controls"), about, filtered, column);
  let after = [];
  if (about.count) {
    const wanted = Array.isArray(choice.axes) ? choice.axes : [];
    if (!wanted.length) await source.map(choice.axes, column);
    for (const name of [...wanted, choice.colour].filter(Boolean)) await source.cells(name, column);
    await filters.like(parts.filters);
    if (state.about) after = (await source.cells("id", column)).values;
  }
  if (turn !== state.shows) return null;
  const old = parts.filters;
  state.turn++; // what is on its way is of other items
  source.column = column;
  state.about = parts.list.about = about;
  parts.filters = filters;
  rowsOf.clear();
  hover(null);
  parts.list.show([]);
  parts.overlay.found = { from: [], hits: [], chain: false };
  byId("column").value = column;
  const items = about.rows > about.count ? `${about.count.toLocaleString("en")} of ` : "";
  const by = about.columns.length > 1 ? ` by ${plain(about.column)}` : "";
  byId("facts").textContent = [
    `${items}${several(about.rows, "item")}${by}`,
    `${about.dim} dimensions`,
    about.metric,
    about.note,
  ]
    .filter(Boolean)
    .join(" · ");
  asked();
  byId("filters").hidden = !filters.any;
  if (old?.built) filters.show();
  counted();
  offer(choice);
  if (choice.colour !== state.colour) state.off.clear();
  state.colour = choice.colour;
  if (!about.count) return { before, after };
  parts.column = choice.colour ? await source.cells(choice.colour) : null;
  if (parts.column?.kind === "number") parts.range = bulk(parts.column.values);
  legend();
  await mapBy(choice.axes);
  byId("points").setAttribute("aria-label", `Map of ${several(about.count, "item")}${by}`);
  return { before, after };
}

/** Tell what may be asked, and again once the model has loaded. */
function asked() {
  const { about } = state;
  byId("query").placeholder = about.text && about.text !== "none" ? "Search by words" : "Search in titles and cells";
  byId("file").hidden = !about.file;
  if (about.text !== "loading") return;
  setTimeout(async () => {
    const { text, file } = await source.about().catch(() => about);
    if (about !== state.about) return;
    Object.assign(about, { text, file });
    asked();
  }, 1000);
}

/** Compare by another column; what was asked is asked again there. */
async function compareBy(column) {
  document.body.classList.add("busy");
  const shown = await shownBy(column).finally(() => document.body.classList.remove("busy"));
  if (!shown) return;
  const places = new Map(shown.after.map((id, place) => [id, place]));
  const there = (place) => places.get(shown.before[place]);
  const next = { ...state.ask, hint: null };
  for (const name of ["plus", "minus"]) if (next[name]) next[name] = next[name].map(there);
  for (const name of ["start", "end"]) if (name in next) next[name] = there(next[name]);
  const gone = Object.values(next).flat().includes(undefined);
  state.start = state.start === null ? null : (there(state.start) ?? null);
  const chosen = byId("chosen").querySelector("h2")?.textContent;
  const hint = `${chosen ? `“${chosen}”` : "Some of what was asked for"} has no vector in ${plain(column)}.`;
  await ask(gone ? { kind: "start", hint } : next);
  say(`Compared by ${plain(column)}. ${gone ? hint : byId("status").textContent || byId("facts").textContent}`);
}

function counted() {
  byId("active").textContent = parts.filters.count;
  byId("active").hidden = !parts.filters.count;
}

function filtered() {
  counted();
  colours();
  ask();
}

function wire() {
  const { chart } = parts;
  const mapped = async () => {
    byId("axes").hidden = byId("map").value !== "";
    document.body.classList.add("busy");
    await mapBy(axes()).catch(failed);
    document.body.classList.remove("busy");
    say(`Map: ${byId("map").selectedOptions[0].textContent}`);
  };
  for (const id of ["map", ...AXES]) byId(id).addEventListener("change", mapped);
  byId("colour").addEventListener("change", () => colourBy(byId("colour").value).catch(failed));
  byId("column").addEventListener("change", () =>
    compareBy(byId("column").value).catch((error) => {
      byId("column").value = source.column;
      failed(error);
    }),
  );
  chart.on("view", () => parts.overlay.draw());
  chart.on("hover", (place, point) => hover(place, point).catch(() => {}));
  chart.on("pick", (place) =>
    place === null ? state.start === null && state.ask.kind === "similar" && clear() : similar(place),
  );
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
  byId("search").addEventListener("submit", search);
  byId("query").addEventListener("search", () => byId("query").value || state.ask.kind !== "search" || clear());
  if (!source.compose)
    byId("query").addEventListener(
      "input",
      settled(220, () => {
        const words = byId("query").value.trim();
        if (words.length > 1 && words !== state.sought) search();
      }),
    );
  byId("clear").addEventListener("click", clear);
  byId("more").addEventListener("click", () => ask(state.ask, state.k + STEP));
  byId("filters").addEventListener("toggle", () => parts.filters.open().catch(failed));
  byId("theme").addEventListener("click", () => {
    memory.set("theme", theme() === "dark" ? "light" : "dark");
    themed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed());
  byId("file").addEventListener("click", () => byId("upload").click());
  byId("upload").addEventListener(
    "change",
    (event) => event.target.files[0] && ask({ kind: "file", blob: event.target.files[0] }),
  );
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (state.about.file && event.dataTransfer.files[0]) ask({ kind: "file", blob: event.dataTransfer.files[0] });
  });
  // Back and forward go through what was asked, and by which column.
  window.addEventListener("popstate", async (event) => {
    const question = event.state ?? { kind: "start", column: source.column };
    if (question.column === source.column || (await shownBy(question.column).catch(failed))) ask(question, STEP, true);
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
  narrow.addEventListener("change", () => {
    byId("legend").open = !narrow.matches;
    frame();
  });
  byId("legend").open = !narrow.matches;
  new ResizeObserver(() => frame()).observe(byId("panel"));
}

/** The handle of the sheet: pressed it goes to the next size, dragged it goes where it is let go. */
function hold() {
  const handle = byId("handle");
  const panel = byId("panel");
  let from = null,
    moved = false;
  handle.addEventListener("pointerdown", (event) => {
    from = { y: event.clientY, height: panel.getBoundingClientRect().height };
    moved = false;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!from) return;
    moved ||= Math.abs(event.clientY - from.y) > 5;
    if (moved)
      panel.style.height = `${Math.max(96, Math.min(innerHeight - 40, from.height + from.y - event.clientY))}px`;
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
  byId("search").addEventListener("submit", (event) => event.preventDefault());
  const about = await source.about();
  const many = source.compose && about.columns.length > 1;
  document.title = `${about.name} · jointembed`;
  byId("name").textContent = about.name;
  byId("columns").hidden = !many;
  byId("column").append(...about.columns.map((name) => option(name, plain(name))));
  parts.chart = new Chart(byId("points"));
  parts.overlay = new Overlay(byId("marks"), byId("ground"), parts.chart);
  parts.list = new List(byId("list"), about, {
    similar: (hit) => similar(hit.place),
    mix: (hit, sign) => mix(hit.place, sign),
    play: (hit, queue) => parts.player.play(hit, queue),
    hover: (place) => {
      parts.overlay.hovered = place;
      parts.chart.draw();
    },
    dress,
  });
  parts.player = new Player(byId("player"), (hit) => parts.list.title(hit), say);
  parts.overlay.title = (place) => (rowsOf.has(place) ? parts.list.title(rowsOf.get(place)) : "");
  if (!parts.chart.alive) {
    byId("veil").textContent = "This browser draws no WebGL 2. The list works all the same.";
    byId("veil").hidden = false;
  }
  await shownBy(many ? about.column : "", about);
  wire();
  history.replaceState({ kind: "start", column: source.column }, "");
  requestAnimationFrame(() => performance.mark("map"));
  await ask({ kind: "start" }, STEP, true);
}

start().catch((error) => {
  byId("veil").textContent = error.message;
  byId("veil").hidden = false;
});
