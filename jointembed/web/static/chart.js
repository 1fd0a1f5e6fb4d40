// @ts-check
// The map: its points, a view in two or three dimensions, and the point under the pointer.

import { reducedMotion } from "./dom.js";
import { DISC, HIDDEN, Renderer } from "./renderer.js";

export const PICK_RADIUS = 14; // pixels around the pointer
const TRANSITION_MS = 700; // from one map to another
const CAMERA_DISTANCE = 2.6; // from the camera to the middle of a 3-D map
const REST_MS = 120; // after the last movement
const FIRST_RADIUS = 32; // pixels, within which the nearest point is looked for at first

export class Chart {
  constructor(canvas) {
    this.canvas = canvas;
    this.listeners = {};
    this.points = new Float32Array(0);
    this.count = 0;
    this.dims = 2;
    this.scales = null;
    this.inset = { left: 0, right: 0, top: 0, bottom: 0 };
    this.view = { x: 0, y: 0, zoom: 1, yaw: 0.6, pitch: 0.35 };
    this.extent = { x: 1, y: 1 };
    this.opacity = 1;
    this.isSelecting = false; // a drag draws a region, and does not move a 2-D map
    this.paper = [1, 1, 1]; // the background [r, g, b], each in [0, 1]
    this.matrix = new Float32Array(16);
    this.started = -Infinity;
    this.isChanged = true; // since the last frame: the points look different
    this.movedAt = -Infinity; // the time of the last movement
    this.renderer = new Renderer(canvas);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.renderer.alive = this.renderer.open();
      this.renderer.clear();
      this.renderer.setPoints(this.points, this.dims, null);
      this.updateStyles();
    });
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  get alive() {
    return this.renderer.alive;
  }

  /** The points by place. */
  get grid() {
    return this.renderer.grid;
  }

  on(name, listener) {
    this.listeners[name] = listener;
  }

  emit(name, ...values) {
    this.listeners[name]?.(...values);
  }

  /** Show another layout: `points` (N, 3), and the `scales` of axes that are columns, else null. */
  setPoints(points, dims, scales, keepView = false) {
    const first = this.count === 0;
    const previous = this.points;
    this.points = points;
    this.dims = dims;
    this.scales = scales;
    this.count = points.length / 3;
    if (this.count !== this.shapes?.length) {
      this.shapes = new Uint8Array(this.count).fill(DISC);
      this.tints = new Uint8Array(this.count * 4).fill(128);
    }
    const extent = { x: 0.05, y: 0.05 };
    for (let at = 0; at < points.length; at += 3) {
      if (points[at] === points[at]) {
        extent.x = Math.max(extent.x, Math.abs(points[at]));
        extent.y = Math.max(extent.y, Math.abs(points[at + 1]));
      }
    }
    this.extent = extent;
    const isSmooth = !first && !keepView && !reducedMotion.matches && previous.length === points.length;
    this.started = isSmooth ? performance.now() : -Infinity;
    this.renderer.setPoints(points, dims, isSmooth ? previous : null);
    if (keepView) this.draw();
    else this.fit(false);
  }

  /** Draw the points as `tints` (N, 4) and `shapes` (N) are now: dimmed ones first, the rest in a random order. */
  updateStyles() {
    this.renderer.setStyles(this.tints, this.shapes);
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.renderer.clear();
    this.isChanged = true;
    this.render();
  }

  /** The scale in pixels a unit at zoom 1, and the middle of the visible part of the map. */
  frame() {
    const { left, right, top, bottom } = this.inset;
    const plotWidth = Math.max(80, this.width - left - right);
    const plotHeight = Math.max(80, this.height - top - bottom);
    const middle = { x: left + plotWidth / 2, y: top + plotHeight / 2 };
    if (this.scales && this.dims === 2)
      return { ...middle, x: middle.x + 14, y: middle.y - 14, sx: (plotWidth - 90) / 2, sy: (plotHeight - 80) / 2 };
    if (this.scales)
      return { ...middle, sx: Math.min(plotWidth, plotHeight) * 0.31, sy: Math.min(plotWidth, plotHeight) * 0.31 };
    const scale =
      this.dims === 3
        ? Math.min(plotWidth, plotHeight) * 0.44
        : 0.46 * Math.min(plotWidth / this.extent.x, plotHeight / this.extent.y);
    return { ...middle, sx: scale, sy: scale };
  }

  updateMatrix() {
    const { x, y, sx, sy } = this.frame();
    const { zoom, yaw, pitch } = this.view;
    const kx = (2 * sx * zoom) / this.width;
    const ky = (2 * sy * zoom) / this.height;
    const ox = (2 * x) / this.width - 1;
    const oy = 1 - (2 * y) / this.height;
    if (this.dims === 2) {
      this.matrix.set([kx, 0, 0, 0, 0, ky, 0, 0, 0, 0, 0, 0, ox - this.view.x * kx, oy - this.view.y * ky, 0, 1]);
      return;
    }
    // A perspective camera; w is the distance to it.
    const [cy, sn, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const rows = [
      [cy, 0, sn],
      [sn * sp, cp, -cy * sp],
      [-sn * cp, sp, cy * cp],
    ];
    const shift = [-this.view.x, -this.view.y, 0];
    const scale = 0.8;
    const put = (row, last) => [...row.map((value) => value * scale), last];
    const [right, up, toward] = [put(rows[0], shift[0]), put(rows[1], shift[1]), put(rows[2], 0)];
    const w = toward.map((value, at) => (at === 3 ? CAMERA_DISTANCE : -value));
    const clip = [
      right.map((value, at) => value * kx * CAMERA_DISTANCE + ox * w[at]),
      up.map((value, at) => value * ky * CAMERA_DISTANCE + oy * w[at]),
      w.map((value, at) => (at === 3 ? value - CAMERA_DISTANCE : value) * 0.5),
      w,
    ];
    for (let column = 0; column < 4; column++)
      for (let row = 0; row < 4; row++) this.matrix[column * 4 + row] = clip[row][column];
  }

  /** The pixel of a position, and its distance from the camera: [x, y, distance]. */
  project(x, y, z) {
    const m = this.matrix;
    const w = m[3] * x + m[7] * y + m[11] * z + m[15];
    const right = (m[0] * x + m[4] * y + m[8] * z + m[12]) / w;
    const up = (m[1] * x + m[5] * y + m[9] * z + m[13]) / w;
    return [((right + 1) / 2) * this.width, ((1 - up) / 2) * this.height, w];
  }

  /** The place [x, y] on a 2-D map of a pixel. */
  placeOf(right, down) {
    const { x, y, sx, sy } = this.frame();
    const { zoom } = this.view;
    return [this.view.x + (right - x) / (sx * zoom), this.view.y - (down - y) / (sy * zoom)];
  }

  /** The corners of the visible part of a 2-D map. */
  corners() {
    const { left, right, top, bottom } = this.inset;
    const [width, height] = [this.width - right, this.height - bottom];
    return [
      this.placeOf(left, top),
      this.placeOf(width, top),
      this.placeOf(width, height),
      this.placeOf(left, height),
    ];
  }

  position(point) {
    return this.project(this.points[point * 3], this.points[point * 3 + 1], this.points[point * 3 + 2]);
  }

  onMap(point) {
    return point < this.count && this.shapes[point] !== HIDDEN && this.points[point * 3] === this.points[point * 3];
  }

  /** The box of a 2-D map that some pixels around a pixel show. @returns {import("./grid.js").Box} */
  boxAround(x, y, away) {
    const [left, top] = this.placeOf(x - away, y - away);
    const [right, bottom] = this.placeOf(x + away, y + away);
    return [left, bottom, right, top];
  }

  /** The point nearest to a pixel, or null. */
  nearest(x, y, within = PICK_RADIUS) {
    if (this.dims === 3) return this.nearestOf(x, y, within, null);
    for (let radius = FIRST_RADIUS; ; radius *= 4) {
      const reach = Math.min(radius, within);
      const box = this.boxAround(x, y, reach);
      const nearest = this.nearestOf(x, y, reach, box);
      const isAll = box[0] <= -1 && box[1] <= -1 && box[2] >= 1 && box[3] >= 1;
      if (nearest !== null || reach === within || isAll) return nearest;
    }
  }

  /** The nearest one in a box, or of all points. */
  nearestOf(x, y, within, box) {
    const { points, shapes } = this;
    const [xx, yx, , wx, xy, yy, , wy, xz, yz, , wz, x1, y1, , w1] = this.matrix;
    const [halfWidth, halfHeight] = [this.width / 2, this.height / 2];
    let best = within * within;
    let nearest = /** @type {number | null} */ (null);
    this.grid.visit(box, (point) => {
      if (shapes[point] < DISC) return;
      const [px, py, pz] = [points[point * 3], points[point * 3 + 1], points[point * 3 + 2]];
      const w = wx * px + wy * py + wz * pz + w1;
      const right = ((xx * px + xy * py + xz * pz + x1) / w + 1) * halfWidth - x;
      const down = (1 - (yx * px + yy * py + yz * pz + y1) / w) * halfHeight - y;
      const away = right * right + down * down;
      if (away < best) {
        best = away;
        nearest = point;
      }
    });
    return nearest;
  }

  /** The diameter of a point in pixels: smaller where there are many, larger when zoomed in. */
  get size() {
    const room = Math.min(1, Math.max(0.62, Math.min(this.width, this.height) / 720));
    const base = Math.max(2, room * Math.min(11, 19 - 3.3 * Math.log10(Math.max(1, this.count))));
    return Math.min(16, base * Math.min(3, Math.max(0.9, this.view.zoom ** 0.35)));
  }

  /** Draw the points again, and what is drawn over them. */
  draw() {
    this.isChanged = true;
    this.drawMarks();
  }

  /** Draw again what is drawn over the points. */
  drawMarks() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.render());
  }

  /** Draw another view. */
  move() {
    this.movedAt = performance.now();
    this.draw();
  }

  render() {
    this.scheduled = false;
    const now = performance.now();
    if (this.animate) {
      this.animate();
      this.movedAt = now;
      this.isChanged = true;
    }
    this.updateMatrix();
    const progress = Math.min(1, (now - this.started) / TRANSITION_MS);
    if (!this.isSettled) this.isChanged = true;
    this.isSettled = progress === 1;
    const isMoving = !this.isSettled || now - this.movedAt < REST_MS;
    const { renderer, isChanged } = this;
    if (this.alive && this.count) {
      const margin = this.size;
      const [left, bottom] = this.placeOf(-margin, this.height + margin);
      const [right, top] = this.placeOf(this.width + margin, -margin);
      const frame = {
        matrix: this.matrix,
        progress: 1 - (1 - progress) ** 3,
        size: this.size * this.ratio,
        cameraDistance: this.dims === 3 ? CAMERA_DISTANCE : 0,
        paper: this.paper,
        opacity: this.opacity,
        box: /** @type {import("./grid.js").Box | null} */ (
          this.dims === 2 && this.isSettled ? [left, bottom, right, top] : null
        ),
      };
      renderer.draw(frame, { isMoving, isChanged });
      this.isChanged = false;
    }
    this.emit("view");
    if (!this.isSettled || this.animate) this.draw();
    else if (!renderer.isComplete && !isMoving) this.drawMarks();
    else if (!renderer.isComplete) {
      clearTimeout(this.rest);
      this.rest = setTimeout(() => this.drawMarks(), REST_MS + 1);
    }
  }

  /** Move smoothly to another view. */
  animateTo(target, time = 420) {
    const start = { ...this.view };
    const started = performance.now();
    const end = { ...start, ...target };
    this.animate = () => {
      const progress = reducedMotion.matches ? 1 : Math.min(1, (performance.now() - started) / time);
      const eased = 1 - (1 - progress) ** 3;
      for (const name of Object.keys(end)) this.view[name] = start[name] + (end[name] - start[name]) * eased;
      this.view.zoom = start.zoom * (end.zoom / start.zoom) ** eased;
      if (progress === 1) this.animate = null;
    };
    this.move();
  }

  fit(smooth = true) {
    const whole = { x: 0, y: 0, zoom: 1, yaw: 0.6, pitch: 0.35 };
    if (smooth) return this.animateTo(whole);
    this.animate = null;
    Object.assign(this.view, whole);
    this.draw();
  }

  pan(right, down) {
    this.animate = null;
    const { sx, sy } = this.frame();
    this.view.x = clamp(this.view.x - right / (sx * this.view.zoom), 1.3);
    this.view.y = clamp(this.view.y + down / (sy * this.view.zoom), 1.3);
    this.move();
  }

  rotate(right, down) {
    this.animate = null;
    this.view.yaw += right * 0.006;
    this.view.pitch = clamp(this.view.pitch + down * 0.006, 1.5);
    this.move();
  }

  /** Zoom around a pixel, which stays where it is. */
  zoom(factor, x, y) {
    this.animate = null;
    const { x: mx, y: my, sx, sy } = this.frame();
    const zoom = Math.min(500, Math.max(0.5, this.view.zoom * factor));
    const change = 1 / this.view.zoom - 1 / zoom;
    if (this.dims === 2 && x !== undefined) {
      this.view.x = clamp(this.view.x + ((x - mx) / sx) * change, 1.3);
      this.view.y = clamp(this.view.y - ((y - my) / sy) * change, 1.3);
    }
    this.view.zoom = zoom;
    this.move();
  }

  /** Move the view so that all these points are visible. */
  reveal(indices) {
    const shown = indices.filter((point) => this.points[point * 3] === this.points[point * 3]);
    const { left, right, top, bottom } = this.inset;
    this.updateMatrix();
    const out = shown.some((point) => {
      const [x, y] = this.position(point);
      return x < left + 12 || y < top + 12 || x > this.width - right - 12 || y > this.height - bottom - 12;
    });
    if (!out) return;
    if (this.dims === 3 || shown.length === 0) return this.animateTo({ x: 0, y: 0, zoom: 1 });
    const axis = (at) => shown.map((point) => this.points[point * 3 + at]);
    const [xs, ys] = [axis(0), axis(1)];
    const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
    const span = (values) => Math.max(0.02, Math.max(...values) - Math.min(...values));
    const { sx, sy } = this.frame();
    const room = { x: (this.width - left - right) / sx, y: (this.height - top - bottom) / sy };
    const zoom = Math.min(this.view.zoom, 0.75 * Math.min(room.x / span(xs), room.y / span(ys)));
    this.animateTo({ x: middle(xs), y: middle(ys), zoom: Math.max(0.8, zoom) });
  }
}

export const clamp = (value, limit) => Math.min(limit, Math.max(-limit, value));
