import assert from "node:assert/strict";
import { test } from "node:test";

import { computePeaks } from "../../jointembed/web/static/peaks.js";
import { Queue, drawNearest } from "../../jointembed/web/static/queue.js";

const song = (id) => ({ id, title: id.toUpperCase(), audio: `audio?id=${id}` });
const ids = (queue) => queue.songs.map(({ id }) => id).join("");

test("songs are added at both ends, moved, removed and taken out in order", () => {
  let changes = 0;
  const queue = new Queue(() => changes++);
  queue.add(song("a"), song("b"));
  queue.addNext(song("c"), song("d"));
  assert.equal(ids(queue), "cdab");
  queue.move(0, 2);
  assert.equal(ids(queue), "dacb");
  queue.move(3, -1);
  assert.equal(ids(queue), "bdac");
  queue.remove(1);
  assert.equal(queue.shift()?.id, "b");
  assert.equal(ids(queue), "ac");
  assert.equal(changes, 6);
  queue.clear();
  assert.equal(queue.shift(), undefined);
});

test("a queue is restored from what it gave, and from nothing else", () => {
  const queue = new Queue(() => {});
  queue.add(song("a"), song("b"));
  queue.remember("x");
  queue.remember("y");
  queue.remember("x");
  const again = new Queue(() => {});
  again.restore(JSON.parse(JSON.stringify(queue)));
  assert.equal(ids(again), "ab");
  assert.deepEqual(again.history, ["y", "x"]);
  assert.ok(again.has("a") && again.has("y") && !again.has("c"));
  again.restore({ songs: [{ id: 1 }, null, song("c")], history: "x" });
  assert.equal(ids(again), "c");
});

test("what follows is drawn from the nearest, each once", () => {
  const list = [..."abcdefgh"];
  const drawn = drawNearest(list, 3, 4, () => 0.999);
  assert.deepEqual(drawn, ["d", "c", "b"]);
  assert.deepEqual(drawNearest(["a"], 3, 4), ["a"]);
  assert.equal(list.length, 8);
});

test("the outline of a sound is the loudest sample of each part over all channels", () => {
  const channels = [Float32Array.of(0, 0.1, 0.2, -0.5), Float32Array.of(0.25, 0, 0, 0)];
  assert.deepEqual([...computePeaks(channels, 2)], [0.5, 1]);
  assert.deepEqual([...computePeaks([new Float32Array(4)], 2)], [0, 0]);
});
