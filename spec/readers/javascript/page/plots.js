/** Line charts and maps as SVG, which can be read with the pointer and with the arrow keys. */

import { count, make, short, svg } from "./elements.js";

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {Float64Array} xs
 * @property {Float64Array} ys
 *
 * @typedef {object} Chart
 * @property {string} label what the chart shows, in one sentence
 * @property {Series[]} series
 * @property {string} x name of the axis
 * @property {string} y name of the axis
 * @property {number[]} [marks] positions of vertical lines; in a map, points that straight lines join
 * @property {boolean} [map] both axes have the same scale, and the position along the line is the index
 * @property {number} [floor] where the y axis begins
 */

const HEIGHT = 300;
const MARGIN = { left: 56, right: 14, top: 12, bottom: 40 };
/** Points of a line, and lines of a chart, that are drawn at most. */
const MAX_POINTS = 1000;
const MAX_LINES = 300;
const COLOURS = 8;

/**
 * Round numbers that divide an axis.
 * @param {number} low
 * @param {number} high
 * @param {number} about how many
 * @param {number} [least] smallest distance between two
 * @returns {number[]}
 */
export function ticks(low, high, about, least = 0) {
  if (!(high > low)) return [low];
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/**
 * @param {Iterable<number>} values
 * @returns {[number, number]}
 */
function range(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  return low === high ? [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2] : [low, high];
}

/**
 * A chart that fits the width of its place.
 * @param {Chart} chart
 * @returns {HTMLElement}
 */
export function plot(chart) {
  const lines = thin(chart.series, MAX_LINES);
  const length = chart.series[0]?.xs.length ?? 0;
  /** Layer that is picked in the legend, and timestep under the cursor. */
  const state = { picked: -1, at: -1, width: 0 };
  const canvas = svg("svg", {
    class: "plot",
    role: "img",
    tabindex: 0,
    height: HEIGHT,
    "aria-label": `${chart.label} The left and right arrow keys read single values.`,
  });
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const scales = scalesOf(chart);
  const overlay = svg("g");

  const draw = () => {
    const { width } = state;
    const { px, py } = place(chart, scales, width);
    canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    canvas.classList.toggle("picked", state.picked >= 0);
    canvas.replaceChildren(...frame(chart, scales, px, py, width));
    for (const { series, index } of lines) {
      const line = svg("polyline", {
        class: `series ${colour(index, chart.series.length)}`,
        points: points(series, px, py),
      });
      line.style.setProperty("--share", String(index / Math.max(1, chart.series.length - 1)));
      if (index === state.picked) line.classList.add("chosen");
      canvas.append(line);
    }
    if (chart.map) canvas.append(...chords(chart, px, py), ...ends(chart.series[0], px, py));
    canvas.append(overlay);
    point();
  };
  /** Only what follows the pointer is drawn again with every move. */
  const point = () => {
    const { px, py } = place(chart, scales, state.width);
    overlay.replaceChildren(...(state.at >= 0 ? cursor(chart, lines, state, px, py) : []));
  };

  const read = (/** @type {number} */ at) => {
    state.at = Math.max(-1, Math.min(length - 1, at));
    readout.textContent = state.at < 0 ? hint(chart, lines.length) : describe(chart, state.at, state.picked);
    point();
  };
  const pick = (/** @type {number} */ index) => {
    state.picked = state.picked === index ? -1 : index;
    read(state.at);
    draw();
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const { px, py } = place(chart, scales, state.width);
    read(
      nearest(chart, px, py, ((event.clientX - box.left) / box.width) * state.width, event.clientY - box.top),
    );
  });
  canvas.addEventListener("pointerleave", () => read(-1));
  canvas.addEventListener("blur", () => read(-1));
  canvas.addEventListener("keydown", (event) => {
    const to = {
      ArrowRight: state.at + 1,
      ArrowLeft: Math.max(0, state.at - 1),
      Home: 0,
      End: length - 1,
      Escape: -1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  });
  readout.textContent = hint(chart, lines.length);
  const box = make(
    "div",
    {},
    canvas,
    chart.series.length > 1 ? legend(lines, chart.series.length, pick) : null,
    readout,
  );
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width === state.width || width === 0) return;
    state.width = width;
    draw();
  }).observe(box);
  return box;
}

/**
 * At most so many series, evenly chosen.
 * @param {Series[]} all
 * @param {number} most
 */
