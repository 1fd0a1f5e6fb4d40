// @ts-check
// The outline of the playing sound behind its seek bar. Long sounds have none.

import { cssVariable } from "./dom.js";

const MAX_SECONDS = 600;
const STEP = 3; // pixels from one bar to the next
const SKIP_MS = 250; // milliseconds, for which a song is skipped without being decoded

export class Waveform {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(song: any, signal: AbortSignal) => Promise<Float32Array | null>} read the outline of a song
   */
  constructor(canvas, read) {
    this.canvas = canvas;
    this.read = read;
    this.peaks = new Float32Array(0);
    this.played = 0;
    this.turn = 0; // of the song that is wanted
    this.decoding = Promise.resolve(); // one at a time, to bound the memory
    this.waiting = new AbortController();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get isShown() {
    return this.peaks.length > 0;
  }

  clear() {
    this.turn++;
    this.waiting.abort();
    this.setPeaks(new Float32Array(0));
  }

  /** Show the outline of a song once it has been read; none if it cannot be, or is too long. */
  async load(song, seconds) {
    this.clear();
    if (!(seconds <= MAX_SECONDS)) return;
    const turn = this.turn;
    const { signal } = (this.waiting = new AbortController());
    await new Promise((resolve) => setTimeout(resolve, SKIP_MS));
    this.decoding = this.decoding.then(async () => {
      if (turn !== this.turn) return;
      const peaks = await this.read(song, signal).catch(() => null); // the song plays without it
      if (peaks && turn === this.turn) this.setPeaks(peaks);
    });
    await this.decoding;
  }

  setPeaks(peaks) {
    this.peaks = peaks;
    this.canvas.parentElement?.classList.toggle("outlined", this.isShown);
    this.draw();
  }

  /** Show how much was played. @param {number} fraction */
  setPlayed(fraction) {
    this.played = fraction;
    this.draw();
  }

  draw() {
    const { canvas, peaks } = this;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(ratio, ratio);
    const bars = peaks.length ? Math.floor(width / STEP) : 0;
    const [played, rest] = [cssVariable("--accent"), cssVariable("--unplayed")];
    for (let bar = 0; bar < bars; bar++) {
      const [from, to] = [bar, bar + 1].map((at) => Math.floor((at * peaks.length) / bars));
      const high = Math.max(2, Math.max(...peaks.subarray(from, Math.max(to, from + 1))) * height);
      context.fillStyle = (bar + 0.5) / bars < this.played ? played : rest;
      context.fillRect(bar * STEP, (height - high) / 2, STEP - 1, high);
    }
  }
}
