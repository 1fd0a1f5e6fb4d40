import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { EmbeddedSource, ServerSource, VersionError, numeric, valuesOf } from "../../jointembed/web/static/api.js";

const base64 = (array) => Buffer.from(array.buffer).toString("base64");
const packed = (header) => {
  const text = JSON.stringify(header).padEnd(60);
  return Uint8Array.of(60, 0, 0, 0, ...new TextEncoder().encode(text)).buffer;
};
const ALL = { k: 10, accept: () => true };

beforeEach(() => {
  const blocks = {
    info: JSON.stringify({
      count: 3,
      k: 2,
      scores: [0, 1],
      title: "title",
      columns: [
        { name: "title", kind: "text" },
        { name: "genre", kind: "category" },
      ],
    }),
    "layout pca2": base64(new Uint16Array([0, 65534, 32767, 32767, 65535, 65535])),
    "column 0": JSON.stringify({ kind: "text", values: ["Für Elise", "Waltz in A", null] }),
    "column 1": JSON.stringify({ kind: "category", values: ["waltz", "élégie"], codes: [1, 0, [0, 1]] }),
    "column id": JSON.stringify({ kind: "text", values: ["a", "b", "c"] }),
    neighbors: base64(new Uint32Array([1, 2, 2, 0, 0, 1])),
    scores: base64(new Uint16Array([65535, 0, 65535, 0, 65535, 0])),
    terms: JSON.stringify({ values: ["slow", "fast"], near: [[0], [1], [0, 1]] }),
  };
  globalThis.document = {
    readyState: "complete",
    querySelector(selector) {
      const name = selector.match(/data-name="(.*)"/)[1];
      return name in blocks ? { textContent: blocks[name], remove: () => delete blocks[name] } : null;
    },
  };
});

test("embedded search ignores accents and ranks titles first", async () => {
  const { hits, total } = await new EmbeddedSource().search("waltz", ALL);
  assert.deepEqual(
    hits.map((hit) => hit.id),
    ["b", "c"],
  );
  assert.equal(total, 2);
});

test("embedded search combines words, filters and k", async () => {
  const source = new EmbeddedSource();
  assert.deepEqual(
    (await source.search("fur ELEGIE", ALL)).hits.map((hit) => hit.id),
    ["a"],
  );
  const accept = (point) => point !== 0;
  assert.deepEqual(
    (await source.search("elegie", { k: 10, accept })).hits.map((hit) => hit.id),
    ["c"],
  );
  const { hits, total } = await source.search("l", { k: 1, accept: () => true });
  assert.deepEqual([hits.length, total], [1, 3]);
});

test("embedded neighbors and rows are found by id", async () => {
  const source = new EmbeddedSource();
  const { hits } = await source.similar(["b"], [], ALL);
  assert.deepEqual(
    hits.map(({ id, rank, score }) => [id, rank, score]),
    [
      ["c", 1, 1],
      ["a", 2, 0],
    ],
  );
  assert.deepEqual((await source.row("c")).row, { id: "c", genre: ["waltz", "élégie"] });
  assert.deepEqual((await source.row("c")).terms, ["slow", "fast"]);
  await assert.rejects(source.row("unknown"), /no item unknown/);
});

test("embedded layout has the missing points as NaN", async () => {
  const points = await new EmbeddedSource().layout("pca2");
  assert.deepEqual([...points], [-1, 1, 0, 0, 0, 0, NaN, NaN, 0]);
});

test("numeric takes numbers and integer categories", () => {
  assert.deepEqual([...numeric({ kind: "number", values: Float64Array.of(1, NaN) })], [1, NaN]);
  assert.deepEqual([...numeric({ kind: "category", values: [7, 9], codes: [1, -1, [0, 1]] })], [9, NaN, NaN]);
  assert.deepEqual(valuesOf({ kind: "number", values: Float64Array.of(1, NaN) }, 1), []);
  assert.deepEqual(valuesOf({ kind: "category", values: ["a", "b"], codes: [[0, 1], -1] }, 0), ["a", "b"]);
});

test("server addresses are relative and a column of another version is an error", async () => {
  const addresses = [];
  globalThis.fetch = async (address) => {
    addresses.push(address);
    return { ok: true, arrayBuffer: async () => packed({ kind: "text", version: "2", values: [] }) };
  };
  const source = new ServerSource("tags", "1");
  await assert.rejects(source.column("genre"), VersionError);
  assert.deepEqual(addresses, ["api/column?name=genre&format=packed&field=tags"]);
  assert.deepEqual((await source.at("tags", "2").column("genre")).values, []);
});
