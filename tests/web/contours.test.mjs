import assert from "node:assert/strict";
import { test } from "node:test";

import { formatQuery, parseQuery } from "../../jointembed/web/static/address.js";
import { SHARES, contours } from "../../jointembed/web/static/contours.js";

/** Points whose distances from a place are those of a Gaussian, by their quantiles. */
function blob(count, x, y, sigma) {
  const places = [];
  for (let at = 0; at < count; at++) {
    const radius = sigma * Math.sqrt(-2 * Math.log(1 - (at + 0.5) / count));
    places.push(x + radius * Math.cos(at * 2.4), y + radius * Math.sin(at * 2.4), 0);
  }
  return places;
}

test("each contour surrounds its share of the points", () => {
  const points = Float32Array.from(blob(20_000, 0.2, -0.1, 0.15));
  const all = contours(points, () => true);
  assert.deepEqual(all.map(({ share }) => share), SHARES);
  for (const { share, lines } of all) {
    const distances = Array.from({ length: lines.length / 2 }, (_, at) =>
      Math.hypot(lines[2 * at] - 0.2, lines[2 * at + 1] + 0.1),
    );
    const mean = distances.reduce((sum, each) => sum + each, 0) / distances.length;
    const held = [...Array(20_000).keys()].filter(
      (at) => Math.hypot(points[3 * at] - 0.2, points[3 * at + 1] + 0.1) < mean,
    ).length;
    assert.ok(Math.abs(held / 20_000 - share) < 0.02, `${share}: ${held / 20_000}`);
  }
});

test("lines are closed, also around two groups, and hidden points count for nothing", () => {
  const points = Float32Array.from([...blob(3000, -0.5, 0.5, 0.1), ...blob(3000, 0.5, -0.5, 0.1), NaN, NaN, 0]);
  const isVisible = (point) => points[3 * point] === points[3 * point];
  const [{ lines }] = contours(points, isVisible);
  const ends = new Map();
  for (let at = 0; at < lines.length; at += 2) {
    const key = `${lines[at].toFixed(5)} ${lines[at + 1].toFixed(5)}`;
    ends.set(key, (ends.get(key) ?? 0) + 1);
  }
  assert.ok([...ends.values()].every((count) => count % 2 === 0));
  const isLeft = (point) => isVisible(point) && points[3 * point] < 0;
  assert.ok(contours(points, isLeft).every(({ lines }) => lines.every((value, at) => at % 2 || value < 0)));
  assert.deepEqual(contours(points, () => false), []);
});

test("contours are in the address", () => {
  const query = formatQuery({ kind: "start" }, { contours: true });
  assert.equal(query, "?contours=true");
  assert.equal(parseQuery(query).contours, true);
  assert.equal(parseQuery("").contours, undefined);
});
