import assert from "node:assert/strict";
import { test } from "node:test";

import { PointGrid } from "../../jointembed/web/static/grid.js";
import { contains, pointsWithin, thin } from "../../jointembed/web/static/region.js";

const CRESCENT = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 3], [3, 3], [3, 1], [0, 1]]; // prettier-ignore

test("a region that is bent holds what lies in it and not what it surrounds", () => {
  assert.ok(contains(CRESCENT, 1, 0.5) && contains(CRESCENT, 3.5, 2) && contains(CRESCENT, 1, 3.5));
  assert.ok(!contains(CRESCENT, 1, 2) && !contains(CRESCENT, 5, 2) && !contains(CRESCENT, -1, 0.5));
});

test("points within a region are on the map", () => {
  const points = new Float32Array([1, 0.5, 0, 3.5, 2, 0, 1, 2, 0, NaN, NaN, NaN, 1, 3.5, 0]);
  const places = points.map((value) => value / 4);
  const region = CRESCENT.map((corner) => corner.map((value) => value / 4));
  const chart = { points: places, grid: new PointGrid(places, 2), onMap: (point) => point !== 3 };
  assert.deepEqual([...pointsWithin(region, chart)], [0, 1, 4]);
});

test("a long line is thinned to few corners that keep its course", () => {
  const line = Array.from({ length: 1000 }, (_, at) => [at, -at]);
  const corners = thin(line);
  assert.ok(corners.length <= 60 && corners[0] === line[0] && corners.at(-1)[0] > 970);
  assert.equal(thin(line.slice(0, 5)).length, 5);
});
