// @ts-check
// The points of a map in levels, each of which is a random sample of them, and within a level by cell: some levels show
// the map in little time, and some cells hold what is in view or near the pointer.

const SIDE = 64; // cells in a row of a 2-D map
const FIRST = 8192; // points of the first level
const GROWTH = 1.5; // from all points up to one level to those up to the next

/** @typedef {[number, number, number, number]} Box left, bottom, right and top on the map */

export class PointGrid {
  /** @param {Float32Array} points (N, 3) in [-1, 1], those with NaN are not on the map @param {number} dims */
  constructor(points, dims) {
    const side = (this.side = dims === 2 ? SIDE : 1);
    const count = points.length / 3;
    const cells = new Uint16Array(count);
    for (let point = 0; point < count; point++)
      cells[point] = this.cellOf(points[point * 3 + 1]) * side + this.cellOf(points[point * 3]);
    const shuffled = shuffle(points);
    this.order = new Uint32Array(shuffled.length);
    /** @type {Uint32Array[]} Of each level the place in `order` where each cell begins, and its end. */
    this.levels = [];
    for (let from = 0, to = FIRST; from < shuffled.length; from = to, to = Math.ceil(to * GROWTH)) {
      to = Math.min(to, shuffled.length);
      const starts = new Uint32Array(side * side + 1).fill(from);
      for (let rank = from; rank < to; rank++) starts[cells[shuffled[rank]] + 1]++;
      for (let cell = 1; cell < starts.length; cell++) starts[cell] += starts[cell - 1] - from;
      const next = starts.slice();
      for (let rank = from; rank < to; rank++) this.order[next[cells[shuffled[rank]]]++] = shuffled[rank];
      this.levels.push(starts);
    }
  }

  /** The row or column of a coordinate. */
  cellOf(value) {
    return Math.max(0, Math.min(this.side - 1, Math.floor(((value + 1) / 2) * this.side)));
  }

  /**
   * The parts [from, to) of `order` with the points of a level that may lie in a box (all of them if null).
   * @param {number} level @param {Box | null} box
   */
  ranges(level, box) {
    const { side, levels } = this;
    const starts = levels[level];
    const [left, bottom, right, top] = (box ?? [-1, -1, 1, 1]).map((value) => this.cellOf(value));
    const ranges = /** @type {[number, number][]} */ ([]);
    for (let row = bottom; row <= top; row++) {
      const [from, to] = [starts[row * side + left], starts[row * side + right + 1]];
      const last = ranges.at(-1);
      if (last && last[1] === from) last[1] = to;
      else if (from < to) ranges.push([from, to]);
    }
    return ranges;
  }

  /** Visit the points that may lie in a box, a random sample first, until a visit returns true. */
  visit(/** @type {Box | null} */ box, /** @type {(point: number) => boolean | void} */ visit) {
    for (let level = 0; level < this.levels.length; level++)
      for (const [from, to] of this.ranges(level, box))
        for (let at = from; at < to; at++) if (visit(this.order[at])) return;
  }
}

/** The points on the map in a random order, the same each time. */
function shuffle(/** @type {Float32Array} */ points) {
  const order = new Uint32Array(points.length / 3);
  let count = 0;
  for (let point = 0; point < order.length; point++) if (points[point * 3] === points[point * 3]) order[count++] = point;
  let seed = 1;
  for (let at = count - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const swap = Math.floor((seed / 4294967296) * (at + 1));
    const point = order[at];
    order[at] = order[swap];
    order[swap] = point;
  }
  return order.subarray(0, count);
}
