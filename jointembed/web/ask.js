// What is asked, and how the answer is shown: likeness, mixes, words, paths, files.

/** Ask again what was asked, or something new, and show the answer; a new question is kept in the browser's history. */
async function ask(question = state.ask, k = STEP, kept = false) {
  const turn = ++state.turn;
  if (question !== state.ask && !kept) history.pushState({ ...question, column: source.column }, "");
  Object.assign(state, { ask: question, k });
  const { filters, list } = parts;
  const wanted = { k, where: filters.where(), accept: (place) => filters.test(place), ...filters.options };
  byId("results").setAttribute("aria-busy", "true");
  try {
    const answer = await answered(question, wanted);
    if (turn !== state.turn) return;
    state.hits = answer.hits;
    const chosen =
      question.kind === "similar" && question.plus.length === 1 && !question.minus.length
        ? await rowOf(question.plus[0])
        : null;
    for (const hit of answer.hits) rowsOf.set(hit.place, { ...rowsOf.get(hit.place), ...hit });
    if (turn !== state.turn) return;
    choose(chosen);
    list.show(answer.hits, {
      ranked: question.kind !== "start",
      scores: answer.how !== "text" && question.kind !== "start",
    });
    byId("heading").textContent = answer.heading;
    byId("hint").textContent = answer.hint || "";
    byId("hint").hidden = !answer.hint;
    byId("clear").hidden = question.kind === "start";
    byId("more").hidden =
      answer.hits.length < k ||
      !["similar", "search", "file"].includes(question.kind) ||
      k >= (state.about.k ?? Infinity);
    say(
      question.kind === "start"
        ? ""
        : `${several(answer.hits.length, "result")}. ${answer.heading}. ${answer.hint || ""}`,
    );
    mark();
    parts.player?.state();
    if (question.kind !== "start")
      parts.chart.reveal([...(question.plus ?? []), ...answer.hits.slice(0, 10).map((hit) => hit.place)]);
  } catch (error) {
    if (turn === state.turn) failed(error);
  } finally {
    if (turn === state.turn) byId("results").removeAttribute("aria-busy");
    mixed();
  }
}

async function answered(question, wanted) {
  const named = async (place) => parts.list.title(await rowOf(place));
  const limits = parts.filters.count ? " within the filters" : "";
  if (question.kind === "similar") {
    const found = await source.similar(question.plus, question.minus, wanted);
    const single = question.plus.length === 1 && !question.minus.length;
    const heading = single ? "Most like it" : "Most like the mix";
    return { ...found, heading, hint: found.note || (found.hits.length ? "" : `Nothing is left${limits}.`) };
  }
  if (question.kind === "search") {
    const found = await source.search(question.words, wanted);
    if (found.how === "model") state.about.text = "ready";
    const loading = state.about.text === "loading" ? " while the model loads" : "";
    const how = found.how === "model" ? "by meaning" : `by the words in the cells${loading}`;
    const count = found.total > found.hits.length ? `${several(found.total, "item")} in all` : "";
    return {
      ...found,
      heading: `“${plain(question.words)}”`,
      hint: found.hits.length ? [how, count].filter(Boolean).join(", ") : `Nothing fits${limits}.`,
    };
  }
  if (question.kind === "path") {
    const found = await source.path(question.start, question.end, wanted);
    return {
      ...found,
      heading: "Path",
      hint: `From ${await named(question.start)} to ${await named(question.end)}; the score is with the end.`,
    };
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
  const hint = state.about.count
    ? "Click a point on the map, search, or begin with one of these."
    : "This index is empty.";
  return { hits, heading: state.about.count ? "Begin anywhere" : "Nothing here yet", hint: question.hint ?? hint };
}

/** Show the item whose neighbours are listed. */
function choose(hit) {
  const box = byId("chosen");
  box.hidden = !hit;
  if (!hit) return box.replaceChildren();
  const name = parts.list.title(hit);
  const acts = el(
    "div",
    { class: "acts" },
    hit.audio
      ? tool("play", `Play ${name}`, () => parts.player.play(hit, [hit, ...state.hits]), { "data-play": hit.id })
      : null,
    source.compose
      ? tool("path", "Path from here to another item", () => {
          state.start = hit.place;
          mixed();
          say("Choose where the path ends");
        })
      : null,
    tool("close", "Clear the choice", clear),
  );
  box.replaceChildren(
    ...[el("div", { class: "over" }, el("h2", { dir: "auto" }, name), acts), facts(hit.row, state.about, hit.words)].filter(
      Boolean,
    ),
  );
}

/** The chips of a mix, or of a path that wants its end. */
async function mixed() {
  const box = byId("mix");
  const { ask: question } = state;
  const signs =
    question.kind === "similar"
      ? [...question.plus.map((place) => [place, 1]), ...question.minus.map((place) => [place, -1])]
      : [];
  const shown = signs.length > 1 || question.minus?.length ? signs : [];
  const chips = await Promise.all(
    shown.map(async ([place, sign]) => {
      const name = parts.list.title(await rowOf(place));
      return el(
        "span",
        { class: sign > 0 ? "token" : "token less" },
        icon(sign > 0 ? "plus" : "minus"),
        el("span", { class: "title", dir: "auto" }, name),
        tool("close", `Take ${name} out of the mix`, () => unmix(place)),
      );
    }),
  );
  if (state.start !== null) {
    const name = parts.list.title(await rowOf(state.start));
    chips.push(
      el(
        "span",
        { class: "token wide" },
        icon("path"),
        el("span", { class: "title", dir: "auto" }, `From ${name} to …`),
        tool("close", "No path", () => {
          state.start = null;
          mixed();
        }),
      ),
    );
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
  const next = {
    kind: "similar",
    plus: plus.filter((one) => one !== place),
    minus: minus.filter((one) => one !== place),
  };
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
