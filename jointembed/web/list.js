// The list of results: the described form of what the map shows.

const SHOWN = 4; // cells in the line under a title

class List {
  constructor(root, about, acts) {
    this.root = root;
    this.about = about;
    this.acts = acts; // similar, add, remove, play, dress
    this.hits = [];
    root.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const items = [...root.querySelectorAll(".hit")];
      const at = items.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      items[Math.min(items.length - 1, Math.max(0, at + step))].focus();
    });
  }

  title(hit) {
    const name = hit.row[this.about.title];
    return (typeof name === "string" && plain(name)) || (typeof name === "number" && String(name)) || stem(hit.id);
  }

  /** The cells of a row that say most in few words. */
  meta(row) {
    const told = [];
    for (const { name, kind, size } of this.about.cells) {
      const value = row[name];
      if (kind === "text" && size < 2 && name !== "artist") continue;
      if (name === this.about.title || name === "split" || value === null || value === undefined || value === "")
        continue;
      if (told.length < SHOWN) told.push(typeof value === "number" ? `${plain(name)} ${shown(value)}` : shown(value));
    }
    return told.join(" · ");
  }

  show(hits, { ranked = true, scores = true } = {}) {
    this.hits = hits;
    const worth = hits.map((hit) => hit.score).filter((score) => typeof score === "number");
    const [low, high] = [Math.min(...worth), Math.max(...worth)];
    this.root.replaceChildren(...hits.map((hit, at) => this.item(hit, at, { ranked, scores, low, high })));
  }

  item(hit, at, { ranked, scores, low, high }) {
    const name = this.title(hit);
    const meta = this.meta(hit.row);
    const number = typeof hit.score === "number" && scores;
    const swatch = el("i", { class: "swatch", "aria-hidden": "true" });
    this.acts.dress(swatch, hit.place);
    const alike = hit.alike?.length
      ? el("span", { class: "alike" }, `and ${several(hit.alike.length, "other")} like it`)
      : null;
    const body = el(
      "span",
      { class: "words" },
      el("span", { class: "title", dir: "auto" }, name),
      meta ? el("span", { class: "meta", dir: "auto" }, meta) : null,
      alike,
    );
    const score = number
      ? el("span", { class: "score" }, el("span", { class: "quiet" }, "score "), weighed(hit.score, this.about.metric))
      : null;
    if (score) {
      const bar = el("i", { class: "bar-of-score", "aria-hidden": "true" });
      bar.style.width = `${Math.round(100 * (this.about.metric === "cosine" ? Math.max(0, hit.score) : high > low ? (hit.score - low) / (high - low) : 1))}%`;
      score.append(bar);
    }
    const { acts } = this;
    const button = el(
      "button",
      {
        class: "hit",
        type: "button",
        title: "Show what is like this",
        onclick: () => acts.similar(hit),
        onfocus: () => acts.hover(hit.place),
        onblur: () => acts.hover(null),
      },
      ranked ? el("span", { class: "rank" }, String(at + 1)) : null,
      swatch,
      body,
      score,
    );
    const tools = el(
      "span",
      { class: "acts" },
      hit.audio ? tool("play", `Play ${name}`, () => acts.play(hit, this.hits), { "data-play": hit.id }) : null,
      source.compose ? tool("plus", `Add ${name} to the mix`, () => acts.mix(hit, 1)) : null,
      source.compose ? tool("minus", `Take ${name} away from the mix`, () => acts.mix(hit, -1)) : null,
    );
    return el(
      "li",
      { "data-place": hit.place, onpointerenter: () => acts.hover(hit.place), onpointerleave: () => acts.hover(null) },
      button,
      tools.childElementCount ? tools : null,
    );
  }
}

/** A cell in a line. */
function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value === "number") return figure(value);
  return plain(value !== null && typeof value === "object" ? JSON.stringify(value) : value);
}

/** A score with three digits after the point if it is a cosine, else with three digits that count. */
function weighed(score, metric) {
  const text = metric === "cosine" ? score.toFixed(3) : score.toLocaleString("en", { maximumSignificantDigits: 3 });
  return text.replace("-", "−");
}

/** The cells of the chosen row, as a list of terms; before them the words of the model's own that it lies near. */
function facts(row, about, words) {
  const worth = ({ kind, name }) => (name === "split" ? 2 : kind === "text" ? 1 : 0); // what is short comes first
  const terms = about.cells
    .toSorted((one, other) => worth(one) - worth(other))
    .filter(({ name }) => name !== about.title && row[name] !== null && row[name] !== undefined && row[name] !== "")
    .flatMap(({ name }) => [el("dt", {}, plain(name)), el("dd", { dir: "auto" }, shown(row[name]).slice(0, 600))]);
  if (words?.length) terms.unshift(el("dt", {}, "near"), el("dd", { dir: "auto" }, words.map(plain).join(", ")));
  return terms.length ? el("dl", { class: "cells" }, ...terms) : null;
}
