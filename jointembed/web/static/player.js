// @ts-check
// Sound: one audio element with its controls, and what plays after the end of a song: the queue, then songs near the
// last ones or the next result, if that is wanted.

import { coverImage, el, icon, iconButton, memory } from "./dom.js";
import { formatDuration, plural } from "./format.js";
import { Queue, drawNearest } from "./queue.js";
import { QueuePanel } from "./queue_panel.js";
import { Waveform } from "./waveform.js";

const SEEK_SECONDS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 };
const LAST_SONGS = 5; // that further ones are near to
const ADDED_SONGS = 5;
const NEAREST = 15; // from which those are drawn

export class Player {
  /**
   * @param {{titleOf: (hit: any) => string, announce: (text: string) => void, isLive: boolean, name: string,
   *   coverOf: (song: any) => string | null,
   *   readOutline: (song: any, signal: AbortSignal) => Promise<Float32Array | null>,
   *   findSimilar: (ids: string[]) => Promise<any[]>}} options the hits near some items, nearest first
   */
  constructor(root, queueRoot, options) {
    this.root = root;
    this.queueRoot = queueRoot;
    this.options = options;
    this.list = []; // the songs of the results among which one was played
    this.place = -1; // of that one
    this.song = null;
    this.queue = new Queue(() => this.showQueue());
    this.audio = el("audio", { preload: "auto" });
    this.build();
    this.panel = new QueuePanel(queueRoot, this.queue, (song, at) => this.playQueued(song, at), [
      this.endless,
      this.autoplay,
    ]);
    this.restore();
    window.addEventListener("pagehide", () => this.save());
  }

