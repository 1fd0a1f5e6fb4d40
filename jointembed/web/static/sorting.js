// @ts-check
// The order of items by a column.

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
  const compare = isNumeric ? (a, b) => a - b : (a, b) => collator.compare(String(a), String(b));
  present.sort((a, b) => compare(values[a], values[b]));
  const ranks = new Float64Array(values.length).fill(NaN);
  let rank = 0;
  present.forEach((at, place) => {
    if (place && compare(values[present[place - 1]], values[at])) rank = place;
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
