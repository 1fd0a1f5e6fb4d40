import assert from "node:assert/strict";
import { test } from "node:test";

import { formatQuery, parseQuery } from "../../jointembed/web/static/address.js";
import { numberFormat } from "../../jointembed/web/static/format.js";
import { sortKeys, sortPoints } from "../../jointembed/web/static/sorting.js";

const sorted = (column, isDescending = false) => [...sortPoints([0, 1, 2, 3, 4], sortKeys(column), isDescending)];

test("numbers are sorted both ways, with missing ones last", () => {
  const column = { kind: "number", values: [3, null, -1, 10, 3] };
  assert.deepEqual(sorted(column), [2, 0, 4, 3, 1]);
  assert.deepEqual(sorted(column, true), [3, 0, 4, 2, 1]);
});

test("texts are sorted as people do", () =>
  assert.deepEqual(sorted({ kind: "text", values: ["Song 10", "song 9", "Éclair", null, "zebra"] }), [2, 1, 0, 4, 3]));

test("categories are sorted by their values, and lists by their first one", () => {
  assert.deepEqual(sorted({ kind: "category", values: ["waltz", "polka"], codes: [0, [1, 0], -1, 1, 0] }), [1, 3, 0, 4, 2]);
  assert.deepEqual(sorted({ kind: "category", values: [10, 9], codes: [0, 1, 0, 1, -1] }), [1, 3, 0, 2, 4]);
});

test("numbers of a column have as many decimals each", () => {
  assert.deepEqual([1.5, 2].map(numberFormat("loudness", [1.5, 2, null])), ["1.5000", "2.0000"]);
  assert.deepEqual([90, 61.2].map(numberFormat("full_seconds", [90, 61.2])), ["1:30", "1:01"]);
  assert.equal(numberFormat("year", [1999, 2001])(1999), "1999");
});

test("the table and its order are in the address", () => {
  const query = formatQuery({ kind: "start" }, { field: "", view: "table", sort: { name: "a b", isDescending: true } });
  assert.equal(query, "?view=table&sort=a%20b&order=descending");
  const { view, sort } = parseQuery(query);
  assert.deepEqual({ view, sort }, { view: "table", sort: { name: "a b", isDescending: true } });
  assert.equal(parseQuery("?q=a").view, undefined);
});
