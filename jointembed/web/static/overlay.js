// @ts-check
// What is drawn under and over the points: axes, category names, and the lines and rings of the results.

import { css } from "./colour.js";
import { contours } from "./contours.js";
import { cssVariable } from "./dom.js";
import { formatQuantity, plainText } from "./format.js";
import { categoryLabels, levelOf, placeLabels, shorten } from "./labels.js";
import { DISC, RING } from "./renderer.js";

const LABEL_HEIGHT = 20; // pixels
const TITLE_ZOOM = 2; // from which single items have names
const MAX_NAMED_POINTS = 150; // in view

export class Overlay {
  constructor(canvas, ground, chart) {
    this.canvas = canvas;
    this.ground = ground;
    this.chart = chart;
    /** @type {(level: number) => import("./labels.js").Label[]} */
    this.labelsAt = () => [];
    this.results = { from: [], hits: [], isPath: false };
    this.hasContours = false; // whether they are drawn
    /** @type {() => import("./contours.js").Contour[]} */
    this.contours = () => [];
    this.outline = []; // corners [x, y] on the map of the region that is being drawn
    this.region = []; // of the one whose points are selected
    this.hovered = null;
    /** @type {(point: number) => string} */
    this.title = () => "";
  }

  /**
   * Name the categories of a column on the map: `limit` of them on all of it, and the others where it is enlarged.
   * @param {{values: any[], codes: ArrayLike<number | number[]>} | null} column
   * @param {number} limit
   * @param {Set<number> | null} only these categories
   */
  setLabels(column, limit, only) {
    const { points, shapes } = this.chart;
    const isVisible = (point) => shapes[point] >= DISC && points[point * 3] === points[point * 3];
    const levels = /** @type {import("./labels.js").Label[][]} */ ([]);
    let lines = /** @type {import("./contours.js").Contour[] | null} */ (null);
    this.contours = () => (lines ??= contours(points, isVisible));
    this.labelsAt = (level) => {
      const isNamed = (code) => (level > 0 || code < limit) && (!only || only.has(code));
      levels[level] ??= column ? categoryLabels(points, isVisible, column, level, isNamed) : [];
      return levels[level];
    };
  }

  draw() {
    const { chart } = this;
    const context = clearedContext(this.canvas, chart);
    this.ground.hidden = !chart.scales; // an empty layer costs time too
    if (!chart.count) return;
    this.ink = cssVariable("--ink");
    this.paper = cssVariable("--paper");
    this.quiet = cssVariable("--quiet");
    this.line = cssVariable("--line");
    this.accent = cssVariable("--accent");
    if (chart.scales) (chart.dims === 2 ? this.drawGrid : this.drawBox).call(this, clearedContext(this.ground, chart));
    if (document.activeElement === chart.canvas && chart.canvas.matches(":focus-visible")) this.drawCross(context);
    if (!chart.isSettled) return;
    if (this.hasContours && chart.dims === 2) this.drawContours(context);
    this.drawRegion(context, this.outline.length ? this.outline : this.region);
    this.drawResults(context);
    this.drawNames(context);
    if (this.hovered !== null && chart.onMap(this.hovered)) this.drawRing(context, this.hovered, 4, this.ink, 1.5);
  }

