import assert from "node:assert/strict";
import { test } from "node:test";

import { categoryLabels, levelOf, placeLabels, shorten } from "../../jointembed/web/static/labels.js";

const BOUNDS = { left: 0, right: 1000, top: 0, bottom: 1000 };
const label = (text, x, y, width = 100, shifts = [0]) => ({ text, x, y, width, shifts });

test("labels that would overlap are moved or left out, the first ones first", () => {
  const labels = [
    label("a", 200, 200),
    label("b", 250, 205, 100, [0, 25]),
    label("c", 210, 195),
    label("d", 320, 200),
    label("e", 2000, 200),
    label("f", 10, 500),
    label("a", 400, 250),
  ];
  const placed = placeLabels(labels, BOUNDS, 20);
  assert.deepEqual(
    placed.map(({ text, x, y }) => [text, x, y]),
    [
      ["a", 200, 200],
      ["b", 250, 230],
      ["d", 320, 200],
      ["f", 54, 500], // whole, within the bounds
    ],
  );
});

test("an enlarged map names the categories of each of its parts", () => {
  const places = [
    [-0.9, -0.9], [-0.8, -0.8], [-0.7, -0.9], [0.9, 0.9], [0.8, 0.7], [0.7, 0.9], [0.1, -0.1], [NaN, NaN],
  ]; // prettier-ignore
  const points = Float32Array.from(places.flatMap(([x, y]) => [x, y, 0]));
  const column = { values: ["waltz", "reel"], codes: [0, 0, 0, 0, 0, [0, 1], 1, 0] };
  const isVisible = (point) => point < 7;
  const names = (level, isNamed = () => true) =>
    categoryLabels(points, isVisible, column, level, isNamed).map(({ text, weight }) => `${text} ${weight}`);
  assert.deepEqual(names(0), ["waltz 6", "reel 2"]);
  assert.deepEqual(names(1), ["waltz 3", "waltz 3"]);
  assert.deepEqual(names(0, (code) => code === 1), ["reel 2"]);
  const [corner] = categoryLabels(points, isVisible, column, 1, () => true);
  assert.ok(corner.at[0] < -0.69 && corner.at[1] < -0.79);
});

test("each doubling of the zoom divides the map once more", () => {
  assert.deepEqual([0.5, 1, 1.9, 2, 4, 500].map(levelOf), [0, 0, 0, 1, 2, 7]);
  assert.equal(shorten("a".repeat(30)), `${"a".repeat(25)}…`);
});
