/** The part of the page about one trajectory: facts, the curves of u, the path, and the weights at a time. */

import { UsageError } from "../src/index.js";
import { count, facts, make, part, short, size, table } from "./elements.js";
import { distances, measure, pathLengths, project, stepLengths } from "./path.js";
import { plot } from "./plots.js";

/** @typedef {import("../src/bundle.js").Bundle} Bundle */
/** @typedef {import("../src/trajectory.js").Trajectory} Trajectory */
/** @typedef {(error: unknown) => void} Fail shows an error */

/** Weights up to this many elements over all timesteps are read without being asked for. */
const MEASURE_FREELY = 4_000_000;

/**
 * @param {Bundle} bundle
 * @param {Fail} fail
 */
export function trajectoriesPart(bundle, fail) {
  const total = bundle.trajectories.length;
  if (total === 0) return part("Trajectories", [], make("p", {}, "This bundle has no trajectories."));
  const body = make("div");
  const number = make("input", {
    type: "number",
    min: 0,
    max: total - 1,
    value: 0,
    "aria-label": "Number of the trajectory",
  });
  const [before, after] = [-1, 1].map((step) =>
    make(
      "button",
      {
        type: "button",
        "aria-label": step < 0 ? "Previous trajectory" : "Next trajectory",
        onclick: () => go(Number(number.value) + step),
      },
      step < 0 ? "‹" : "›",
    ),
  );
  const go = (/** @type {number} */ to) => {
    if (!Number.isInteger(to) || to < 0 || to >= total) return;
    number.value = String(to);
    before.disabled = to === 0;
    after.disabled = to === total - 1;
    body.replaceChildren();
    show(bundle, bundle.trajectory(to), body, fail).catch(fail);
  };
  number.addEventListener("change", () => go(Number(number.value)));
  go(0);
  const controls = make(
    "div",
    { class: "controls" },
    before,
    number,
    make("span", { class: "muted" }, `of 0 to ${count(total - 1)}`),
    after,
  );
  return part("Trajectory", total > 1 ? [controls] : [], body);
}

/**
 * @param {Bundle} bundle
 * @param {Trajectory} trajectory
 * @param {HTMLElement} body
 * @param {Fail} fail
 */
async function show(bundle, trajectory, body, fail) {
  if (trajectory.refusal) {
    body.append(
      make("p", { class: "alert" }, `${trajectory.refusal.message} [${trajectory.refusal.code}]`),
      facts([
        ["Timesteps", count(trajectory.timesteps)],
        ["Digest", trajectory.digest, "wide mono"],
      ]),
    );
    return;
  }
  const charts = make("div", { class: "charts" });
  body.append(describe(bundle, trajectory), charts, weightsForm(bundle, trajectory, fail));
  const figures = [uFigure(bundle, trajectory), pathFigure(bundle, trajectory, fail)].map((figure) =>
    figure.catch(fail),
  );
  for (const figure of figures) charts.append((await figure) ?? "");
}

/**
 * @param {Bundle} bundle
 * @param {Trajectory} trajectory
 */
function describe(bundle, trajectory) {
  const { entry, timesteps } = trajectory;
  const last = timesteps - 1;
  const unit = bundle.manifest.provenance.timestep?.kind;
  const first = trajectory.numberOf(0);
  const knots = entry.knots && list(entry.knots);
  const { origin } = entry;
  const source = origin && bundle.manifest.provenance.sources?.[origin.file];
  return facts([
    ["Timesteps", `${count(timesteps)} (t = 0 to ${count(last)})`],
    [
      "Number in the source",
      first === null
        ? null
        : `${unit ?? "number"} ${count(first)} to ${count(trajectory.numberOf(last) ?? 0)}`,
    ],
    ["Knots", knots ? `${count(entry.knots?.length ?? 0)}: ${knots}` : null],
    ["Free table", entry.table?.free ? "yes: u need not rise from 0 to the last knot" : null],
    ["Module buffers", entry.buffers === undefined ? null : "yes"],
    [
      "Pieces",
      entry.pieces ? `a digest of every ${entry.pieces.size ? size(entry.pieces.size) : "chunk"}` : null,
    ],
    [
      "Origin",
      origin ? `trajectory ${origin.trajectory} of ${source?.name ?? `source ${origin.file}`}` : null,
    ],
    ["Features", entry.requires_read?.length ? entry.requires_read.join(", ") : null],
    ["Digest", trajectory.digest, "wide mono"],
  ]);
}

/** @param {number[]} numbers */
function list(numbers) {
  return numbers.length <= 12
    ? numbers.join(", ")
    : `${numbers.slice(0, 10).join(", ")}, … ${numbers[numbers.length - 1]}`;
}

/** @param {number} length */
const steps = (length) => Float64Array.from({ length }, (_, t) => t);

/**
 * The curves of u.
 * @param {Bundle} bundle
 * @param {Trajectory} trajectory
 */
async function uFigure(bundle, trajectory) {
  const u = await trajectory.u();
  if (!u) return null;
  const knots = trajectory.entry.knots ?? [];
  const isBeta = knots.length === 2 && !trajectory.entry.table?.free;
  const xs = steps(u.rows);
  const series = bundle.manifest.layers.map(({ name }, l) => ({
    name,
    xs,
    ys: Float64Array.from({ length: u.rows }, (_, t) => u.data[t * u.columns + l]),
  }));
  const title = isBeta ? "Beta: how far along each layer is" : "u: how far along the knots each layer is";
  return make(
    "figure",
    { class: "chart", id: "chart-u" },
    make("figcaption", {}, make("h3", {}, title)),
    plot({
      label: `${title}, over ${u.rows} timesteps and ${u.columns} layers.`,
      series,
      x: "t",
      y: isBeta ? "beta" : "u",
      marks: knots.slice(1, -1),
    }),
  );
}

