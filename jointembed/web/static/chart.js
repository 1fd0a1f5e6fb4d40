// @ts-check
// The map: all points drawn at once by WebGL 2, a view in two or three dimensions, and the point under the pointer.

import { reducedMotion } from "./dom.js";

const VERTEX = `#version 300 es
layout(location = 0) in vec3 from;
layout(location = 1) in vec3 to;
layout(location = 2) in vec4 colour;
layout(location = 3) in float shape;
uniform mat4 view;
uniform float progress, size, depth;
out vec4 shade;
flat out float ring, diameter;
void main() {
  gl_Position = view * vec4(mix(from, to, progress), 1.0);
  diameter = size * (shape < 1.5 ? 0.8 : 1.0) * (depth > 0.0 ? clamp(depth / gl_Position.w, 0.4, 3.0) : 1.0);
  gl_PointSize = diameter + 2.0;
  ring = shape > 2.5 ? 1.0 : 0.0;
  float haze = depth > 0.0 ? clamp(1.35 - 0.42 * gl_Position.w / depth, 0.25, 1.0) : 1.0;
  shade = vec4(colour.rgb, colour.a * haze);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 shade;
flat in float ring, diameter;
uniform vec3 paper;
uniform float opacity, cut;
out vec4 pixel;
void main() {
  float away = length(gl_PointCoord - 0.5) * (diameter + 2.0);
  float r = diameter * 0.5;
  float soft = min(0.7, r * 0.6);
  float alpha = 1.0 - smoothstep(r - soft, r + soft, away);
  if (ring > 0.5) alpha *= smoothstep(r * 0.5 - 0.5, r * 0.5 + 0.5, away);
  if (alpha < cut) discard;
  alpha *= shade.a * opacity;
  float rim = ring > 0.5 || diameter < 6.0 ? 0.0 : 0.75 * smoothstep(r - 1.7, r - 0.5, away);
  pixel = vec4(mix(shade.rgb, paper, rim) * alpha, alpha);
}`;

