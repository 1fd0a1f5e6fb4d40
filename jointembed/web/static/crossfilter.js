// @ts-check
// Which items pass the filters of several columns, and how the values of a column are distributed among those that pass
// the filters of the others.

import { isMissing } from "./packed.js";

export class CrossFilter {
  /** @param {number} count of the items */
  constructor(count) {
    this.failures = new Uint16Array(count); // filters that an item does not pass
    this.rejected = new Map(); // column -> Uint8Array, 1 for each item that its filter rejects
    this.nothing = new Uint8Array(count); // what no filter rejects
  }

  /** Set the filter of a column, or remove it by null. @param {((point: number) => boolean) | null} accept */
  set(name, accept) {
    const before = this.rejected.get(name) ?? this.nothing;
    const { failures } = this;
    const now = accept ? new Uint8Array(failures.length) : this.nothing;
    for (let point = 0; point < failures.length; point++) {
      if (accept && !accept(point)) now[point] = 1;
      failures[point] += now[point] - before[point];
    }
    if (accept) this.rejected.set(name, now);
    else this.rejected.delete(name);
  }

  accepts(point) {
    return this.failures[point] === 0;
  }

  /** How many items pass all filters. @param {Uint8Array | null} members 1 for each item that counts; all if null */
  count(members) {
    let count = 0;
    for (let point = 0; point < this.failures.length; point++)
      if (!this.failures[point] && (!members || members[point])) count++;
    return count;
  }

  /**
   * How many items are in each bin of a column.
   * @param {string} name whose own filter does not count
   * @param {Bins} bins
   * @param {Uint8Array | null} members 1 for each item that counts; all if null
   */
  tally(name, { items, codes, size }, members) {
    const counts = new Uint32Array(size);
    const { failures } = this;
    const own = this.rejected.get(name) ?? this.nothing;
    for (let at = 0; at < items.length; at++) {
      const item = items[at];
      if (failures[item] === own[item] && (!members || members[item])) counts[codes[at]]++;
    }
    return counts;
  }
}

/** @typedef {{items: Uint32Array, codes: Uint16Array, size: number}} Bins each item with each of its bins */

/** The bins of a category column: one a value. @returns {Bins} */
export function binCategories({ codes, values }) {
  const size = values.length;
  if (codes instanceof Int8Array && !codes.includes(-1))
    return { items: Uint32Array.from(codes.keys()), codes: Uint16Array.from(codes), size };
  const pairs = { items: /** @type {number[]} */ ([]), codes: /** @type {number[]} */ ([]) };
  const add = (item, code) => {
    if (code < 0) return;
    pairs.items.push(item);
    pairs.codes.push(code);
  };
  codes.forEach((code, item) => (Array.isArray(code) ? code.forEach((each) => add(item, each)) : add(item, code)));
  return { items: Uint32Array.from(pairs.items), codes: Uint16Array.from(pairs.codes), size };
}

/** The bins of numbers: `size` of the same width from `least` to `least + span`. @returns {Bins} */
export function binNumbers(values, least, span, size) {
  const items = Uint32Array.from(values.keys()).filter((item) => !isMissing(values[item]));
  const binOf = (item) => Math.min(size - 1, Math.floor(((values[item] - least) / span) * size));
  return { items, codes: Uint16Array.from(items, binOf), size };
}
