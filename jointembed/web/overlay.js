// What is drawn over the points: axes, the names of categories, and the lines and rings of what was found.

class Overlay {
  constructor(canvas, ground, chart) {
    this.canvas = canvas;
    this.ground = ground;
    this.chart = chart;
    this.labels = []; // { text, at: [x, y, z], weight }
    this.found = { from: [], hits: [], chain: false };
    this.hovered = null;
  }

  /** The names of categories, those of a set alone if there is one, at the medians of the points that have them. */
  name(values, codes, shown, only) {
    const members = new Map();
    const { points, kinds, count } = this.chart;
    for (let place = 0; place < count; place++) {
      const code = codes[place];
      if (kinds[place] < DISC || points[place * 3] !== points[place * 3]) continue;
      for (const one of Array.isArray(code) ? code : [code]) {
        if (one < 0 || one >= shown || (only && !only.has(one))) continue;
        if (!members.has(one)) members.set(one, []);
        members.get(one).push(place);
      }
    }
    const median = (list, axis) => {
      const sorted = Float32Array.from(list, (place) => points[place * 3 + axis]).sort();
      return sorted[sorted.length >> 1];
    };
    this.labels = [...members]
      .map(([code, list]) => ({
        text: plain(values[code]),
        at: [0, 1, 2].map((axis) => median(list, axis)),
        weight: list.length,
      }))
      .sort((one, other) => other.weight - one.weight);
  }

  draw() {
    const { chart } = this;
    const [below, pen] = [this.ground, this.canvas].map((canvas) => sheetOf(canvas, chart));
    if (!chart.count) return;
    this.ink = token("--ink");
    this.paper = token("--paper");
    this.quiet = token("--quiet");
    this.line = token("--line");
    this.accent = token("--accent");
    if (chart.scales) (chart.dims === 2 ? this.grid : this.box).call(this, below);
    if (document.activeElement === chart.canvas && chart.canvas.matches(":focus-visible")) this.cross(pen);
    if (!chart.settled) return;
    this.lines(pen);
    if (!this.found.hits.length) this.names(pen);
    if (this.hovered !== null && chart.onMap(this.hovered)) this.ring(pen, this.hovered, 4, this.ink, 1.5);
  }

