// @ts-check
// Elements built without markup, and the few browser settings that the page reads.

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * An element. Properties named `on...` are listeners, the others attributes; null and undefined are left out.
 * Children that are strings stay text.
 * @param {string} tag
 * @param {Record<string, any>} props
 * @param {...any} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, onclick, props = {}) {
  return el(
    "button",
    { class: "tool", type: "button", "aria-label": label, title: label, onclick, ...props },
    icon(name),
  );
}

const COVER_MS = 120; // for which an item stays in view before its picture is asked for

/** Ask for the pictures of the items that stay in view, and for none that has left it. */
const observeCover = (() => {
  const timers = new WeakMap();
  let observer = /** @type {IntersectionObserver | null} */ (null);
  const follow = (entries) => {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(timers.get(target));
      if (isIntersecting) timers.set(target, setTimeout(() => (target.src = target.dataset.src), COVER_MS));
      else if (!target.complete) target.removeAttribute("src");
    }
  };
  return (image) => (observer ??= new IntersectionObserver(follow)).observe(image);
})();

/**
 * The picture of an item, which takes no room of its own: it is laid over other marks once it is there. Its parent is
 * `covered` then.
 * @param {string | null} url
 */
export function coverImage(url) {
  if (!url) return null;
  const onload = (event) => event.target.parentElement?.classList.add("covered");
  const onerror = (event) => event.target.remove();
  const image = el("img", { class: "cover", "data-src": url, alt: "", decoding: "async", onload, onerror });
  observeCover(image);
  return image;
}

export const option = (value, text) => el("option", { value }, text);

/** Settings of this session; a page opened from disk may have no storage. */
export const memory = {
  /** @type {Record<string, string>} */
  values: {},
  get(name) {
    try {
      return sessionStorage.getItem(name) ?? this.values[name];
    } catch {
      return this.values[name];
    }
  },
  set(name, value) {
    this.values[name] = value;
    try {
      sessionStorage.setItem(name, value);
    } catch {
      // The setting lasts as long as the page.
    }
  },
};

const media = (query) =>
  typeof matchMedia === "undefined" ? /** @type {any} */ ({ matches: false }) : matchMedia(query);
export const reducedMotion = media("(prefers-reduced-motion: reduce)");
export const isNarrow = media("(max-width: 760px)");
export const prefersDark = media("(prefers-color-scheme: dark)");

export const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Announce text to screen readers. */
export const announce = (text) => (byId("status").textContent = text);

/** Call `run` once no call has come for `wait` milliseconds. */
export function debounce(wait, run) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = /** @type {any} */ (setTimeout(() => run(...values), wait));
  };
}
