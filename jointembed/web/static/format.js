// @ts-check
// Values as people read them. Numbers follow the language of the browser.

const MINUS = "−";

/** Text on one line, without control characters and without marks that change the direction of what follows. */
export const plainText = (text) =>
  String(text)
    .replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, " ")
    .trim();

/** The last part of a path, without its extension. */
export const stem = (id) =>
  plainText(id.slice(id.lastIndexOf("/") + 1).replace(/\.[a-z0-9]{2,4}$/i, "")) || plainText(id);

/**
 * A number with the digits that distinguish it within a range. Integers below 10,000, such as years, have no separators.
 * @param {number} value
 * @param {number} [range]
 */
export function formatNumber(value, range = Math.abs(value) / 20) {
  if (Number.isInteger(value) && Math.abs(value) < 10000) return String(value).replace("-", MINUS);
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(range || 1))));
  return value.toLocaleString(undefined, { maximumFractionDigits: digits }).replace("-", MINUS);
}

/** A duration as m:ss or h:mm:ss; below 10 seconds with its tenths. @param {number} seconds */
export function formatDuration(seconds) {
  const tenths = Math.round(10 * seconds) / 10;
  if (tenths < 0) return formatNumber(seconds);
  if (tenths < 10) return `0:0${tenths}`;
  const [minutes, rest] = [Math.floor(Math.round(seconds) / 60), Math.round(seconds) % 60];
  const pad = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${pad(rest)}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(rest)}`;
}

/** Whether the numbers of a column are durations: those of `seconds`, `full_seconds` and the like. */
export const isDuration = (name) => /(^|_)seconds$/.test(name);

/**
 * A number of a column.
 * @param {string} name
 * @param {number} value
 * @param {number} [range]
 */
export const formatQuantity = (name, value, range) =>
  isDuration(name) ? formatDuration(value) : formatNumber(value, range);

/**
 * A function that formats all numbers of a column alike, with as many decimals each.
 * @param {string} name
 * @param {Iterable<number | null>} values
 */
export function numberFormat(name, values) {
  if (isDuration(name)) return formatDuration;
  let [least, most, isInteger] = [Infinity, -Infinity, true];
  for (const value of values) {
    if (value === null || value !== value) continue;
    [least, most] = [Math.min(least, value), Math.max(most, value)];
    isInteger &&= Number.isInteger(value);
  }
  if (isInteger) return (/** @type {number} */ value) => formatNumber(value);
  const digits = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(most - least || 1))));
  const format = new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (/** @type {number} */ value) => format.format(value).replace("-", MINUS);
}

/** A score: three decimals if the metric is cosine, else three significant digits. */
export function formatScore(score, metric) {
  const digits =
    metric === "cosine" ? { minimumFractionDigits: 3, maximumFractionDigits: 3 } : { maximumSignificantDigits: 3 };
  return score.toLocaleString(undefined, digits).replace("-", MINUS);
}

/** @param {number} count */
export const formatCount = (count) => count.toLocaleString();

/** @param {number} count @param {string} noun */
export const plural = (count, noun, nouns = `${noun}s`) => `${formatCount(count)} ${count === 1 ? noun : nouns}`;

/** A cell on one line, of a column that may be given. */
export function formatCell(value, name = "") {
  if (Array.isArray(value)) return value.map((part) => formatCell(part, name)).join(", ");
  if (typeof value === "number") return formatQuantity(name, value);
  return plainText(value !== null && typeof value === "object" ? JSON.stringify(value) : value);
}

// Accents, and points of Hebrew, Arabic and Syriac. Other marks, such as the vowel signs of Hindi, tell words apart.
const ACCENTS = new RegExp(
  "[\\u200c\\u200d\\u0300-\\u036f\\u0483-\\u0489\\u0591-\\u05bd\\u05bf\\u05c1\\u05c2\\u05c4\\u05c5\\u05c7\\u0610-\\u061a\\u064b-\\u065f" +
    "\\u0670\\u06d6-\\u06dc\\u06df-\\u06e4\\u06e7\\u06e8\\u06ea-\\u06ed\\u0711\\u0730-\\u074a\\u08d3-\\u08e1\\u08e3-\\u08ff" +
    "\\u1ab0-\\u1aff\\u1dc0-\\u1dff\\u20d0-\\u20ff\\ufe00-\\ufe0f\\ufe20-\\ufe2f]",
  "g",
);

/** Text in lower case and without accents, to be compared. */
export const normalize = (text) => {
  const lower = text.toLowerCase();
  return /[^\x00-\x7f]/.test(lower) ? lower.normalize("NFKD").replace(ACCENTS, "") : lower;
};

/** An id for a URL. Bytes of a file name that are not UTF-8 arrive as lone surrogates. */
export const encodeId = (id) => {
  let text = "";
  for (const character of id) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) text += `%${(code - 0xdc00).toString(16)}`;
    else text += code >= 0xd800 && code <= 0xdfff ? "%EF%BF%BD" : encodeURIComponent(character);
  }
  return text;
};

/** A table as RFC 4180 says; the values of a list are joined by semicolons. */
export function formatCsv(rows, names) {
  const cell = (value) => {
    const text = [value ?? ""].flat().join("; ");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows.map((row) => names.map((name) => row[name]))]
    .map((cells) => `${cells.map(cell).join(",")}\r\n`)
    .join("");
}
