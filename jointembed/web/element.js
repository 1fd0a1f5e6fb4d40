// Elements made without markup, what a browser may refuse, and values as people read them.

const byId = (id) => document.getElementById(id);

/** An element: `on...` are listeners, `class` and attributes are set, null and undefined left out; text stays text. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function tool(name, label, onclick, props = {}) {
  return el(
    "button",
    { class: "tool", type: "button", "aria-label": label, title: label, onclick, ...props },
    icon(name),
  );
}

/** What is remembered for this session; a page from disk may not be allowed to. */
const memory = {
  held: {},
  get(name) {
    try {
      return sessionStorage.getItem(name) ?? this.held[name];
    } catch {
      return this.held[name];
    }
  },
  set(name, value) {
    this.held[name] = value;
    try {
      sessionStorage.setItem(name, value);
    } catch {
      /* it is forgotten with the page */
    }
  },
};

const still = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 760px)");

/** Text on one line: no control signs, and none that turn the direction of what follows. */
const plain = (text) =>
  String(text)
    .replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, " ")
    .trim();

/** The last part of a path, without its ending. */
const stem = (id) => plain(id.slice(id.lastIndexOf("/") + 1).replace(/\.[a-z0-9]{2,4}$/i, "")) || plain(id);

/** A number with as many digits as tell it from others of a range; years and the like have no separators. */
function figure(value, range = Math.abs(value) / 20) {
  if (Number.isInteger(value) && Math.abs(value) < 10000) return String(value).replace("-", "−");
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(range || 1))));
  return value.toLocaleString("en", { maximumFractionDigits: digits }).replace("-", "−");
}

const several = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Run once the calls have stopped coming. */
function settled(wait, run) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), wait);
  };
}
