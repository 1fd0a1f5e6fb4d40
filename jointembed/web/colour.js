// Colours: Paul Tol's qualitative schemes that the colour-blind can tell apart ("muted" on light, "light" on dark; the
// same place has about the same hue), and "mako", a ramp of even lightness.

const HUES = {
  light: ["#332288", "#cc6677", "#44aa99", "#ddb84d", "#88ccee", "#117733", "#aa4499", "#999933", "#882255"],
  dark: ["#77aadd", "#ee8866", "#44bb99", "#eedd88", "#99ddff", "#bbcc33", "#ffaabb", "#aaaa00", "#dd7799"],
};
const OTHER = { light: "#a9a7a1", dark: "#6d7177" };
const RAMP = ["#0b0405", "#2e1e3b", "#413d7b", "#37659e", "#348fa7", "#40b7ad", "#8bdab2", "#def5e5"].map(channels);
const SPAN = { light: [6, 1], dark: [2.1, 7] }; // low to high: what is much stands out from the paper
const SHAPES = 2; // the ninth category is followed by rings in the same colours

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

const theme = () => document.documentElement.dataset.theme;

/** The colour [r, g, b] and shape (0 disc, 1 ring) of the category at a place; those after the last are one grey. */
function category(place) {
  const hues = HUES[theme()];
  if (place < 0 || place >= hues.length * SHAPES) return { rgb: channels(OTHER[theme()]), ring: 0, other: true };
  return { rgb: channels(hues[place % hues.length]), ring: Math.floor(place / hues.length), other: false };
}

/** The colour of a share in [0, 1] of a range. */
function shade(share) {
  const [low, high] = SPAN[theme()];
  const at = low + (high - low) * Math.min(1, Math.max(0, share));
  const below = Math.min(RAMP.length - 2, Math.floor(at));
  return RAMP[below].map((value, channel) => Math.round(value + (RAMP[below + 1][channel] - value) * (at - below)));
}

const css = (rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
