import assert from "node:assert/strict";
import { test } from "node:test";

import { formatQuery, parseQuery } from "../../jointembed/web/static/address.js";
import { Filters } from "../../jointembed/web/static/filters.js";
import { formatWhere, parseWhere } from "../../jointembed/web/static/where.js";

const FILTERS = [
  { name: "genre", values: ["hip & hop's", "a, b) and c", "", 3, true] },
  { name: "tempo", range: [-1.5, 1e21] },
];

test("where is written in the grammar of the server", () =>
  assert.equal(
    formatWhere(FILTERS),
    `"genre" in ('hip & hop''s', 'a, b) and c', '', 3, true) and "tempo" >= -1.5 and "tempo" <= 1e+21`,
  ));

test("where is parsed back", () => {
  assert.deepEqual(parseWhere(formatWhere(FILTERS)), FILTERS);
  assert.deepEqual(parseWhere(""), []);
});

test("other conditions are not parsed", () => {
  for (const text of ["tempo > 3", `"a" in ('b') or "c" in (1)`, `"a" >= 1 and "b" <= 2`, `"a" in (x)`])
    assert.equal(parseWhere(text), null, text);
});

const COLUMNS = {
  genre: { kind: "category", values: ["waltz", "reel"], codes: [0, 1, [0, 1], -1] },
  tempo: { kind: "number", values: [60, 120, null, 90] },
};
const source = { isLive: true, field: "", column: async (name) => COLUMNS[name] };
const info = { title: "title", columns: Object.entries(COLUMNS).map(([name, { kind }]) => ({ name, kind, size: 2 })) };

async function restored(where, options) {
  const filters = new Filters({ replaceChildren() {} }, info, source, () => {});
  await filters.restore(where, options);
  return filters;
}

test("filters restore a condition of their own and accept the points that meet it", async () => {
  const where = `"genre" in ('reel') and "tempo" >= 100 and "tempo" <= 130`;
  const filters = await restored(where, { one_per: "genre", diversity: 0.5 });
  assert.equal(filters.where(), where);
  assert.deepEqual(
    [0, 1, 2, 3].map((point) => filters.accepts(point)),
    [false, true, false, false],
  );
  assert.deepEqual(filters.options, { one_per: "genre", diversity: 0.5 });
});

test("filters keep a condition that they cannot show", async () => {
  for (const where of ["not (tempo < 3)", `"genre" in ('unknown')`, `"nothing" in (1)`]) {
    const filters = await restored(where);
    assert.equal(filters.where(), where);
    assert.equal(filters.count, 1);
  }
});

test("questions survive the URL", () => {
  const scope = {
    field: "tags",
    where: `"a" in ('b&c=d')`,
    options: { one_per: "artist", diversity: 0.5, deduplicate: true },
  };
  for (const question of [
    { kind: "start" },
    { kind: "similar", plus: ["caf\udce9/é 🎵", "a+b"], minus: ["c%20"] },
    { kind: "search", words: "slow & sad?" },
    { kind: "path", start: "a", end: "b" },
  ])
    assert.deepEqual(parseQuery(formatQuery(question, scope)), { question, ...scope });
  assert.equal(formatQuery({ kind: "start" }, {}), "");
});

test("the map, its colours and a selected region survive the URL", () => {
  const scope = { field: "", where: "", options: {} };
  const question = { kind: "selection", region: [[-0.5, 0.25], [1, 0], [0.125, -1]] }; // prettier-ignore
  for (const view of [{ map: "umap2", colour: "a&b" }, { map: ["tempo, bpm", "year"], colour: "" }, {}]) {
    assert.deepEqual(parseQuery(formatQuery(question, { ...scope, ...view })), { question, ...scope, ...view });
  }
  for (const region of ["1,2,3,4", "1,2,3,4,5,6,7", "1,2,x,4,5,6", ""])
    assert.equal(parseQuery(`?region=${region}`).question.kind, "start");
});
