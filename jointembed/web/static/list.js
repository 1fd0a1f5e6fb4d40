// @ts-check
// The list of results: everything that the map shows, as text.

import { coverImage, el, iconButton } from "./dom.js";
import { formatCell, formatScore, plainText, plural } from "./format.js";
import { state, titleOf } from "./state.js";

const MAX_CELLS = 4; // in the line under a title
const MAX_CHARS = 600; // of a cell

export class ResultList {
  /** @param {{similar, mix, play, more, hover, styleSwatch}} actions */
  constructor(root, info, actions) {
    this.root = root;
    this.info = info;
    this.actions = actions;
    this.hits = [];
    // One tab stop: up and down move between hits, left and right between the buttons of a hit.
    root.addEventListener("keydown", (event) => this.move(event));
    root.addEventListener("focusin", (event) => this.setTabStop(event.target.closest("li")?.querySelector(".hit")));
  }

  move(event) {
    const row = document.activeElement?.closest("li");
    if (!row || !this.root.contains(row)) return;
    const rows = [...this.root.children];
    const buttons = /** @type {any[]} */ ([...row.querySelectorAll("button")]).filter((each) => each.offsetWidth);
    const limit = (list, at) => list[Math.min(list.length - 1, Math.max(0, at))];
    const down = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    const right = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (down)
      limit(rows, rows.indexOf(row) + down)
        .querySelector(".hit")
        .focus();
    else if (right) limit(buttons, buttons.indexOf(document.activeElement) + right).focus();
    else return;
    event.preventDefault();
  }

  setTabStop(hit) {
    if (!hit) return;
    for (const each of this.root.querySelectorAll(".hit")) each.tabIndex = each === hit ? 0 : -1;
  }

  /** The cells of a row that say most in few words. */
  summary(row) {
    const cells = [];
    for (const { name, kind, size } of this.info.columns) {
      const value = row[name];
      if (kind === "text" && size < 2 && name !== "artist") continue;
      if (name === this.info.title || name === "split" || value === null || value === undefined || value === "")
        continue;
      if (cells.length < MAX_CELLS)
        cells.push(
          typeof value === "number" && name !== "seconds"
            ? `${plainText(name)} ${formatCell(value)}`
            : formatCell(value, name),
        );
    }
    return cells.join(" · ");
  }

  show(hits, { hasRanks = true, hasScores = true } = {}) {
    this.hits = hits;
    const scores = hits.map((hit) => hit.score).filter((score) => typeof score === "number");
    const [low, high] = [Math.min(...scores), Math.max(...scores)];
    this.root.replaceChildren(...hits.map((hit, at) => this.item(hit, at, { hasRanks, hasScores, low, high })));
    this.setTabStop(this.root.querySelector(".hit"));
  }

  item(hit, at, { hasRanks, hasScores, low, high }) {
    const { actions, info } = this;
    const title = titleOf(hit);
    const summary = this.summary(hit.row);
    const swatch = el("i", { class: "swatch", "aria-hidden": "true" });
    actions.styleSwatch(swatch, hit.id);
    const duplicates = hit.duplicates?.length
      ? el("span", { class: "alike" }, `and ${plural(hit.duplicates.length, "near-duplicate")}`)
      : null;
    const body = el(
      "span",
      { class: "words" },
      el("span", { class: "title", dir: "auto" }, title),
      summary ? el("span", { class: "meta", dir: "auto" }, summary) : null,
      duplicates,
    );
    let score = null;
    if (hasScores && typeof hit.score === "number") {
      const fraction =
        info.metric === "cosine" ? Math.max(0, hit.score) : high > low ? (hit.score - low) / (high - low) : 1;
      const bar = el("i", { class: "bar-of-score", "aria-hidden": "true" });
      bar.style.width = `${Math.round(100 * fraction)}%`;
      const label = el("span", { class: "quiet" }, "score ");
      score = el("span", { class: "score" }, label, formatScore(hit.score, info.metric), bar);
    }
    const button = el(
      "button",
      {
        class: "hit",
        type: "button",
        title: "Show similar items",
        tabindex: -1,
        onclick: () => actions.similar(hit),
        onfocus: () => actions.hover(hit.id),
        onblur: () => actions.hover(null),
      },
      hasRanks || state.source.isLive ? el("span", { class: "rank" }, hasRanks ? String(at + 1) : "") : null,
      swatch,
      coverImage(state.source.cover(hit)),
      body,
      score,
    );
    const play = { "data-play": hit.id, tabindex: -1 };
    const mix = { class: "tool mixing", tabindex: -1 };
    const more = (event) => actions.more(hit, event.currentTarget);
    const tools = el(
      "span",
      { class: "acts" },
      hit.audio ? iconButton("play", `Play ${title}`, () => actions.play(hit, this.hits), play) : null,
      ...(state.source.isLive
        ? [
            iconButton("plus", `Add ${title} to the mix`, () => actions.mix(hit, 1), mix),
            iconButton("minus", `Subtract ${title} from the mix`, () => actions.mix(hit, -1), mix),
          ]
        : []),
      hit.audio || state.source.isLive
        ? iconButton("more", `More for ${title}`, more, { tabindex: -1, "aria-haspopup": "menu" })
        : null,
    );
    return el(
      "li",
      { "data-id": hit.id, onpointerenter: () => actions.hover(hit.id), onpointerleave: () => actions.hover(null) },
      button,
      tools.childElementCount ? tools : null,
    );
  }
}

/** The columns but that of the title: those with short cells first. */
export function detailColumns(info) {
  const order = ({ kind, name }) => (name === "split" ? 2 : kind === "text" ? 1 : 0);
  return info.columns.filter(({ name }) => name !== info.title).sort((a, b) => order(a) - order(b));
}

/** The cells of the chosen row as a description list, after the terms of the model's vocabulary that it is near. */
export function rowDetails(row, info, terms) {
  const nodes = detailColumns(info)
    .filter(({ name }) => row[name] !== null && row[name] !== undefined && row[name] !== "")
    .flatMap(({ name }) => [
      el("dt", {}, plainText(name)),
      el("dd", { dir: "auto" }, formatCell(row[name], name).slice(0, MAX_CHARS)),
    ]);
  if (terms?.length) nodes.unshift(el("dt", {}, "near"), el("dd", { dir: "auto" }, terms.map(plainText).join(", ")));
  return nodes.length ? el("dl", { class: "cells" }, ...nodes) : null;
}