/** @typedef {{ name: string, make: () => HTMLElement }} View */

/**
 * The path, in every way that the tables allow.
 * @param {Bundle} bundle
 * @param {Trajectory} trajectory
 * @param {Fail} fail
 */
async function pathFigure(bundle, trajectory, fail) {
  const gram = await trajectory.gram();
  const norms = await trajectory.stepNorms();
  /** @type {View[]} */
  const views = [];
  const line = (/** @type {string} */ name, /** @type {string} */ y, /** @type {Float64Array} */ ys) =>
    views.push({
      name,
      make: () =>
        plot({
          label: `${name} at every timestep.`,
          series: [{ name, xs: steps(ys.length), ys }],
          x: "t",
          y,
          floor: 0,
        }),
    });
  if (gram) {
    line("Distance from the start", "distance", distances(gram));
    const { x, y, share } = project(gram);
    const percent = `${(100 * share).toFixed(share > 0.995 ? 1 : 0)} %`;
    views.push({
      name: "Map",
      make: () =>
        plot({
          label: `The path in its plane of largest variance, which shows ${percent} of it.`,
          series: [{ name: "path", xs: x, ys: y }],
          x: `shows ${percent} of the variance`,
          y: "",
          map: true,
          marks: trajectory.entry.knots,
        }),
    });
  }
  if (norms) {
    const lengths = stepLengths(norms);
    line("Length of the path", "length", pathLengths(lengths));
    line("Length of each step", "length", lengths);
  }
  if (views.length === 0) return measured(bundle, trajectory, fail);
  return figureOf(views);
}

/** @param {View[]} views */
function figureOf(views) {
  const place = make("div");
  const choose = (/** @type {View} */ view) => place.replaceChildren(view.make());
  const tabs = views.map((view, i) =>
    make(
      "label",
      {},
      make("input", { type: "radio", name: "path-view", checked: i === 0, onchange: () => choose(view) }),
      view.name,
    ),
  );
  choose(views[0]);
  return make(
    "figure",
    { class: "chart", id: "chart-path" },
    make(
      "figcaption",
      {},
      make("h3", {}, "Path"),
      make("div", { class: "tabs", role: "radiogroup", "aria-label": "What to show of the path" }, tabs),
    ),
    place,
  );
}

/**
 * The distance from the start, from the weights: at once if they are few, else on demand.
 * @param {Bundle} bundle
 * @param {Trajectory} trajectory
 * @param {Fail} fail
 */
function measured(bundle, trajectory, fail) {
  const place = make("div");
  const run = async () => {
    const bar = make("progress", { max: trajectory.timesteps, value: 0, "aria-label": "Timesteps read" });
    place.replaceChildren(bar);
    const ys = await measure(trajectory, (done) => (bar.value = done));
    const label = "Distance from the start at every timestep.";
    place.replaceChildren(
      plot({
        label,
        series: [{ name: "distance", xs: steps(ys.length), ys }],
        x: "t",
        y: "distance",
        floor: 0,
      }),
    );
  };
  const elements = bundle.manifest.elements * trajectory.timesteps;
  if (elements <= MEASURE_FREELY) run().catch(fail);
  else {
    place.append(
      make("p", { class: "muted" }, "This trajectory has no tables of distances."),
      make(
        "button",
        { type: "button", onclick: () => run().catch(fail) },
        `Read all ${count(elements)} weights`,
      ),
    );
  }
  return make(
    "figure",
    { class: "chart", id: "chart-path" },
    make("figcaption", {}, make("h3", {}, "Distance from the start")),
    place,
  );
}

/**
 * Statistics of the weights at a time.
 * @param {Bundle} bundle
 * @param {Trajectory} trajectory
 * @param {Fail} fail
 */
function weightsForm(bundle, trajectory, fail) {
  const { manifest } = bundle;
  const last = trajectory.timesteps - 1;
  const place = make("div", { id: "weights" });
  const time = make("input", {
    type: "number",
    id: "time",
    min: 0,
    max: last,
    step: trajectory.convex ? "any" : 1,
    value: 0,
  });
  const form = make(
    "form",
    { class: "controls weights" },
    make("label", { for: "time" }, `Weights at t = 0 to ${count(last)}`),
    time,
    make("button", { type: "submit" }, "Read"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      if (time.value === "") throw new UsageError("t must be a number");
      const weights = await trajectory.weights(Number(time.value));
      const values = weights.toFloat64();
      place.replaceChildren(
        table(
          [
            ["Layer"],
            ["Elements", "number"],
            ["Norm", "number"],
            ["Mean", "number"],
            ["Least", "number"],
            ["Greatest", "number"],
          ],
          manifest.layers.length,
          (l) => {
            const { name, parameters } = manifest.layers[l];
            const found = statistics(
              parameters.map((i) => values.subarray(manifest.starts[i], manifest.starts[i + 1])),
            );
            const cells = [
              count(found.elements),
              ...[found.norm, found.mean, found.least, found.greatest].map(short),
            ];
            return make(
              "tr",
              {},
              make("td", {}, name),
              cells.map((cell) => make("td", { class: "number" }, cell)),
            );
          },
        ),
      );
    } catch (error) {
      fail(error);
    }
  });
  return make("div", {}, form, place);
}

/** @param {Float64Array[]} parts */
function statistics(parts) {
  let [elements, sum, squares, least, greatest] = [0, 0, 0, Infinity, -Infinity];
  for (const values of parts) {
    elements += values.length;
    for (const value of values) {
      sum += value;
      squares += value * value;
      if (value < least) least = value;
      if (value > greatest) greatest = value;
    }
  }
  return { elements, norm: Math.sqrt(squares), mean: sum / elements, least, greatest };
}
