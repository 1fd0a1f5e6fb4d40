import assert from "node:assert/strict";
import { test } from "node:test";

import { PointGrid } from "../../jointembed/web/static/grid.js";

const COUNT = 40_000;

/** Points in a spiral, every tenth of which is not on the map. */
const spiral = Float32Array.from({ length: COUNT * 3 }, (_, at) => {
  const point = Math.floor(at / 3);
  if (point % 10 === 9) return NaN;
  const [angle, radius] = [point * 0.37, point / COUNT];
  return [radius * Math.cos(angle), radius * Math.sin(angle), 0][at % 3];
});
const collect = (grid, box) => {
  const points = [];
  grid.visit(box, (point) => void points.push(point));
  return points;
};

test("a grid holds each point on the map once, in levels that are random samples", () => {
  const grid = new PointGrid(spiral, 2);
  const points = collect(grid, null);
  assert.equal(points.length, COUNT * 0.9);
  assert.deepEqual(points.toSorted((a, b) => a - b), [...Array(COUNT).keys()].filter((point) => point % 10 !== 9));
  const [first, ...others] = grid.levels.map((_, level) => grid.ranges(level, null));
  assert.equal(others.length, 4);
  assert.equal(first.length, 1);
  const sample = grid.order.subarray(...first[0]);
  const mean = sample.reduce((sum, point) => sum + point, 0) / sample.length;
  assert.ok(Math.abs(mean - COUNT / 2) < COUNT / 100, `${mean}`);
});

test("a box has all points in it and few others", () => {
  const box = [0.1, -0.3, 0.15, 0.2];
  const points = new Set(collect(new PointGrid(spiral, 2), box));
  const isInside = (point) => {
    const [x, y] = [spiral[point * 3], spiral[point * 3 + 1]];
    return x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
  };
  const inside = [...Array(COUNT).keys()].filter(isInside);
  assert.ok(inside.length > 100 && inside.every((point) => points.has(point)));
  assert.ok(points.size < 3 * inside.length);
  assert.equal(collect(new PointGrid(spiral, 3), box).length, COUNT * 0.9); // not divided
});

test("a visit ends once it is told to", () => {
  let visits = 0;
  new PointGrid(spiral, 2).visit(null, () => ++visits === 5);
  assert.equal(visits, 5);
  assert.deepEqual(collect(new PointGrid(new Float32Array(0), 2), null), []);
});
