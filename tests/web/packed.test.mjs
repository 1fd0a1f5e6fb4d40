import assert from "node:assert/strict";
import { test } from "node:test";

import { typeColumn, unpackColumn } from "../../jointembed/web/static/packed.js";

function pack(header, ...arrays) {
  const text = JSON.stringify(header);
  const padded = text.padEnd(text.length + ((-(4 + text.length) % 8) + 8) % 8);
  const parts = [Uint32Array.of(padded.length), new TextEncoder().encode(padded), ...arrays];
  return new Uint8Array(parts.flatMap((part) => [...new Uint8Array(part.buffer, part.byteOffset, part.byteLength)])).buffer;
}

test("packed numbers are exact, and those that are missing NaN", () => {
  const values = (type, array, scale = 1) => [...unpackColumn(pack({ kind: "number", type, scale }, array)).values];
  assert.deepEqual(values("int32", Int32Array.of(1234, -(2 ** 31), -5), 100), [12.34, NaN, -0.05]);
  assert.deepEqual(values("float32", Float32Array.of(0.5, NaN)), [0.5, NaN]);
  assert.deepEqual(values("float64", Float64Array.of(0.1, NaN, 1e300)), [0.1, NaN, 1e300]);
});

test("packed categories have a code, none or several", () => {
  const header = { kind: "category", values: ["a", "b"], type: "int8" };
  const single = unpackColumn(pack(header, Int8Array.of(1, -1, 0)));
  assert.deepEqual([[...single.codes], single.values], [[1, -1, 0], ["a", "b"]]);
  const lists = unpackColumn(pack({ ...header, lists: 3 }, Uint32Array.of(0, 2, 2, 3), Int8Array.of(0, 1, 1)));
  assert.deepEqual(lists.codes, [[0, 1], -1, 1]);
  assert.deepEqual(unpackColumn(pack({ kind: "text", values: ["a", null] })), { kind: "text", values: ["a", null] });
});

test("columns of an exported page become the same arrays", () => {
  assert.deepEqual([...typeColumn({ kind: "number", values: [1.5, null] }).values], [1.5, NaN]);
  assert.ok(typeColumn({ kind: "category", values: ["a"], codes: [0, -1] }).codes instanceof Int8Array);
  assert.deepEqual(typeColumn({ kind: "category", values: ["a", "b"], codes: [[0, 1], -1] }).codes, [[0, 1], -1]);
});
