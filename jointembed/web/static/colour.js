// @ts-check
// Colours that colour-blind people can distinguish: Paul Tol's qualitative schemes ("muted" on light, "light" on dark;
// an index has about the same hue in both), and "mako", a ramp of even lightness.

const HUES = {
  light: ["#332288", "#cc6677", "#44aa99", "#ddb84d", "#88ccee", "#117733", "#aa4499", "#999933", "#882255"],
  dark: ["#77aadd", "#ee8866", "#44bb99", "#eedd88", "#99ddff", "#bbcc33", "#ffaabb", "#aaaa00", "#dd7799"],
};
export const GREY = { light: "#a9a7a1", dark: "#6d7177" };
const RAMP = ["#0b0405", "#2e1e3b", "#413d7b", "#37659e", "#348fa7", "#40b7ad", "#8bdab2", "#def5e5"].map(channels);
const RAMP_RANGE = { light: [6, 1], dark: [2.1, 7] }; // from low to high: high values contrast with the background
const SHAPES = 2; // after the last hue, rings repeat the colours

/** "#rrggbb" as [r, g, b]. */
export function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** @returns {"light" | "dark"} */
export const theme = () => /** @type {any} */ (document.documentElement.dataset.theme);

/** The colour [r, g, b] of a category, and whether it is drawn as a ring; categories beyond the last are grey. */
export function categoryColour(code) {
  const hues = HUES[theme()];
  if (code < 0 || code >= hues.length * SHAPES) return { rgb: channels(GREY[theme()]), isRing: false };
  return { rgb: channels(hues[code % hues.length]), isRing: code >= hues.length };
}

/** The colour of a fraction in [0, 1] of a range. */
export function rampColour(fraction) {
  const [low, high] = RAMP_RANGE[theme()];
  const at = low + (high - low) * Math.min(1, Math.max(0, fraction));
  const below = Math.min(RAMP.length - 2, Math.floor(at));
  return RAMP[below].map((value, channel) => Math.round(value + (RAMP[below + 1][channel] - value) * (at - below)));
}

export const css = (rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;
