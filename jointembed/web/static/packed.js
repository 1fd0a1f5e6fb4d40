// @ts-check
// The positions and columns of all items, as arrays (see web/packed.py).

const MISSING_STEP = 65535;
const STEPS = 65534;
const NO_INT = -(2 ** 31);

/** Whether a cell holds nothing. */
export const isMissing = (value) => value === null || value !== value;

/**
 * The points (N, 3) in [-1, 1] of quantized ones, (N, 2) or (N, 3); x is NaN if a point is not on the map.
 * @param {Uint16Array} steps
 * @param {number} count
 */
export function dequantize(steps, count) {
  const dims = steps.length / count;
  const points = new Float32Array(count * 3);
  for (let point = 0; point < count; point++) {
    const isMissing = steps[point * dims] === MISSING_STEP;
    for (let axis = 0; axis < dims; axis++)
      points[point * 3 + axis] = isMissing ? NaN : (steps[point * dims + axis] / STEPS) * 2 - 1;
  }
  return points;
}

/**
 * A column with arrays for its numbers, NaN where there is none, and for the codes of its categories, -1 for none; a
 * category with several values for an item has a list of codes or lists of codes.
 * @param {any} column as JSON
 */
export function typeColumn(column) {
  if (column.kind === "number") return { ...column, values: Float64Array.from(column.values, (value) => value ?? NaN) };
  if (column.kind !== "category" || column.codes.some(Array.isArray)) return column;
  return { ...column, codes: Int8Array.from(column.codes) };
}

/** The same of a packed column. @param {ArrayBuffer} buffer */
export function unpackColumn(buffer) {
  const start = 4 + new DataView(buffer).getUint32(0, true);
  const { type, scale, lists, ...column } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  if (column.kind === "category") column.codes = lists ? unpackLists(buffer, start, lists) : new Int8Array(buffer, start);
  if (column.kind === "number") column.values = unpackNumbers(buffer, start, type, scale);
  return column;
}

function unpackNumbers(buffer, start, type, scale) {
  if (type === "float64") return new Float64Array(buffer, start);
  if (type === "float32") return Float64Array.from(new Float32Array(buffer, start));
  const steps = new Int32Array(buffer, start);
  const values = new Float64Array(steps.length);
  for (let at = 0; at < steps.length; at++) values[at] = steps[at] === NO_INT ? NaN : steps[at] / scale;
  return values;
}

/** For each item its code, or a list of several. */
function unpackLists(buffer, start, count) {
  const offsets = new Uint32Array(buffer, start, count + 1);
  const codes = new Int8Array(buffer, start + 4 * (count + 1));
  return Array.from({ length: count }, (_, at) => {
    const own = [...codes.subarray(offsets[at], offsets[at + 1])];
    return own.length > 1 ? own : (own[0] ?? -1);
  });
}
