// How a hand moves the map: pointers, wheel and keys.

/** Let pointers, wheel and keys move a chart; it tells of `hover` and `pick`. */
function hands(chart) {
  const { canvas } = chart;
  const down = new Map();
  let travelled = 0;
  const here = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!down.size) travelled = 0;
    down.set(event.pointerId, here(event));
    chart.tell("hover", null);
  });
  canvas.addEventListener("pointermove", (event) => {
    const point = here(event);
    const last = down.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== "touch") chart.tell("hover", chart.nearest(point.x, point.y), point);
      return;
    }
    const [right, below] = [point.x - last.x, point.y - last.y];
    travelled += Math.hypot(right, below);
    if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
      const before = Math.hypot(last.x - other.x, last.y - other.y);
      const after = Math.hypot(point.x - other.x, point.y - other.y);
      if (before > 0) chart.zoom(after / before, (point.x + other.x) / 2, (point.y + other.y) / 2);
      chart.pan(right / 2, below / 2);
    } else if (travelled > 4) {
      canvas.classList.add("held");
      if (chart.dims === 3 && !event.shiftKey && event.buttons !== 2) chart.turn(right, below);
      else chart.pan(right, below);
    }
    down.set(event.pointerId, point);
  });
  const up = (event) => {
    const point = down.get(event.pointerId);
    down.delete(event.pointerId);
    canvas.classList.remove("held");
    if (point && event.type === "pointerup" && travelled <= 4 && !down.size && event.button === 0) {
      chart.tell("pick", chart.nearest(point.x, point.y, event.pointerType === "touch" ? 24 : NEAR));
    }
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => chart.tell("hover", null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", (event) => chart.zoom(2, here(event).x, here(event).y));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = here(event);
      const lines = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      chart.zoom(Math.exp(-bound(lines, 240) * (event.ctrlKey ? 0.01 : 0.0022)), x, y);
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (move && chart.dims === 3 && !event.shiftKey) chart.turn(move[0] / 3, move[1] / 3);
    else if (move) chart.pan(...move);
    else if (event.key === "+" || event.key === "=") chart.zoom(1.4);
    else if (event.key === "-") chart.zoom(1 / 1.4);
    else if (event.key === "0" || event.key === "Home") chart.fit();
    else if (event.key === "Enter") {
      const { x, y } = chart.frame();
      chart.tell("pick", chart.nearest(x, y, Infinity));
    } else return;
    event.preventDefault();
  });
}
