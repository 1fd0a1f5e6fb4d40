// @ts-check
// Conditions of filters, as the server reads them (see index/where.py).

/**
 * @typedef {{name: string, range?: [number, number], values?: (string | number | boolean)[]}} Filter
 */

const literal = (value) => (typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value));

/** The condition that rows meet all filters. @param {Filter[]} filters */
export function formatWhere(filters) {
  return filters
    .map(({ name, range, values }) =>
      range
        ? `"${name}" >= ${range[0]} and "${name}" <= ${range[1]}`
        : `"${name}" in (${(values ?? []).map(literal).join(", ")})`,
    )
    .join(" and ");
}

const NUMBER = String.raw`-?\d+(?:\.\d+)?(?:e[+-]?\d+)?`;
const LITERAL = String.raw`(?:'(?:[^']|'')*'|true|false|${NUMBER})`;
const RANGE = new RegExp(String.raw`^"([^"]+)" >= (${NUMBER}) and "([^"]+)" <= (${NUMBER})`);
const VALUES = new RegExp(String.raw`^"([^"]+)" in \((${LITERAL}(?:, ${LITERAL})*)\)`);

/** The filters of a condition that `formatWhere` wrote; null for any other condition. @returns {Filter[] | null} */
export function parseWhere(text) {
  /** @type {Filter[]} */
  const filters = [];
  while (text) {
    const range = text.match(RANGE);
    const values = text.match(VALUES);
    if (range && range[1] === range[3]) filters.push({ name: range[1], range: [Number(range[2]), Number(range[4])] });
    else if (values) {
      const items = values[2].match(new RegExp(LITERAL, "g")) ?? [];
      filters.push({
        name: values[1],
        values: items.map((item) => (item[0] === "'" ? item.slice(1, -1).replaceAll("''", "'") : JSON.parse(item))),
      });
    } else return null;
    text = text.slice((range ?? values)[0].length);
    if (text && !text.startsWith(" and ")) return null;
    text = text.slice(" and ".length);
  }
  return filters;
}
