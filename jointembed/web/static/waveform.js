// @ts-check
// The outline of the playing sound behind its seek bar. Long or large sounds have none, as decoding takes memory: about
// 350 kB a second of stereo.

import { cssVariable } from "./dom.js";

const MAX_SECONDS = 600;
const MAX_BYTES = 64e6;
const SAMPLE_RATE = 8000; // of the outline, in which no one can see more
const PEAKS = 600;
const STEP = 3; // pixels from one bar to the next
const SKIP_MS = 250; // milliseconds, for which a song is skipped without being decoded

export class Waveform {
  /** @param {HTMLCanvasElement} canvas @param {boolean} canFetch whether the page may read the sounds themselves */
  constructor(canvas, canFetch) {
    this.canvas = canvas;
    this.canFetch = canFetch;
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

  /** Show the outline of a sound once it has been decoded; none if it cannot be, or is too long. */
  async load(url, seconds) {
    this.clear();
    if (!this.canFetch || !(seconds <= MAX_SECONDS)) return;
    const turn = this.turn;
    const { signal } = (this.waiting = new AbortController());
    await new Promise((resolve) => setTimeout(resolve, SKIP_MS));
    this.decoding = this.decoding.then(async () => {
      if (turn !== this.turn) return;
      const peaks = await readPeaks(url, signal).catch(() => null); // the song plays without it
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

/** The outline of a sound, or null if it is too large. */
async function readPeaks(url, signal) {
  const answer = await fetch(url.replace(/#.*/, ""), { signal });
  const size = Number(answer.headers.get("content-length"));
  if (!answer.ok || !size || size > MAX_BYTES) {
    await answer.body?.cancel();
    return null;
  }
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
  const sound = await context.decodeAudioData(await answer.arrayBuffer());
  signal.throwIfAborted();
  return computeInWorker(Array.from({ length: sound.numberOfChannels }, (_, at) => sound.getChannelData(at).slice()));
}

/** @param {Float32Array[]} channels @returns {Promise<Float32Array>} */
function computeInWorker(channels) {
  const worker = new Worker("peaks_worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = () => reject(new Error("The outline could not be computed."));
    const buffers = channels.map(({ buffer }) => buffer);
    worker.postMessage({ channels, size: PEAKS }, buffers);
  }).finally(() => worker.terminate());
}