// The shapes of a point.
export const HIDDEN = 0;
export const DIMMED = 1;
export const DISC = 2;
export const RING = 3;
export const PICK_RADIUS = 14; // pixels around the pointer
const TRANSITION_MS = 700; // from one map to another
const CAMERA_DISTANCE = 2.6; // from the camera to the middle of a 3-D map

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
    this.alive = this.open();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.open();
      this.upload();
      this.updateBuffers();
    });
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  on(name, listener) {
    this.listeners[name] = listener;
  }

  emit(name, ...values) {
    this.listeners[name]?.(...values);
  }

  open() {
    const gl = this.canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
    if (!gl) return false;
    this.gl = gl;
    const program = gl.createProgram();
    for (const [type, text] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
    gl.useProgram(program);
    this.uniform = Object.fromEntries(
      ["view", "progress", "size", "depth", "paper", "opacity", "cut"].map((name) => [
        name,
        gl.getUniformLocation(program, name),
      ]),
    );
    this.buffers = ["from", "to", "colour", "shape"].map((_, at) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(at);
      if (at < 2) gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
      else if (at === 2) gl.vertexAttribPointer(at, 4, gl.UNSIGNED_BYTE, true, 0, 0);
      else gl.vertexAttribPointer(at, 1, gl.UNSIGNED_BYTE, false, 0, 0);
      return buffer;
    });
    this.order = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.order);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    return true;
  }

  fill(at, values) {
    if (!this.alive) return;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[at]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.STATIC_DRAW);
  }

  /** Show another layout: `points` (N, 3), and the `scales` of axes that are columns, else null. */
  setPoints(points, dims, scales, keepView = false) {
    const first = this.count === 0;
    const previous = this.points;
    this.points = points;
    this.dims = dims;
    this.scales = scales;
    this.count = points.length / 3;
    this.previous = previous.length === points.length ? previous : points;
    if (this.count !== this.shapes?.length) {
      this.shapes = new Uint8Array(this.count).fill(DISC);
      this.tints = new Uint8Array(this.count * 4).fill(128);
      this.shuffled = shuffle(this.count);
    }
    const extent = { x: 0.05, y: 0.05 };
    for (let at = 0; at < points.length; at += 3) {
      if (points[at] === points[at]) {
        extent.x = Math.max(extent.x, Math.abs(points[at]));
        extent.y = Math.max(extent.y, Math.abs(points[at + 1]));
      }
    }
    this.extent = extent;
    this.started = first || reducedMotion.matches ? -Infinity : performance.now();
    this.upload();
    this.updateBuffers();
    if (!keepView) this.fit(false);
  }

  upload() {
    this.fill(
      0,
      this.previous.map((value) => (value === value ? value : 9)),
    );
    this.fill(
      1,
      this.points.map((value) => (value === value ? value : 9)),
    );
  }

  /** Upload `tints` (N, 4) and `shapes` (N). Dimmed points are drawn first, the rest in a shuffled order. */
  updateBuffers() {
    this.fill(2, this.tints);
    this.fill(3, this.shapes);
    const order = new Uint32Array(this.count);
    let drawn = 0;
    for (const dimmed of [true, false]) {
      if (!dimmed) this.dimmed = drawn;
      for (const point of this.shuffled ?? []) {
        const shape = this.shapes[point];
        if (shape !== HIDDEN && (shape === DIMMED) === dimmed && this.points[point * 3] === this.points[point * 3])
          order[drawn++] = point;
      }
    }
    this.drawn = drawn;
    if (this.alive) this.gl.bufferData(this.gl.ELEMENT_ARRAY_BUFFER, order.subarray(0, drawn), this.gl.STATIC_DRAW);
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
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

  /** The point nearest to a pixel, or null. A pass over 200,000 points takes 3 ms, so there is no grid. */
  nearest(x, y, within = PICK_RADIUS) {
    const { points, shapes, count } = this;
    const [xx, yx, , wx, xy, yy, , wy, xz, yz, , wz, x1, y1, , w1] = this.matrix;
    const [halfWidth, halfHeight] = [this.width / 2, this.height / 2];
    let best = within * within,
      nearest = null;
    for (let point = 0, at = 0; point < count; point++, at += 3) {
      if (shapes[point] < DISC) continue;
      const px = points[at],
        py = points[at + 1],
        pz = points[at + 2];
      const w = wx * px + wy * py + wz * pz + w1;
      const right = ((xx * px + xy * py + xz * pz + x1) / w + 1) * halfWidth - x;
      const down = (1 - (yx * px + yy * py + yz * pz + y1) / w) * halfHeight - y;
      const away = right * right + down * down;
      if (away < best) {
        best = away;
        nearest = point;
      }
    }
    return nearest;
  }

  /** The diameter of a point in pixels: smaller where there are many, larger when zoomed in. */
  get size() {
    const room = Math.min(1, Math.max(0.62, Math.min(this.width, this.height) / 720));
    const base = Math.max(2, room * Math.min(11, 19 - 3.3 * Math.log10(Math.max(1, this.count))));
    return Math.min(16, base * Math.min(3, Math.max(0.9, this.view.zoom ** 0.35)));
  }

  draw() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.render());
  }

  render() {
    this.scheduled = false;
    this.animate?.();
    this.updateMatrix();
    const progress = Math.min(1, (performance.now() - this.started) / TRANSITION_MS);
    this.isSettled = progress === 1;
    if (this.alive && this.count) {
      const { gl, uniform } = this;
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      if (this.dims === 3) gl.enable(gl.DEPTH_TEST);
      else gl.disable(gl.DEPTH_TEST);
      gl.uniformMatrix4fv(uniform.view, false, this.matrix);
      gl.uniform1f(uniform.progress, 1 - (1 - progress) ** 3);
      gl.uniform1f(uniform.size, this.size * this.ratio);
      gl.uniform1f(uniform.depth, this.dims === 3 ? CAMERA_DISTANCE : 0);
      gl.uniform1f(uniform.opacity, this.opacity);
      gl.uniform1f(uniform.cut, this.dims === 3 ? 0.4 : 0);
      gl.uniform3fv(uniform.paper, this.paper);
      // Dimmed points write no depth, so that they hide nothing.
      gl.depthMask(false);
      gl.drawElements(gl.POINTS, this.dimmed, gl.UNSIGNED_INT, 0);
      gl.depthMask(true);
      gl.drawElements(gl.POINTS, this.drawn - this.dimmed, gl.UNSIGNED_INT, 4 * this.dimmed);
    }
    this.emit("view");
    if (!this.isSettled || this.animate) this.draw();
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
    this.draw();
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
    this.draw();
  }

  rotate(right, down) {
    this.animate = null;
    this.view.yaw += right * 0.006;
    this.view.pitch = clamp(this.view.pitch + down * 0.006, 1.5);
    this.draw();
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
    this.draw();
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

/** 0 to count - 1 in a random order, the same each time. */
function shuffle(count) {
  const order = Uint32Array.from({ length: count }, (_, at) => at);
  let seed = 1;
  for (let at = count - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const swap = Math.floor((seed / 4294967296) * (at + 1));
    [order[at], order[swap]] = [order[swap], order[at]];
  }
  return order;
}