  build() {
    const { isLive, announce } = this.options;
    this.title = el("p", { class: "now", dir: "auto" });
    this.time = el("span", { class: "time" }, "0:00");
    this.seek = el("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Position" });
    const canvas = el("canvas", { "aria-hidden": "true" });
    this.waveform = new Waveform(canvas, this.options.readOutline);
    this.button = iconButton("pause", "Pause", () => this.toggle(), { class: "tool main" });
    this.count = el("span", { class: "badge", hidden: "" });
    this.queueButton = iconButton("queue", "Queue", () => this.toggleQueue(), {
      "aria-expanded": "false",
      "aria-controls": "queue",
    });
    this.queueButton.append(this.count);
    this.autoplay = this.mode("Autoplay", "Play the next result after the end of this one");
    this.endless = isLive
      ? this.mode(`More like the last ${LAST_SONGS}`, "At the end of the queue, add songs near the last ones")
      : this.mode("More like the last", "At the end of the queue, add songs near the last one");
    this.endless.addEventListener("click", () => this.isEndless && !this.queue.songs.length && this.fill());
    this.disc = el("div", { class: "disc" }, this.button);
    this.root.append(
      this.disc,
      el("div", { class: "track" }, this.title, this.time),
      this.queueButton,
      iconButton("next", "Next song", () => this.next()),
      iconButton("close", "Close the player", () => this.close()),
      el("div", { class: "seek" }, canvas, this.seek),
      this.audio,
    );
    this.seek.addEventListener("input", () => {
      if (this.audio.duration) this.audio.currentTime = (this.seek.value / 1000) * this.audio.duration;
    });
    this.seek.addEventListener("keydown", (event) => {
      const seconds = SEEK_SECONDS[event.key];
      if (!seconds) return;
      event.preventDefault();
      this.audio.currentTime += seconds;
    });
    for (const name of ["timeupdate", "durationchange", "seeking"])
      this.audio.addEventListener(name, () => this.showTime());
    for (const name of ["play", "pause"]) this.audio.addEventListener(name, () => this.showState());
    this.audio.addEventListener("loadedmetadata", () => this.waveform.load(this.song, this.audio.duration));
    this.audio.addEventListener("ended", () => this.onEnd());
    this.audio.addEventListener("error", () => this.song && announce(`${this.song.title} cannot be played`));
  }

  /** A button that stays pressed. */
  mode(text, title) {
    const toggle = (event) => {
      const button = event.currentTarget;
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      this.showQueue();
    };
    return el("button", { class: "chip", type: "button", title, "aria-pressed": "false", onclick: toggle }, text);
  }

  get isAutoplay() {
    return this.autoplay.getAttribute("aria-pressed") === "true";
  }

  get isEndless() {
    return this.endless.getAttribute("aria-pressed") === "true";
  }

  /** @returns {import("./queue.js").Song} */
  songOf(hit) {
    return { id: hit.id, title: this.options.titleOf(hit), audio: hit.audio };
  }

  /** Play a hit among others, or pause it. */
  play(hit, list) {
    if (this.song?.id === hit.id) return this.toggle();
    this.list = list.filter((each) => each.audio).map((each) => this.songOf(each));
    this.place = this.list.findIndex(({ id }) => id === hit.id);
    this.start(this.songOf(hit));
  }

  start(song) {
    this.load(song);
    this.queue.remember(song.id);
    this.audio.play().catch(() => this.showState());
    this.options.announce(`Playing ${song.title}`);
    this.save();
  }

  load(song) {
    const hadFocus = this.button === document.activeElement;
    this.song = song;
    this.root.hidden = false;
    this.title.textContent = song.title;
    this.disc.classList.remove("covered");
    this.disc.replaceChildren(...[coverImage(this.options.coverOf(song)), this.button].filter(Boolean));
    this.waveform.clear();
    if (hadFocus) this.button.focus();
    this.audio.src = song.audio;
    this.showTime();
  }

  playQueued(song, at) {
    this.queue.remove(at);
    this.start(song);
  }

  /** Add a hit to the end of the queue, or to its beginning. */
  enqueue(hit, isNext = false) {
    const song = this.songOf(hit);
    if (isNext) this.queue.addNext(song);
    else this.queue.add(song);
    this.options.announce(`${song.title} ${isNext ? "plays next" : "added to the queue"}`);
    if (!this.song) this.next();
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.showState());
    else this.audio.pause();
  }

  toggleQueue() {
    this.queueRoot.hidden = !this.queueRoot.hidden;
    this.queueButton.setAttribute("aria-expanded", !this.queueRoot.hidden);
  }

  onEnd() {
    if (this.queue.songs.length || this.isEndless || this.isAutoplay) this.next();
    else this.showState();
  }

  /** Play the next song: of the queue, near the last ones, or of the results. */
  async next() {
    if (this.isEndless && !this.queue.songs.length) await this.fill();
    const song = this.queue.shift() ?? this.list[++this.place];
    if (song) this.start(song);
    else this.showState();
  }

  /** Add songs near the last ones to the queue, in random order. */
  async fill() {
    const { findSimilar, isLive, announce } = this.options;
    const last = this.queue.history.slice(isLive ? -LAST_SONGS : -1);
    if (!last.length || this.isFilling) return;
    this.isFilling = true;
    try {
      const hits = (await findSimilar(last)).filter((hit) => hit.audio && !this.queue.has(hit.id));
      const songs = drawNearest(hits, ADDED_SONGS, NEAREST).map((hit) => this.songOf(hit));
      if (songs.length) this.queue.add(...songs);
      announce(songs.length ? `${plural(songs.length, "song")} added to the queue` : "No further songs are near");
    } catch (error) {
      announce(error.message);
    } finally {
      this.isFilling = false;
    }
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.waveform.clear();
    this.song = null;
    this.root.hidden = this.queueRoot.hidden = true;
    this.queueButton.setAttribute("aria-expanded", "false");
    this.showState();
    this.save();
  }

  get key() {
    return `player of ${this.options.name}`;
  }

  /** Keep what plays and the queue for as long as the window is open. */
  save() {
    const { song, queue, isAutoplay, isEndless, audio } = this;
    memory.set(this.key, JSON.stringify({ song, queue, isAutoplay, isEndless, time: audio.currentTime }));
  }

  restore() {
    try {
      const { song, queue, isAutoplay, isEndless, time } = JSON.parse(memory.get(this.key) ?? "{}");
      this.autoplay.setAttribute("aria-pressed", Boolean(isAutoplay));
      this.endless.setAttribute("aria-pressed", Boolean(isEndless));
      if (song) {
        this.load(song);
        this.audio.currentTime = time;
        this.showState();
      }
      this.queue.restore(queue ?? {});
    } catch {
      this.close(); // what was kept is not of this page
    }
  }

  showQueue() {
    const { length } = this.queue.songs;
    this.count.textContent = length;
    this.count.hidden = !length;
    this.queueButton.setAttribute("aria-label", length ? `Queue, ${plural(length, "song")}` : "Queue");
    const then = length ? "Then " : "";
    const what = this.isEndless ? "songs near the last ones" : this.isAutoplay ? "the next results" : "";
    const hint = what ? `${then}${what}.` : length ? "" : "Add songs by the menu beside each result.";
    this.panel?.show(hint && hint[0].toUpperCase() + hint.slice(1));
    this.save();
  }

  showTime() {
    const { currentTime, duration } = this.audio;
    const clock = (seconds) => formatDuration(Math.floor(seconds) || 0);
    const played = duration ? currentTime / duration : 0;
    this.seek.value = 1000 * played;
    this.waveform.setPlayed(played);
    this.time.textContent =
      duration && Number.isFinite(duration) ? `${clock(currentTime)} / ${clock(duration)}` : clock(currentTime);
    this.seek.setAttribute("aria-valuetext", this.time.textContent);
  }

  showState() {
    const isPlaying = this.song && !this.audio.paused && !this.audio.ended;
    this.button.replaceChildren(icon(isPlaying ? "pause" : "play"));
    this.button.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    this.button.title = isPlaying ? "Pause" : "Play";
    for (const node of document.querySelectorAll("[data-play]")) {
      const isThis = isPlaying && /** @type {any} */ (node).dataset.play === this.song?.id;
      node.replaceChildren(icon(isThis ? "pause" : "play"));
      node.classList.toggle("on", isThis);
      node.closest("li")?.classList.toggle("playing", isThis);
    }
  }
}
