import assert from "node:assert/strict";
import { test } from "node:test";

import {
  encodeId,
  formatCell,
  formatCsv,
  formatNumber,
  formatScore,
  normalize,
  plainText,
  stem,
} from "../../jointembed/web/static/format.js";

test("integers below 10,000 have no separators", () => {
  assert.equal(formatNumber(1999), "1999");
  assert.equal(formatNumber(-7), "−7");
});

test("numbers have the digits that distinguish them within the range", () => {
  assert.equal(formatNumber(0.123456, 1), (0.12).toLocaleString());
  assert.equal(formatNumber(0.123456, 0.01), (0.1235).toLocaleString(undefined, { maximumFractionDigits: 4 }));
  assert.equal(formatNumber(1234567.8, 1e6), (1234568).toLocaleString());
  assert.equal(formatNumber(0.5, 0), (0.5).toLocaleString());
});

test("seconds are durations and other numbers are not", () => {
  const shown = [[0], [3.44], [9.96], [59.6], [100.5], [245], [3599.6], [7265]].map((row) => formatCell(row, "seconds"));
  assert.deepEqual(shown, ["0:00", "0:03.4", "0:10", "1:00", "1:41", "4:05", "1:00:00", "2:01:05"]);
  assert.equal(formatCell(245, "tempo"), "245");
});

test("cosine scores have three decimals and other scores three digits", () => {
  assert.equal(formatScore(0.5, "cosine"), (0.5).toLocaleString(undefined, { minimumFractionDigits: 3 }));
  assert.equal(formatScore(-1234.5, "euclidean"), `−${(1230).toLocaleString()}`);
});

test("text is one line without control characters and bidirectional marks", () => {
  assert.equal(plainText("a\nb\u202ec"), "a b c");
  assert.equal(formatCell([1, "x", { a: 1 }, null]), '1, x, {"a":1}, null');
});

test("stem is the last part of a path without its extension", () => {
  assert.equal(stem("a/b/song.mp3"), "song");
  assert.equal(stem("a/.mp3"), "a/.mp3");
});

test("normalize ignores case and accents", () => assert.equal(normalize("Für ÉLISE"), "fur elise"));

test("normalize keeps the signs that tell words apart, and drops points that may be left out", () => {
  assert.notEqual(normalize("दिल"), normalize("दाल"));
  assert.notEqual(normalize("かき"), normalize("がき"));
  assert.equal(normalize("شُكْر"), normalize("شكر"));
  assert.equal(normalize("שָׁלוֹם"), normalize("שלום"));
});

test("ids keep bytes that are not UTF-8", () => assert.equal(encodeId("caf\udce9 #é"), "caf%e9%20%23%C3%A9"));

test("a table quotes what needs it, joins lists and leaves missing cells empty", () => {
  const rows = [{ id: "a,b", title: 'the "best"', tags: ["x", "y"] }, { id: "c", title: "two\nlines", year: 1999 }]; // prettier-ignore
  assert.equal(
    formatCsv(rows, ["id", "title", "tags", "year"]),
    'id,title,tags,year\r\n"a,b","the ""best""",x; y,\r\nc,"two\nlines",,1999\r\n',
  );
});