function thin(all, most) {
  const stride = Math.ceil(all.length / most);
  return all.map((series, index) => ({ series, index })).filter(({ index }) => index % stride === 0);
}

/** @param {Chart} chart */
function scalesOf({ series, floor, map }) {
  const all = (/** @type {"xs" | "ys"} */ key) =>
    (function* () {
      for (const one of series) yield* one[key];
    })();
  const x = range(all("xs"));
  const y = range(all("ys"));
  if (floor !== undefined && y[0] >= floor) y[0] = floor;
  const pad = map ? 0.06 : 0.03;
  const room = (y[1] - y[0]) * pad;
  return {
    x: /** @type {[number, number]} */ (map ? [x[0] - (x[1] - x[0]) * pad, x[1] + (x[1] - x[0]) * pad] : x),
    y: /** @type {[number, number]} */ ([y[0] === floor ? y[0] : y[0] - room, y[1] + room]),
  };
}

/**
 * From values to places on the canvas.
 * @param {Chart} chart
 * @param {{ x: [number, number], y: [number, number] }} scales
 * @param {number} width
 */
function place({ map }, { x, y }, width) {
  const inner = {
    width: Math.max(1, width - MARGIN.left - MARGIN.right),
    height: HEIGHT - MARGIN.top - MARGIN.bottom,
  };
  let kx = inner.width / (x[1] - x[0]);
  let ky = inner.height / (y[1] - y[0]);
  if (map) kx = ky = Math.min(kx, ky);
  const left = MARGIN.left + (inner.width - kx * (x[1] - x[0])) / 2;
  const top = MARGIN.top + (inner.height - ky * (y[1] - y[0])) / 2;
  return {
    px: (/** @type {number} */ value) => left + (value - x[0]) * kx,
    py: (/** @type {number} */ value) => top + (y[1] - value) * ky,
  };
}

/** @typedef {(value: number) => number} Scale */

/**
 * Axes, grid and marks.
 * @param {Chart} chart
 * @param {{ x: [number, number], y: [number, number] }} scales
 * @param {Scale} px
 * @param {Scale} py
 * @param {number} width
 */
