// @ts-check
// Pointers, wheel and keys on the map.

import { PICK_RADIUS, clamp } from "./chart.js";

const TOUCH_RADIUS = 24; // pixels
const DRAG_DISTANCE = 4; // pixels, after which a press is a drag

/**
 * Let pointers, wheel and keys move a chart. It emits `hover`, `pick`, `move` after a key, and `outline` and `select`
 * with the corners of a region while and after it is drawn.
 */
export function attachPointer(chart) {
  const { canvas } = chart;
  const pressed = new Map();
  let travelled = 0;
  let line = /** @type {number[][] | null} */ (null); // of the region that is being drawn
  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!pressed.size) travelled = 0;
    const draws = chart.dims === 2 && (chart.isSelecting || event.shiftKey) && event.button === 0;
    line = draws && !pressed.size ? [] : null; // a second finger pinches
    if (!line) chart.emit("outline", []);
    pressed.set(event.pointerId, position(event));
    chart.emit("hover", null);
  });
  canvas.addEventListener("pointermove", (event) => {
    const point = position(event);
    const last = pressed.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== "touch") chart.emit("hover", chart.nearest(point.x, point.y), point);
      return;
    }
    const [right, down] = [point.x - last.x, point.y - last.y];
    travelled += Math.hypot(right, down);
    if (pressed.size === 2) {
      const [second] = [...pressed].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
      const before = Math.hypot(last.x - second.x, last.y - second.y);
      const after = Math.hypot(point.x - second.x, point.y - second.y);
      if (before > 0) chart.zoom(after / before, (point.x + second.x) / 2, (point.y + second.y) / 2);
      chart.pan(right / 2, down / 2);
    } else if (line) {
      line.push(chart.placeOf(point.x, point.y));
      chart.emit("outline", line);
    } else if (travelled > DRAG_DISTANCE) {
      canvas.classList.add("held");
      if (chart.dims === 3 && !event.shiftKey && event.buttons !== 2) chart.rotate(right, down);
      else chart.pan(right, down);
    }
    pressed.set(event.pointerId, point);
  });
  const release = (event) => {
    const point = pressed.get(event.pointerId);
    pressed.delete(event.pointerId);
    canvas.classList.remove("held");
    if (line && !pressed.size) {
      chart.emit("outline", []);
      if (event.type === "pointerup" && travelled > DRAG_DISTANCE && line.length > 2) chart.emit("select", line);
      line = null;
    }
    if (point && event.type === "pointerup" && travelled <= DRAG_DISTANCE && !pressed.size && event.button === 0) {
      const radius = event.pointerType === "touch" ? TOUCH_RADIUS : PICK_RADIUS;
      chart.emit("pick", chart.nearest(point.x, point.y, radius));
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => chart.emit("hover", null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", (event) => chart.zoom(2, position(event).x, position(event).y));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = position(event);
      const lines = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      chart.zoom(Math.exp(-clamp(lines, 240) * (event.ctrlKey ? 0.01 : 0.0022)), x, y);
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    const shift = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (shift && chart.dims === 3 && !event.shiftKey) chart.rotate(shift[0] / 3, shift[1] / 3);
    else if (shift) chart.pan(shift[0], shift[1]);
    else if (event.key === "+" || event.key === "=") chart.zoom(1.4);
    else if (event.key === "-") chart.zoom(1 / 1.4);
    else if (event.key === "s" && chart.dims === 2) return chart.emit("select", chart.corners());
    else if (event.key === "0" || event.key === "Home") chart.fit();
    else if (event.key === "Enter") {
      const { x, y } = chart.frame();
      chart.emit("pick", chart.nearest(x, y, Infinity));
    } else return;
    event.preventDefault();
    if (event.key !== "Enter") chart.emit("move");
  });
}
