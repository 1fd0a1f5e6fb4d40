// @ts-check
// The panel of a narrow screen: a sheet over the map, at three heights.

import { byId, isNarrow, reducedMotion } from "./dom.js";
import { parts } from "./state.js";

const LEGEND_WIDTH = 226; // pixels
const NARROW_STAGE = 540; // pixels, up to which the legend lies below the menus; also in page.css
let wasNarrow = /** @type {boolean | null} */ (null);

/** Tell the chart which part of the map the panel and the legend cover. */
export function updateInset() {
  const covered = isNarrow.matches ? byId("panel").getBoundingClientRect().height : 0;
  byId("stage").style.setProperty("--covered", `${covered}px`);
  byId("stage").style.setProperty("--bar", `${byId("bar").offsetHeight}px`);
  const legend = byId("legend");
  const hasNoRoom = isNarrow.matches || byId("stage").clientWidth <= NARROW_STAGE;
  if (hasNoRoom !== wasNarrow) legend.open = !hasNoRoom;
  wasNarrow = hasNoRoom;
  parts.chart.inset = {
    left: 0,
    right: hasNoRoom || legend.hidden || !legend.open ? 0 : LEGEND_WIDTH,
    top: byId("bar").offsetHeight + (isNarrow.matches ? 60 : 22),
    bottom: Math.min(covered, parts.chart.height * 0.55) + (isNarrow.matches ? 0 : 12),
  };
  parts.chart.draw();
}

/** @param {string} size "peek", "half" or "full" */
function setSheet(size) {
  byId("panel").dataset.sheet = size;
  byId("handle").setAttribute("aria-expanded", size === "full");
  byId("handle").setAttribute("aria-label", size === "full" ? "Shrink the results" : "Enlarge the results");
  setTimeout(updateInset, reducedMotion.matches ? 0 : 260);
}

/** The handle: pressed, it sets the next height; dragged, the nearest. */
export function attachSheetHandle() {
  const handle = byId("handle");
  const panel = byId("panel");
  let start = null;
  let isDrag = false;
  handle.addEventListener("pointerdown", (event) => {
    start = { y: event.clientY, height: panel.getBoundingClientRect().height };
    isDrag = false;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!start) return;
    isDrag ||= Math.abs(event.clientY - start.y) > 5;
    const height = Math.max(96, Math.min(innerHeight - 40, start.height + start.y - event.clientY));
    if (isDrag) panel.style.height = `${height}px`;
  });
  handle.addEventListener("pointerup", () => {
    const fraction = panel.getBoundingClientRect().height / innerHeight;
    start = null;
    if (!isDrag) return;
    panel.style.height = "";
    setSheet(fraction > 0.65 ? "full" : fraction > 0.28 ? "half" : "peek");
  });
  handle.addEventListener("click", () => {
    if (isDrag) isDrag = false;
    else setSheet({ peek: "half", half: "full", full: "peek" }[panel.dataset.sheet]);
  });
}
