// @ts-check
// Outlines of sounds that a server sends. Large sounds have none, as decoding takes memory: about 350 kB a second of
// stereo.

const MAX_BYTES = 64e6;
const SAMPLE_RATE = 8000; // of the outline, in which no one can see more
const PEAKS = 600;

/** The outline of a sound, or null if it is too large. */
export async function readOutline(url, signal) {
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
