// Sound: one audio element, its own controls, and the next result when one has ended.

class Player {
  constructor(root, titled, changed) {
    this.root = root;
    this.titled = titled;
    this.changed = changed;
    this.queue = [];
    this.hit = null;
    this.audio = el("audio", { preload: "auto" });
    this.title = el("p", { class: "now", dir: "auto" });
    this.time = el("span", { class: "time" }, "0:00");
    this.seek = el("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Place in the sound" });
    this.button = tool("pause", "Pause", () => this.toggle(), { class: "tool main" });
    this.onward = el(
      "button",
      { class: "chip", type: "button", "aria-pressed": "false", onclick: () => this.go() },
      "Autoplay",
    );
    root.append(
      this.button,
      el("div", { class: "track" }, this.title, el("div", { class: "line" }, this.seek, this.time)),
      this.onward,
      tool("next", "Next result", () => this.next()),
      tool("close", "Close the player", () => this.close()),
      this.audio,
    );
    this.onward.title = "Play the next result when one has ended";
    this.seek.addEventListener("input", () => {
      if (this.audio.duration) this.audio.currentTime = (this.seek.value / 1000) * this.audio.duration;
    });
    for (const name of ["timeupdate", "durationchange"]) this.audio.addEventListener(name, () => this.tick());
    for (const name of ["play", "pause"]) this.audio.addEventListener(name, () => this.state());
    this.audio.addEventListener("ended", () => (this.on ? this.next() : this.state()));
    this.audio.addEventListener("error", () => this.hit && changed(`${this.titled(this.hit)} cannot be played`));
  }

  play(hit, queue) {
    if (this.hit?.id === hit.id) return this.toggle();
    this.hit = hit;
    this.queue = queue.filter((one) => one.audio);
    this.root.hidden = false;
    this.title.textContent = this.titled(hit);
    this.audio.src = hit.audio;
    this.audio.play().catch(() => this.state());
    this.changed(`Playing ${this.titled(hit)}`);
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.state());
    else this.audio.pause();
  }

  get on() {
    return this.onward.getAttribute("aria-pressed") === "true";
  }

  go() {
    this.onward.setAttribute("aria-pressed", !this.on);
  }

  next() {
    const at = this.queue.findIndex((one) => one.id === this.hit?.id);
    const hit = this.queue[at + 1];
    if (hit) this.play(hit, this.queue);
    else this.state();
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.hit = null;
    this.root.hidden = true;
    this.state();
  }

  tick() {
    const { currentTime: now, duration } = this.audio;
    const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
    this.seek.value = duration ? (1000 * now) / duration : 0;
    this.time.textContent = duration && Number.isFinite(duration) ? `${clock(now)} / ${clock(duration)}` : clock(now);
    this.seek.setAttribute("aria-valuetext", this.time.textContent);
  }

  state() {
    const playing = this.hit && !this.audio.paused && !this.audio.ended;
    this.button.replaceChildren(icon(playing ? "pause" : "play"));
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.button.title = playing ? "Pause" : "Play";
    for (const node of document.querySelectorAll("[data-play]")) {
      const mine = playing && node.dataset.play === this.hit.id;
      node.replaceChildren(icon(mine ? "pause" : "play"));
      node.classList.toggle("on", mine);
      node.closest("li")?.classList.toggle("playing", mine);
    }
  }
}