function frame({ x, y, marks = [], map }, scales, px, py, width) {
  const bottom = HEIGHT - MARGIN.bottom;
  const right = width - MARGIN.right;
  const parts = [];
  for (const value of ticks(...scales.y, 5)) {
    const at = py(value);
    parts.push(svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: at, y2: at }));
    parts.push(svg("text", { x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of ticks(...scales.x, Math.max(2, Math.floor(width / 90)), map ? 0 : 1)) {
    if (map)
      parts.push(svg("line", { class: "grid", x1: px(value), x2: px(value), y1: MARGIN.top, y2: bottom }));
    parts.push(svg("text", { x: px(value), y: bottom + 18, "text-anchor": "middle" }, short(value)));
  }
  if (!map && marks.length <= 50) {
    for (const value of marks)
      parts.push(svg("line", { class: "knot", x1: px(value), x2: px(value), y1: MARGIN.top, y2: bottom }));
  }
  parts.push(svg("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
  parts.push(svg("text", { x: right, y: HEIGHT - 6, "text-anchor": "end" }, x));
  parts.push(
    svg(
      "text",
      { x: 12, y: MARGIN.top + 4, transform: `rotate(-90 12 ${MARGIN.top + 4})`, "text-anchor": "end" },
      y,
    ),
  );
  return parts;
}

/**
 * @param {Series} series
 * @param {Scale} px
 * @param {Scale} py
 */
function points({ xs, ys }, px, py) {
  const stride = Math.ceil(xs.length / MAX_POINTS);
  const result = [];
  for (let i = 0; i < xs.length; i++) {
    if ((i % stride === 0 || i === xs.length - 1) && Number.isFinite(ys[i]))
      result.push(`${px(xs[i]).toFixed(2)},${py(ys[i]).toFixed(2)}`);
  }
  return result.join(" ");
}

/**
 * Straight lines between the marked points of a map.
 * @param {Chart} chart
 * @param {Scale} px
 * @param {Scale} py
 */
function chords({ series: [{ xs, ys }], marks = [] }, px, py) {
  const at = (/** @type {number} */ i) => `${px(xs[i]).toFixed(2)},${py(ys[i]).toFixed(2)}`;
  const dots = marks
    .slice(1, -1)
    .map((i) => svg("circle", { class: "dot c0", r: 3, cx: px(xs[i]), cy: py(ys[i]) }));
  return marks.length ? [svg("polyline", { class: "chord", points: marks.map(at).join(" ") }), ...dots] : [];
}

/**
 * Names of the first and the last point of a map.
 * @param {Series} series
 * @param {Scale} px
 * @param {Scale} py
 */
function ends({ xs, ys }, px, py) {
  return [0, xs.length - 1].flatMap((i) => [
    svg("circle", { class: "dot c0", r: 4.5, cx: px(xs[i]), cy: py(ys[i]) }),
    svg(
      "text",
      { class: "label", x: px(xs[i]), y: py(ys[i]) - 9, "text-anchor": i ? "end" : "start" },
      i ? `t = ${count(i)}` : "start",
    ),
  ]);
}

/**
 * @param {Chart} chart
 * @param {{ series: Series, index: number }[]} lines
 * @param {{ at: number, picked: number }} state
 * @param {Scale} px
 * @param {Scale} py
 */
function cursor(chart, lines, { at, picked }, px, py) {
  const parts = [];
  const x = px(chart.series[0].xs[at]);
  if (!chart.map)
    parts.push(svg("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }));
  for (const { series, index } of lines) {
    if ((picked >= 0 && picked !== index) || !Number.isFinite(series.ys[at])) continue;
    const dot = svg("circle", {
      class: `dot ${colour(index, chart.series.length)}`,
      r: 4,
      cx: x,
      cy: py(series.ys[at]),
    });
    dot.style.setProperty("--share", String(index / Math.max(1, chart.series.length - 1)));
    parts.push(dot);
  }
  return parts;
}

/**
 * @param {Chart} chart
 * @param {Scale} px
 * @param {Scale} py
 * @param {number} x
 * @param {number} y
 * @returns {number} the point that is nearest to a place
 */
function nearest({ series, map }, px, py, x, y) {
  const { xs, ys } = series[0];
  let best = -1;
  let least = Infinity;
  for (let i = 0; i < xs.length; i++) {
    const distance = map ? Math.hypot(px(xs[i]) - x, py(ys[i]) - y) : Math.abs(px(xs[i]) - x);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

/**
 * @param {number} index
 * @param {number} lines
 */
function colour(index, lines) {
  return lines > COLOURS ? "ramp" : `c${index}`;
}

/**
 * @param {Chart} chart
 * @param {number} drawn
 */
function hint({ series, map }, drawn) {
  if (drawn < series.length) return `${count(drawn)} of ${count(series.length)} lines are drawn.`;
  return map
    ? "Dashed: the straight lines between the knots."
    : "Point at the chart, or focus it and use the arrow keys.";
}

/**
 * The values at one point.
 * @param {Chart} chart
 * @param {number} at
 * @param {number} picked
 */
function describe({ series, map, x, y }, at, picked) {
  if (map) return `t = ${count(at)}`;
  const where = `${x} = ${short(series[0].xs[at])}`;
  if (picked >= 0) return `${where}: ${series[picked].name} ${short(series[picked].ys[at])}`;
  if (series.length === 1) return `${where}: ${y} ${short(series[0].ys[at])}`;
  const [low, high] = series.reduce(
    ([a, b], { ys }) => [Math.min(a, ys[at]), Math.max(b, ys[at])],
    [Infinity, -Infinity],
  );
  return `${where}: ${y} from ${short(low)} to ${short(high)}`;
}

/**
 * @param {{ series: Series, index: number }[]} lines
 * @param {number} total
 * @param {(index: number) => void} pick
 */
function legend(lines, total, pick) {
  const buttons = lines.map(({ series, index }) => {
    const swatch = make("span", { class: `swatch ${colour(index, total)}` });
    swatch.style.setProperty("--share", String(index / Math.max(1, total - 1)));
    const button = make(
      "button",
      { type: "button", "aria-pressed": "false" },
      swatch,
      make("span", { class: "name" }, series.name),
    );
    button.addEventListener("click", () => {
      const wasPressed = button.getAttribute("aria-pressed") === "true";
      for (const other of buttons) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(!wasPressed));
      pick(index);
    });
    return button;
  });
  return make(
    "div",
    { class: "legend", role: "group", "aria-label": "Layers: press one to show it alone" },
    buttons,
  );
}
