// @ts-check
// Names on the map: of the categories of a column, in more and smaller parts of the map the more it is enlarged, and of
// single items once few of them are in view.

import { plainText } from "./format.js";

const MAX_LEVEL = 7; // of the parts of the map
const MIN_MEMBERS = 3; // of a category within a part of the map
const MAX_SAMPLE = 2000; // members of a category whose median is its place
const SKIPPED = 7; // of those beyond, one of so many takes the place of another
const MAX_LABEL_CHARS = 26;
const SAME_NAME = 240; // pixels between two labels with the same text
const LABEL_MARGIN = 4; // pixels around a label

/** @typedef {{text: string, at: number[], weight: number}} Label its place on the map, and how many items it names */

/** How far the parts of the map are divided that have names of their own: 0 for all of it. @param {number} zoom */
export const levelOf = (zoom) => Math.max(0, Math.min(MAX_LEVEL, Math.floor(Math.log2(zoom))));

/**
 * The names of categories, each at the median of its items, in each of 4 ** level parts of the map; the most frequent
 * ones first.
 * @param {ArrayLike<number>} points (N, 3) in [-1, 1]
 * @param {(point: number) => boolean} isVisible
 * @param {{values: any[], codes: ArrayLike<number | number[]>}} column
 * @param {number} level
 * @param {(code: number) => boolean} isNamed
 * @returns {Label[]}
 */
export function categoryLabels(points, isVisible, { values, codes }, level, isNamed) {
  const parts = 2 ** level;
  const partOf = (value) => Math.max(0, Math.min(parts - 1, Math.floor(((value + 1) / 2) * parts)));
  const named = values.map((_, code) => isNamed(code));
  const groups = new Map();
  const add = (point, code) => {
    if (code < 0 || !named[code]) return;
    const key = (partOf(points[point * 3]) * parts + partOf(points[point * 3 + 1])) * values.length + code;
    const group = groups.get(key);
    if (!group) groups.set(key, { members: [point], count: 1 });
    // A random sample of the members is enough for their median.
    else if (group.count++ < MAX_SAMPLE) group.members.push(point);
    else if (group.count % SKIPPED === 0) group.members[(group.count / SKIPPED) % MAX_SAMPLE] = point;
  };
  for (let point = 0; point < codes.length; point++) {
    if (!isVisible(point)) continue;
    const own = codes[point];
    if (Array.isArray(own)) for (const code of own) add(point, code);
    else add(point, own);
  }
  const median = (members, axis) =>
    Float32Array.from(members, (point) => points[point * 3 + axis]).sort()[members.length >> 1];
  return [...groups]
    .filter(([, { count }]) => !level || count >= MIN_MEMBERS)
    .map(([key, { members, count }]) => ({
      text: shorten(plainText(values[key % values.length])),
      at: [0, 1, 2].map((axis) => median(members, axis)),
      weight: count,
    }))
    .sort((a, b) => b.weight - a.weight);
}

/** @param {string} text */
export function shorten(text, most = MAX_LABEL_CHARS) {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}

/**
 * Places for as many labels as there is room for, the first ones first, such that none overlap.
 * @template {{text: string, x: number, y: number, width: number, shifts: number[]}} L its middle, and how far it may be
 *   moved down
 * @param {L[]} labels
 * @param {{left: number, right: number, top: number, bottom: number}} bounds
 * @param {number} height of each
 * @returns {L[]} those that are shown, at their places
 */
export function placeLabels(labels, bounds, height) {
  const placed = /** @type {L[]} */ ([]);
  for (const label of labels) {
    const { text, x, width, shifts } = label;
    if (x < bounds.left || x > bounds.right || label.y < bounds.top || label.y > bounds.bottom) continue;
    const half = width / 2 + LABEL_MARGIN;
    const middle = Math.max(bounds.left + half, Math.min(bounds.right - half, x));
    const isFree = (/** @type {number} */ y) =>
      placed.every(
        (each) =>
          (Math.abs(each.x - middle) >= half + each.width / 2 + LABEL_MARGIN || Math.abs(each.y - y) >= height) &&
          (each.text !== text || Math.hypot(each.x - middle, each.y - y) >= SAME_NAME),
      );
    const y = shifts.map((shift) => label.y + shift).find(isFree);
    if (y !== undefined) placed.push({ ...label, x: middle, y });
  }
  return placed;
}
