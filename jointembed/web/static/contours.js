// @ts-check
// Lines of equal density of the points on a 2-D map. The density is that of a histogram smoothed by a Gaussian; each
// line surrounds the densest places that hold a given share of the points (highest density regions, Hyndman 1996).

const BINS = 192; // in a row
const REACH = 1.15; // of the bins beyond the middle of the map, which is 2 wide
const SIGMA = 2.5; // bins
export const SHARES = [0.95, 0.8, 0.6, 0.4, 0.2]; // of the points, from the outermost line to the innermost one

/** @typedef {{share: number, lines: Float32Array}} Contour pieces of lines on the map: x, y, x, y of each */

/**
 * The contours of points, one for each share.
 * @param {ArrayLike<number>} points (N, 3) in [-1, 1]
 * @param {(point: number) => boolean} isVisible
 * @returns {Contour[]}
 */
export function contours(points, isVisible, shares = SHARES) {
  const { counts, total } = bin(points, isVisible);
  if (!total) return [];
  const density = smooth(counts);
  const levels = levelsOf(density, counts, total, shares);
  return shares.map((share, at) => ({ share, lines: trace(density, levels[at]) }));
}

/** How many points are in each bin. */
function bin(points, isVisible) {
  const counts = new Float64Array(BINS * BINS);
  const scale = BINS / (2 * REACH);
  let total = 0;
  for (let point = 0; point < points.length / 3; point++) {
    if (!isVisible(point)) continue;
    const x = Math.floor((points[point * 3] + REACH) * scale);
    const y = Math.floor((points[point * 3 + 1] + REACH) * scale);
    counts[y * BINS + x]++;
    total++;
  }
  return { counts, total };
}

/** The counts smoothed along both axes. */
function smooth(counts) {
  const reach = Math.ceil(3 * SIGMA);
  const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, at) => Math.exp(-((at - reach) ** 2) / (2 * SIGMA ** 2)));
  const sum = kernel.reduce((all, each) => all + each, 0);
  const along = (values, step, across) => {
    const result = new Float64Array(values.length);
    for (let row = 0; row < BINS; row++)
      for (let at = 0; at < BINS; at++) {
        const value = values[row * across + at * step] / sum;
        if (!value) continue;
        for (let shift = Math.max(-reach, -at); shift <= Math.min(reach, BINS - 1 - at); shift++)
          result[row * across + (at + shift) * step] += value * kernel[shift + reach];
      }
    return result;
  };
  return along(along(counts, 1, BINS), BINS, 1);
}

/** The densities above which the densest bins hold the shares of the points. */
function levelsOf(density, counts, total, shares) {
  const bins = Uint32Array.from(density.keys()).filter((at) => counts[at] > 0);
  bins.sort((a, b) => density[b] - density[a]);
  const levels = new Float64Array(shares.length);
  let held = 0;
  for (const at of bins) {
    held += counts[at];
    shares.forEach((share, place) => {
      if (!levels[place] && held >= share * total) levels[place] = density[at];
    });
  }
  return levels;
}

/** The pieces of the line where the density crosses a level, by marching squares. */
function trace(density, level) {
  const lines = /** @type {number[]} */ ([]);
  const place = (at) => ((at + 0.5) / BINS) * 2 * REACH - REACH;
  for (let y = 0; y < BINS - 1; y++)
    for (let x = 0; x < BINS - 1; x++) {
      const at = y * BINS + x;
      const corners = [density[at], density[at + 1], density[at + BINS + 1], density[at + BINS]];
      const above = corners.map((value) => value >= level);
      if (above.every(Boolean) || !above.some(Boolean)) continue;
      // Where the level crosses each side of the square: below, right, above and left.
      const crossing = (side) => {
        const [from, to] = [corners[side], corners[(side + 1) % 4]];
        const share = (level - from) / (to - from);
        const [dx, dy] = [[share, 0], [1, share], [1 - share, 1], [0, 1 - share]][side]; // prettier-ignore
        return [place(x + dx), place(y + dy)];
      };
      const sides = [0, 1, 2, 3].filter((side) => above[side] !== above[(side + 1) % 4]);
      // In a saddle two opposite corners are above: each is cut off by itself.
      if (sides.length === 4 && above[0]) sides.unshift(/** @type {number} */ (sides.pop()));
      for (const side of sides) lines.push(...crossing(side));
    }
  return Float32Array.from(lines);
}