  drawCross(context) {
    const { x, y } = this.chart.frame();
    context.strokeStyle = this.accent;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      context.moveTo(x + dx * 5, y + dy * 5);
      context.lineTo(x + dx * 13, y + dy * 13);
    }
    context.stroke();
  }

  /** The lines of equal density, the inner ones stronger, on a halo that parts them from the points. */
  drawContours(context) {
    const { chart } = this;
    const [x, y] = chart.project(0, 0, 0);
    const [right, up] = chart.project(1, 1, 0);
    this.contours().forEach(({ lines }, at, all) => {
      const weight = (at + 1) / all.length;
      context.beginPath();
      for (let piece = 0; piece < lines.length; piece += 4) {
        context.moveTo(x + (right - x) * lines[piece], y + (up - y) * lines[piece + 1]);
        context.lineTo(x + (right - x) * lines[piece + 2], y + (up - y) * lines[piece + 3]);
      }
      for (const [stroke, width, alpha] of [
        [this.paper, 2.5 + weight, 0.7],
        [this.ink, 0.8 + 0.7 * weight, 0.45 + 0.4 * weight],
      ]) {
        context.strokeStyle = stroke;
        context.lineWidth = width;
        context.globalAlpha = alpha;
        context.stroke();
      }
    });
    context.globalAlpha = 1;
  }

  drawRegion(context, corners) {
    if (this.chart.dims !== 2 || corners.length < 2) return;
    context.beginPath();
    for (const [x, y] of corners) context.lineTo(...this.chart.project(x, y, 0).slice(0, 2));
    context.closePath();
    context.fillStyle = context.strokeStyle = this.accent;
    context.globalAlpha = 0.08;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.stroke();
  }

  drawText(context, text, x, y, font, align = "center", fill = this.ink) {
    context.font = font;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = this.paper;
    context.globalAlpha = 0.85;
    context.strokeText(text, x, y);
    context.globalAlpha = 1;
    context.fillStyle = fill;
    context.fillText(text, x, y);
  }

  /** The names of categories, and of single items where the map is enlarged. */
  drawNames(context) {
    const { chart, results } = this;
    const { inset, width, height, view, dims } = chart;
    const isEnlarged = dims === 2 && view.zoom >= TITLE_ZOOM;
    const styles = {
      category: { font: `600 12.5px ${cssVariable("--sans")}`, fill: this.ink },
      item: { font: `500 11.5px ${cssVariable("--sans")}`, fill: this.quiet },
    };
    const label = (style, text, [x, y], shifts) => {
      context.font = styles[style].font;
      return { style, text, x, y, width: context.measureText(text).width, shifts };
    };
    const level = dims === 2 ? levelOf(view.zoom) : 0;
    const categories = results.hits.length ? [] : this.labelsAt(level);
    const labels = categories.map(({ text, at }) => label("category", text, chart.project(...at), [0, 14, -14]));
    const away = chart.size / 2 + 10;
    for (const point of isEnlarged ? this.pointsToName() : []) {
      const text = shorten(plainText(this.title(point)));
      if (text) labels.push(label("item", text, chart.position(point), [away, -away]));
    }
    const bounds = { left: inset.left, right: width - inset.right, top: inset.top, bottom: height - inset.bottom };
    for (const { style, text, x, y } of placeLabels(labels, bounds, LABEL_HEIGHT))
      this.drawText(context, text, x, y, styles[style].font, "center", styles[style].fill);
  }

  /** The points in view that may have names: those of the results, or all if they are few. */
  pointsToName() {
    const { chart, results } = this;
    const { inset, width, height } = chart;
    if (results.hits.length) return results.hits.filter((point) => chart.onMap(point));
    const [left, top] = chart.placeOf(inset.left, inset.top);
    const [right, bottom] = chart.placeOf(width - inset.right, height - inset.bottom);
    const shown = /** @type {number[]} */ ([]);
    chart.grid.visit([left, bottom, right, top], (point) => {
      const [x, y] = [chart.points[point * 3], chart.points[point * 3 + 1]];
      if (x < left || x > right || y < bottom || y > top || chart.shapes[point] < DISC) return false;
      return shown.push(point) > MAX_NAMED_POINTS;
    });
    return shown.length > MAX_NAMED_POINTS ? [] : shown;
  }

  drawRing(context, point, more, colour, wide) {
    const [x, y] = this.chart.position(point);
    context.beginPath();
    context.arc(x, y, this.chart.size / 2 + more, 0, 7);
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.stroke();
  }

  drawDot(context, point) {
    const [x, y] = this.chart.position(point);
    const tint = this.chart.tints.subarray(point * 4, point * 4 + 3);
    context.beginPath();
    context.arc(x, y, this.chart.size / 2 + 1, 0, 7);
    const ring = this.chart.shapes[point] === RING;
    context.fillStyle = ring ? this.paper : css([...tint]);
    context.fill();
    context.strokeStyle = this.paper;
    context.lineWidth = 1.5;
    context.stroke();
    if (ring) this.drawRing(context, point, -0.75, css([...tint]), 3);
  }

  drawResults(context) {
    const { from: queries, hits, isPath } = this.results;
    const visible = hits.filter((point) => this.chart.onMap(point));
    const starts = queries.filter((point) => this.chart.onMap(point));
    context.strokeStyle = this.ink;
    context.lineWidth = isPath ? 2 : 1;
    const pairs = isPath
      ? visible.slice(1).map((point, at) => [visible[at], point, 0.75])
      : starts.flatMap((start) =>
          visible.map((point, at) => [start, point, 0.55 - (0.4 * at) / Math.max(1, visible.length)]),
        );
    for (const [from, to, alpha] of pairs) {
      const [x, y] = this.chart.position(from);
      const [u, v] = this.chart.position(to);
      context.globalAlpha = alpha;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(u, v);
      context.stroke();
    }
    context.globalAlpha = 1;
    for (const point of [...visible].reverse()) this.drawDot(context, point);
    for (const point of starts) {
      this.drawDot(context, point);
      this.drawRing(context, point, 4.5, this.ink, 2);
    }
    if (isPath)
      for (const point of [visible[0], visible.at(-1)])
        if (point !== undefined) this.drawRing(context, point, 4.5, this.ink, 2);
    const title = starts.length === 1 && this.title(starts[0]);
    if (title) {
      const [x, y] = this.chart.position(starts[0]);
      const short = shorten(title, 32);
      const font = `600 13px ${cssVariable("--sans")}`;
      context.font = font;
      const [half, away] = [context.measureText(short).width / 2, this.chart.size / 2 + 18];
      const covered = (/** @type {number[]} */ [right, down]) =>
        visible.filter((point) => {
          const [u, v] = this.chart.position(point);
          return Math.abs(u - x - right) < half + 8 && Math.abs(v - y - down) < 16;
        }).length +
        (x + right - half < 0 || x + right + half > this.chart.width - this.chart.inset.right ? visible.length + 1 : 0);
      const spots = [
        [0, -away],
        [0, away],
        [half + away, 0],
        [-half - away, 0],
      ];
      const [right, down] = spots.reduce((best, spot) => (covered(spot) < covered(best) ? spot : best));
      this.drawText(context, short, x + right, y + down, font);
    }
  }

  /** Grid lines at round values of two columns. */
  drawGrid(context) {
    const { chart } = this;
    const { x: mx, y: my, sx, sy } = chart.frame();
    const { inset, view, width, height } = chart;
    const left = inset.left + 8,
      bottom = height - inset.bottom - 8;
    const font = `11px ${cssVariable("--sans")}`;
    const sides = [
      [mx, sx, view.x, inset.left, width - inset.right, 1],
      [my, sy, view.y, height - inset.bottom, inset.top, -1],
    ];
    sides.forEach(([middle, scale, centre, low, high, sign], axis) => {
      const { name, least, most } = chart.scales[axis];
      const half = (most - least) / 2 || 1;
      const value = (pixel) => least + half * (1 + centre + (sign * (pixel - middle)) / (scale * view.zoom));
      const step = roundStep((value(high) - value(low)) / (Math.abs(high - low) / 90));
      for (let at = Math.ceil(value(low) / step) * step; at <= value(high); at += step) {
        const pixel = middle + sign * ((at - least) / half - 1 - centre) * scale * view.zoom;
        const text = formatQuantity(name, Math.abs(at) < step / 1e6 ? 0 : Number(at.toPrecision(12)), step);
        context.strokeStyle = this.line;
        context.lineWidth = 1;
        context.beginPath();
        if (axis === 0) {
          context.moveTo(pixel, inset.top);
          context.lineTo(pixel, bottom - 16);
          context.stroke();
          if (pixel > left + 40 && pixel < width - inset.right - 20)
            this.drawText(context, text, pixel, bottom - 6, font, "center", this.quiet);
        } else {
          context.moveTo(left + 36, pixel);
          context.lineTo(width - inset.right, pixel);
          context.stroke();
          if (pixel > inset.top + 70 && pixel < bottom - 24)
            this.drawText(context, text, left + 30, pixel, font, "right", this.quiet);
        }
      }
      const bold = `600 12px ${cssVariable("--sans")}`;
      if (axis === 0)
        this.drawText(context, `${plainText(name)} →`, width - inset.right - 70, bottom - 26, bold, "right");
      else this.drawText(context, `↑ ${plainText(name)}`, left + 44, inset.top + 70, bold, "left");
    });
  }

  /** The edges of the box that three columns span. */
  drawBox(context) {
    const ends = [
      [1, -1, -1],
      [-1, 1, -1],
      [-1, -1, 1],
    ];
    const [x, y] = this.chart.project(-1, -1, -1);
    ends.forEach((end, axis) => {
      const [u, v] = this.chart.project(...end);
      const { name, least, most } = this.chart.scales[axis];
      context.strokeStyle = this.quiet;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(u, v);
      context.stroke();
      const [low, high] = [least, most].map((value) => formatQuantity(name, value, most - least));
      const text = `${plainText(name)} ${low} to ${high}`;
      const half = Math.min(this.chart.width / 2, text.length * 3.6);
      const [left, top] = [
        Math.max(half, Math.min(this.chart.width - half, u)),
        Math.max(70, Math.min(this.chart.height - 16, v - 12)),
      ];
      this.drawText(context, text, left, top, `600 12px ${cssVariable("--sans")}`);
    });
  }
}

/** The context of an empty canvas as large as the chart. */
function clearedContext(canvas, { ratio, width, height }) {
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** The next round step: 1, 2 or 5 times a power of ten. */
function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= step * 0.999);
}
