// @ts-check
// A region of the map that is drawn by hand, and the points within it.

const MAX_CORNERS = 60;

/** Fewer corners of a line that was drawn by hand: evenly spaced ones. @param {number[][]} line */
export function thin(line) {
  const step = Math.ceil(line.length / MAX_CORNERS);
  return line.filter((_, at) => at % step === 0);
}

/**
 * Whether a place lies within a region, by the number of edges to its right (even-odd rule).
 * @param {number[][]} region its corners [x, y]
 */
export function contains(region, x, y) {
  let isInside = false;
  for (let at = 0, last = region.length - 1; at < region.length; last = at++) {
    const [x1, y1] = region[at];
    const [x2, y2] = region[last];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) isInside = !isInside;
  }
  return isInside;
}

/** The visible points of a 2-D map within a region, ascending. */
export function pointsWithin(region, chart) {
  const [[left, right], [bottom, top]] = [0, 1].map((axis) => {
    const values = region.map((corner) => corner[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const within = /** @type {number[]} */ ([]);
  chart.grid.visit([left, bottom, right, top], (point) => {
    const [x, y] = [chart.points[point * 3], chart.points[point * 3 + 1]];
    const isNear = x >= left && x <= right && y >= bottom && y <= top;
    if (isNear && chart.onMap(point) && contains(region, x, y)) within.push(point);
  });
  return Uint32Array.from(within).sort();
}
