// @ts-check
// The order of items by a column.

import { normalize } from "./format.js";

const MAX_COLLATED = 100000; // texts that are sorted as people do; more, which would take seconds, by their letters

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/**
 * A number for each item, by which items are sorted; NaN if it has no value. Lists are sorted by their first value.
 * @returns {Float64Array}
 */
export function sortKeys(column) {
  if (column.kind === "number") return Float64Array.from(column.values, (value) => value ?? NaN);
  const ranks = rankValues(column.values);
  if (column.kind === "text") return ranks;
  return Float64Array.from(column.codes, (code) => ranks[Array.isArray(code) ? code[0] : code] ?? NaN);
}

/** The rank of each value among all, the same for equal ones; NaN for null. */
function rankValues(values) {
  const present = [...values.keys()].filter((at) => values[at] !== null);
  const isNumeric = present.every((at) => typeof values[at] === "number");
  const isLarge = present.length > MAX_COLLATED;
  const keys = isNumeric ? values : values.map((value) => (isLarge ? normalize(String(value)) : String(value)));
  const compare = isNumeric || isLarge ? (a, b) => (a < b ? -1 : Number(a > b)) : collator.compare;
  present.sort((a, b) => compare(keys[a], keys[b]));
  const ranks = new Float64Array(values.length).fill(NaN);
  let rank = 0;
  present.forEach((at, place) => {
    if (place && compare(keys[present[place - 1]], keys[at])) rank = place;
    ranks[at] = rank;
  });
  return ranks;
}

/**
 * Points in the order of their keys. Those without a key come last in both directions; equal ones keep their order.
 * @param {ArrayLike<number>} points @param {Float64Array} keys @param {boolean} isDescending
 */
export function sortPoints(points, keys, isDescending) {
  const sign = isDescending ? -1 : 1;
  return Uint32Array.from(points).sort((a, b) => {
    const [first, second] = [keys[a], keys[b]];
    if (first !== first || second !== second) return Number(first !== first) - Number(second !== second);
    return sign * (first - second);
  });
}