  cross(pen) {
    const { x, y } = this.chart.frame();
    pen.strokeStyle = this.accent;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      pen.moveTo(x + dx * 5, y + dy * 5);
      pen.lineTo(x + dx * 13, y + dy * 13);
    }
    pen.stroke();
  }

  written(pen, text, x, y, font, align = "center", fill = this.ink) {
    pen.font = font;
    pen.textAlign = align;
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.lineWidth = 4;
    pen.strokeStyle = this.paper;
    pen.globalAlpha = 0.85;
    pen.strokeText(text, x, y);
    pen.globalAlpha = 1;
    pen.fillStyle = fill;
    pen.fillText(text, x, y);
  }

  names(pen) {
    const font = `600 12.5px ${token("--sans")}`;
    const taken = [];
    for (const { text, at } of this.labels) {
      const short = [...text].length > 26 ? `${[...text].slice(0, 25).join("")}…` : text;
      const [x, y] = this.chart.seen(...at);
      pen.font = font;
      const half = pen.measureText(short).width / 2 + 4;
      const free = (top) =>
        !taken.some((one) => x - half < one.right && one.left < x + half && Math.abs(one.top - top) < 20);
      const top = [y, y + 14, y - 14].find(free);
      if (top === undefined) continue;
      taken.push({ left: x - half, right: x + half, top });
      this.written(pen, short, x, top, font);
    }
  }

  ring(pen, place, more, colour, wide) {
    const [x, y] = this.chart.at(place);
    pen.beginPath();
    pen.arc(x, y, this.chart.size / 2 + more, 0, 7);
    pen.strokeStyle = colour;
    pen.lineWidth = wide;
    pen.stroke();
  }

  dot(pen, place) {
    const [x, y] = this.chart.at(place);
    const tint = this.chart.tints.subarray(place * 4, place * 4 + 3);
    pen.beginPath();
    pen.arc(x, y, this.chart.size / 2 + 1, 0, 7);
    const ring = this.chart.kinds[place] === RING;
    pen.fillStyle = ring ? this.paper : css([...tint]);
    pen.fill();
    pen.strokeStyle = this.paper;
    pen.lineWidth = 1.5;
    pen.stroke();
    if (ring) this.ring(pen, place, -0.75, css([...tint]), 3);
  }

  lines(pen) {
    const { from, hits, chain } = this.found;
    const seen = hits.filter((place) => this.chart.onMap(place));
    const starts = from.filter((place) => this.chart.onMap(place));
    pen.strokeStyle = this.ink;
    pen.lineWidth = chain ? 2 : 1;
    const pairs = chain
      ? seen.slice(1).map((place, at) => [seen[at], place, 0.75])
      : starts.flatMap((start) =>
          seen.map((place, at) => [start, place, 0.55 - (0.4 * at) / Math.max(1, seen.length)]),
        );
    for (const [one, other, alpha] of pairs) {
      const [x, y] = this.chart.at(one);
      const [u, v] = this.chart.at(other);
      pen.globalAlpha = alpha;
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(u, v);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    for (const place of [...seen].reverse()) this.dot(pen, place);
    for (const place of starts) {
      this.dot(pen, place);
      this.ring(pen, place, 4.5, this.ink, 2);
    }
    if (chain)
      for (const place of [seen[0], seen.at(-1)]) if (place !== undefined) this.ring(pen, place, 4.5, this.ink, 2);
    const title = starts.length === 1 && this.title?.(starts[0]);
    if (title) {
      const [x, y] = this.chart.at(starts[0]);
      const short = [...title].length > 32 ? `${[...title].slice(0, 31).join("")}…` : title;
      const font = `600 13px ${token("--sans")}`;
      pen.font = font;
      const [half, away] = [pen.measureText(short).width / 2, this.chart.size / 2 + 18];
      const covered = ([right, down]) =>
        seen.filter((place) => {
          const [u, v] = this.chart.at(place);
          return Math.abs(u - x - right) < half + 8 && Math.abs(v - y - down) < 16;
        }).length +
        (x + right - half < 0 || x + right + half > this.chart.width - this.chart.inset.right ? seen.length + 1 : 0);
      const spots = [
        [0, -away],
        [0, away],
        [half + away, 0],
        [-half - away, 0],
      ];
      const [right, down] = spots.reduce((best, spot) => (covered(spot) < covered(best) ? spot : best));
      this.written(pen, short, x + right, y + down, font);
    }
  }

  /** Lines at round values of two cells. */
  grid(pen) {
    const { chart } = this;
    const { x: mx, y: my, sx, sy } = chart.frame();
    const { inset, view, width, height } = chart;
    const left = inset.left + 8,
      bottom = height - inset.bottom - 8;
    const font = `11px ${token("--sans")}`;
    const sides = [
      [mx, sx, view.x, inset.left, width - inset.right, 1],
      [my, sy, view.y, height - inset.bottom, inset.top, -1],
    ];
    sides.forEach(([middle, scale, centre, low, high, sign], axis) => {
      const { name, least, most } = chart.scales[axis];
      const half = (most - least) / 2 || 1;
      const value = (pixel) => least + half * (1 + centre + (sign * (pixel - middle)) / (scale * view.zoom));
      const step = round((value(high) - value(low)) / (Math.abs(high - low) / 90));
      for (let at = Math.ceil(value(low) / step) * step; at <= value(high); at += step) {
        const pixel = middle + sign * ((at - least) / half - 1 - centre) * scale * view.zoom;
        const text = figure(Math.abs(at) < step / 1e6 ? 0 : Number(at.toPrecision(12)), step);
        pen.strokeStyle = this.line;
        pen.lineWidth = 1;
        pen.beginPath();
        if (axis === 0) {
          pen.moveTo(pixel, inset.top);
          pen.lineTo(pixel, bottom - 16);
          pen.stroke();
          if (pixel > left + 40 && pixel < width - inset.right - 20)
            this.written(pen, text, pixel, bottom - 6, font, "center", this.quiet);
        } else {
          pen.moveTo(left + 36, pixel);
          pen.lineTo(width - inset.right, pixel);
          pen.stroke();
          if (pixel > inset.top + 70 && pixel < bottom - 24)
            this.written(pen, text, left + 30, pixel, font, "right", this.quiet);
        }
      }
      const bold = `600 12px ${token("--sans")}`;
      if (axis === 0) this.written(pen, `${plain(name)} →`, width - inset.right - 70, bottom - 26, bold, "right");
      else this.written(pen, `↑ ${plain(name)}`, left + 44, inset.top + 70, bold, "left");
    });
  }

  /** The edges of the box that three cells span. */
  box(pen) {
    const ends = [
      [1, -1, -1],
      [-1, 1, -1],
      [-1, -1, 1],
    ];
    const [x, y] = this.chart.seen(-1, -1, -1);
    ends.forEach((end, axis) => {
      const [u, v] = this.chart.seen(...end);
      const { name, least, most } = this.chart.scales[axis];
      pen.strokeStyle = this.quiet;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(u, v);
      pen.stroke();
      const text = `${plain(name)} ${figure(least, most - least)} to ${figure(most, most - least)}`;
      const half = Math.min(this.chart.width / 2, text.length * 3.6);
      const [left, top] = [
        Math.max(half, Math.min(this.chart.width - half, u)),
        Math.max(70, Math.min(this.chart.height - 16, v - 12)),
      ];
      this.written(pen, text, left, top, `600 12px ${token("--sans")}`);
    });
  }
}

/** The pen of an empty canvas as large as the chart. */
function sheetOf(canvas, { ratio, width, height }) {
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/** The next round step: 1, 2 or 5 times a power of ten. */
function round(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((one) => one * power >= step * 0.999);
}
