// @ts-check
// Sound: one audio element with its controls, and the next result after the end of one.

import { el, icon, iconButton } from "./dom.js";

export class Player {
  /** @param {(hit: any) => string} titleOf @param {(text: string) => void} announce */
  constructor(root, titleOf, announce) {
    this.root = root;
    this.titleOf = titleOf;
    this.announce = announce;
    this.queue = [];
    this.hit = null;
    this.audio = el("audio", { preload: "auto" });
    this.title = el("p", { class: "now", dir: "auto" });
    this.time = el("span", { class: "time" }, "0:00");
    this.seek = el("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Position" });
    this.button = iconButton("pause", "Pause", () => this.toggle(), { class: "tool main" });
    this.autoplay = el(
      "button",
      { class: "chip", type: "button", "aria-pressed": "false", onclick: () => this.toggleAutoplay() },
      "Autoplay",
    );
    root.append(
      this.button,
      el("div", { class: "track" }, this.title, el("div", { class: "line" }, this.seek, this.time)),
      this.autoplay,
      iconButton("next", "Next result", () => this.next()),
      iconButton("close", "Close the player", () => this.close()),
      this.audio,
    );
    this.autoplay.title = "Play the next result after the end of this one";
    this.seek.addEventListener("input", () => {
      if (this.audio.duration) this.audio.currentTime = (this.seek.value / 1000) * this.audio.duration;
    });
    for (const name of ["timeupdate", "durationchange"]) this.audio.addEventListener(name, () => this.showTime());
    for (const name of ["play", "pause"]) this.audio.addEventListener(name, () => this.showState());
    this.audio.addEventListener("ended", () => (this.isAutoplay ? this.next() : this.showState()));
    this.audio.addEventListener("error", () => this.hit && announce(`${titleOf(this.hit)} cannot be played`));
  }

  play(hit, queue) {
    if (this.hit?.id === hit.id) return this.toggle();
    this.hit = hit;
    this.queue = queue.filter((each) => each.audio);
    this.root.hidden = false;
    this.title.textContent = this.titleOf(hit);
    this.audio.src = hit.audio;
    this.audio.play().catch(() => this.showState());
    this.announce(`Playing ${this.titleOf(hit)}`);
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.showState());
    else this.audio.pause();
  }

  get isAutoplay() {
    return this.autoplay.getAttribute("aria-pressed") === "true";
  }

  toggleAutoplay() {
    this.autoplay.setAttribute("aria-pressed", !this.isAutoplay);
  }

  next() {
    const at = this.queue.findIndex((hit) => hit.id === this.hit?.id);
    const hit = this.queue[at + 1];
    if (hit) this.play(hit, this.queue);
    else this.showState();
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.hit = null;
    this.root.hidden = true;
    this.showState();
  }

  showTime() {
    const { currentTime, duration } = this.audio;
    const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
    this.seek.value = duration ? (1000 * currentTime) / duration : 0;
    this.time.textContent =
      duration && Number.isFinite(duration) ? `${clock(currentTime)} / ${clock(duration)}` : clock(currentTime);
    this.seek.setAttribute("aria-valuetext", this.time.textContent);
  }

  showState() {
    const isPlaying = this.hit && !this.audio.paused && !this.audio.ended;
    this.button.replaceChildren(icon(isPlaying ? "pause" : "play"));
    this.button.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    this.button.title = isPlaying ? "Pause" : "Play";
    for (const node of document.querySelectorAll("[data-play]")) {
      const isThis = isPlaying && /** @type {any} */ (node).dataset.play === this.hit.id;
      node.replaceChildren(icon(isThis ? "pause" : "play"));
      node.classList.toggle("on", isThis);
      node.closest("li")?.classList.toggle("playing", isThis);
    }
  }
}
