// @ts-check
// The points of the map, drawn by WebGL 2. Where there are more than a frame can draw, the moving map is a random sample,
// and once it rests all points are drawn out of sight, a part a frame, and then shown.

import { PointGrid } from "./grid.js";

const VERTEX = `#version 300 es
layout(location = 0) in vec3 from;
layout(location = 1) in vec3 to;
layout(location = 2) in vec4 colour;
layout(location = 3) in float shape;
uniform mat4 view;
uniform float progress, size, depth;
uniform vec2 shapes;
uniform bool isPlain;
out vec4 shade;
flat out float ring, diameter;
void main() {
  if (shape < shapes.x || shape > shapes.y) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = 1.0;
    return;
  }
  gl_Position = view * vec4(mix(from, to, progress), 1.0);
  diameter = size * (shape < 1.5 ? 0.8 : 1.0) * (depth > 0.0 ? clamp(depth / gl_Position.w, 0.4, 3.0) : 1.0);
  gl_PointSize = isPlain ? max(1.0, diameter * 0.886) : diameter + 2.0;
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
uniform bool isPlain;
out vec4 pixel;
void main() {
  if (isPlain) {
    pixel = vec4(shade.rgb, 1.0) * shade.a * opacity;
    return;
  }
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

const UNIFORMS = ["isPlain", "view", "progress", "size", "depth", "shapes", "paper", "opacity", "cut"];
const MIN_BUDGET = 8192; // points a frame
const FIRST_BUDGET = 100000;
const MAX_BUDGET = 16e6;
const [FAST_MS, SLOW_MS] = [20, 26]; // from one frame to the next

/**
 * @typedef {{matrix: Float32Array, progress: number, size: number, cameraDistance: number, paper: number[],
 *   opacity: number, box: import("./grid.js").Box | null}} Frame how the points are drawn; `cameraDistance` is 0 of a
 *   flat map, and all points in view are in `box`
 */

export class Renderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.grid = new PointGrid(new Float32Array(0), 2);
    this.budget = FIRST_BUDGET;
    this.lastDraw = 0; // the time of the last frame that was drawn while the map moved
    this.hasDimmed = false;
    this.hasPicture = false;
    this.isComplete = true;
    /** @type {{parts: {pass: number[], ranges: [number, number][]}[]} | null} what is still to be drawn out of sight */
    this.job = null;
    this.alive = this.open();
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
    this.uniform = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = ["from", "to", "colour", "shape"].map((_, at) => {
      gl.enableVertexAttribArray(at);
      return gl.createBuffer();
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[2]);
    gl.vertexAttribPointer(2, 4, gl.UNSIGNED_BYTE, true, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[3]);
    gl.vertexAttribPointer(3, 1, gl.UNSIGNED_BYTE, false, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.hidden = null; // the picture that is drawn out of sight
    return true;
  }

  fill(at, values) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[at]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.STATIC_DRAW);
  }

  /** Show points (N, 3), which come from others, or are there already if `previous` is null. */
  setPoints(points, dims, previous) {
    this.grid = new PointGrid(points, dims);
    this.hasPicture = false;
    if (!this.alive) return;
    const { gl } = this;
    this.fill(1, points);
    if (previous) this.fill(0, previous.map((value) => (value === value ? value : 9))); // from outside of the map
    for (const at of [0, 1]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[previous ? at : 1]);
      gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
    }
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.grid.order, gl.STATIC_DRAW);
  }

  /** Show the colours [r, g, b, a] and the shapes of all points. @param {Uint8Array} tints @param {Uint8Array} shapes */
  setStyles(tints, shapes) {
    this.hasDimmed = shapes.includes(DIMMED);
    if (!this.alive) return;
    this.fill(2, tints);
    this.fill(3, shapes);
  }

  /** What must be drawn again after a resize. */
  clear() {
    this.hasPicture = false;
  }

  /**
   * Draw a frame, or a part of the picture of all points if nothing has changed since the last one.
   * @param {Frame} frame
   */
  draw(frame, { isMoving, isChanged }) {
    const { grid } = this;
    if (isChanged) {
      this.job = null;
      this.isComplete = false;
    }
    if (this.isComplete || (isMoving && !isChanged)) return;
    const levels = grid.levels.map((_, level) => grid.ranges(level, frame.box));
    const sizes = levels.map((ranges) => ranges.reduce((sum, [from, to]) => sum + to - from, 0));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (isMoving) this.adapt();
    const isWhole = total <= this.budget;
    if (isChanged && (isWhole || isMoving || !this.hasPicture)) {
      let room = this.budget;
      const drawn = levels.filter((_, level) => (room -= sizes[level]) >= 0 || !level).flat();
      this.begin(frame, null, true);
      this.gl.uniform1i(this.uniform.isPlain, Number(!isWhole)); // squares as large as the discs
      for (const pass of this.passes) this.drawRanges(drawn, pass);
      this.hasPicture = true;
      this.isComplete = isWhole;
    } else if (!isMoving) this.drawHidden(frame, levels.flat());
  }

  /** The least and the greatest shape of the points that are drawn one after the other. */
  get passes() {
    return this.hasDimmed ? [[DIMMED, DIMMED], [DISC, RING]] : [[DISC, RING]]; // prettier-ignore
  }

  /** Draw as many points a frame as the frames before leave time for. */
  adapt() {
    const now = performance.now();
    const time = now - this.lastDraw;
    this.lastDraw = now;
    if (time > 200) return; // the first frame of a movement
    if (time > SLOW_MS) this.budget = Math.max(MIN_BUDGET, this.budget * Math.max(0.3, FAST_MS / time));
    else if (time < FAST_MS) this.budget = Math.min(MAX_BUDGET, this.budget * 1.05);
  }

  /** Draw a part of the picture of all points; show it once it is complete. */
  drawHidden(frame, ranges) {
    const isFirst = !this.job;
    this.job ??= { parts: this.split(ranges) };
    const { parts } = this.job;
    this.begin(frame, this.target(), isFirst);
    const part = parts.shift();
    if (part) this.drawRanges(part.ranges, part.pass);
    if (parts.length) return;
    const { gl, canvas } = this;
    const box = [0, 0, canvas.width, canvas.height];
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, this.target().framebuffer);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, null);
    gl.blitFramebuffer(...box, ...box, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    this.job = null;
    this.hasPicture = this.isComplete = true;
  }

  /** What to draw as parts that take a frame each. */
  split(ranges) {
    const parts = [];
    const most = Math.ceil(this.budget / 2);
    for (const pass of this.passes) {
      let room = 0;
      for (const [begin, end] of ranges)
        for (let from = begin; from < end; ) {
          if (!room) {
            parts.push({ pass, ranges: /** @type {[number, number][]} */ ([]) });
            room = most;
          }
          const to = Math.min(end, from + room);
          parts[parts.length - 1].ranges.push([from, to]);
          room -= to - from;
          from = to;
        }
    }
    return parts;
  }

  /** The picture out of sight, as large as the canvas. */
  target() {
    const { gl, canvas } = this;
    const [width, height] = [canvas.width, canvas.height];
    if (this.hidden?.width === width && this.hidden.height === height) return this.hidden;
    if (this.hidden) {
      gl.deleteFramebuffer(this.hidden.framebuffer);
      for (const buffer of this.hidden.buffers) gl.deleteRenderbuffer(buffer);
    }
    const framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    const buffers = [
      [gl.RGBA8, gl.COLOR_ATTACHMENT0],
      [gl.DEPTH_COMPONENT16, gl.DEPTH_ATTACHMENT],
    ].map(([format, attachment]) => {
      const buffer = gl.createRenderbuffer();
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorage(gl.RENDERBUFFER, format, width, height);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, attachment, gl.RENDERBUFFER, buffer);
      return buffer;
    });
    return (this.hidden = { width, height, framebuffer, buffers });
  }

  /** Set up a frame on the canvas, or on a picture out of sight. */
  begin({ matrix, progress, size, cameraDistance, paper, opacity }, target, isFirst) {
    const { gl, uniform, canvas } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target?.framebuffer ?? null);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.depthMask(true);
    gl.clearColor(0, 0, 0, 0);
    if (isFirst) gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (cameraDistance) gl.enable(gl.DEPTH_TEST);
    else gl.disable(gl.DEPTH_TEST);
    gl.uniformMatrix4fv(uniform.view, false, matrix);
    gl.uniform1i(uniform.isPlain, 0);
    gl.uniform1f(uniform.progress, progress);
    gl.uniform1f(uniform.size, size);
    gl.uniform1f(uniform.depth, cameraDistance);
    gl.uniform1f(uniform.opacity, opacity);
    gl.uniform1f(uniform.cut, cameraDistance ? 0.4 : 0);
    gl.uniform3fv(uniform.paper, paper);
  }

  drawRanges(ranges, pass) {
    const { gl } = this;
    gl.uniform2fv(this.uniform.shapes, pass);
    gl.depthMask(pass[0] !== DIMMED); // dimmed points write no depth, so that they hide nothing
    for (const [from, to] of ranges) gl.drawElements(gl.POINTS, to - from, gl.UNSIGNED_INT, 4 * from);
  }
}
