// @ts-check
// The outline of a sound.

/**
 * The loudest sample of each of `size` parts of a sound, in [0, 1], where 1 is the loudest of all.
 * @param {Float32Array[]} channels
 * @param {number} size
 */
export function computePeaks(channels, size) {
  const peaks = new Float32Array(size);
  for (const samples of channels) {
    for (let part = 0; part < size; part++) {
      const [start, end] = [part, part + 1].map((each) => Math.floor((each * samples.length) / size));
      for (let at = start; at < end; at++) peaks[part] = Math.max(peaks[part], Math.abs(samples[at]));
    }
  }
  const most = Math.max(...peaks);
  return most ? peaks.map((peak) => peak / most) : peaks;
}
