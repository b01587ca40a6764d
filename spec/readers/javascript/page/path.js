/** The path of a trajectory: distances, lengths, and a map in two dimensions. */

/** @typedef {import("../src/tables.js").Matrix} Matrix */
/** @typedef {import("../src/trajectory.js").Trajectory} Trajectory */

/**
 * Distance from the start at every timestep, from the Gram matrix.
 * @param {Matrix} gram
 * @returns {Float64Array}
 */
export function distances({ rows, data }) {
  return Float64Array.from({ length: rows }, (_, t) => Math.sqrt(Math.max(0, data[t * rows + t])));
}

/**
 * Length of every step over all layers, from the step norms.
 * @param {Matrix} norms
 * @returns {Float64Array}
 */
export function stepLengths({ rows, columns, data }) {
  return Float64Array.from({ length: rows }, (_, t) =>
    Math.hypot(...data.subarray(t * columns, (t + 1) * columns)),
  );
}

/**
 * Length of the path up to every timestep.
 * @param {Float64Array} steps
 * @returns {Float64Array}
 */
export function pathLengths(steps) {
  const lengths = new Float64Array(steps.length + 1);
  steps.forEach((step, t) => (lengths[t + 1] = lengths[t] + step));
  return lengths;
}

/**
 * Distance from the start at every timestep, from the weights themselves.
 * @param {Trajectory} trajectory
 * @param {(done: number) => void} onProgress
 * @returns {Promise<Float64Array>}
 */
export async function measure(trajectory, onProgress) {
  const start = (await trajectory.weights(0)).toFloat64();
  const result = new Float64Array(trajectory.timesteps);
  for (let t = 1; t < result.length; t++) {
    const weights = (await trajectory.weights(t)).toFloat64();
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += (weights[i] - start[i]) ** 2;
    result[t] = Math.sqrt(sum);
    onProgress(t + 1);
  }
  return result;
}

/**
 * The plane that shows most of the path: the two principal components of the timesteps.
 * @param {Matrix} gram of the vectors from the start
 * @returns {{ x: Float64Array, y: Float64Array, share: number }} coordinates, and the share of the variance they show
 */
export function project({ rows: n, data }) {
  const means = Float64Array.from(
    { length: n },
    (_, a) => data.subarray(a * n, (a + 1) * n).reduce((s, v) => s + v, 0) / n,
  );
  const mean = means.reduce((s, v) => s + v, 0) / n;
  const centred = Float64Array.from(
    data,
    (value, i) => value - means[Math.floor(i / n)] - means[i % n] + mean,
  );
  let total = 0;
  for (let a = 0; a < n; a++) total += centred[a * n + a];
  const first = dominant(centred, n, null);
  const second = dominant(centred, n, first.vector);
  const scale = (/** @type {typeof first} */ { vector, value }, /** @type {number} */ sign) =>
    vector.map((v) => sign * v * Math.sqrt(Math.max(0, value)));
  // The path goes to the right.
  const sign = first.vector[n - 1] < first.vector[0] ? -1 : 1;
  return {
    x: scale(first, sign),
    y: scale(second, 1),
    share: total > 0 ? Math.min(1, (Math.max(0, first.value) + Math.max(0, second.value)) / total) : 1,
  };
}

/**
 * The largest eigenvalue of a symmetric matrix and its vector, by power iteration.
 * @param {Float64Array} matrix
 * @param {number} n
 * @param {Float64Array | null} without a vector to which the result is orthogonal
 * @returns {{ vector: Float64Array, value: number }}
 */
function dominant(matrix, n, without) {
  let vector = Float64Array.from({ length: n }, (_, i) =>
    without ? Math.cos((2 * Math.PI * i) / n) : i - (n - 1) / 2,
  );
  let value = 0;
  for (let round = 0; round < 300; round++) {
    if (without) {
      const along = vector.reduce((s, v, i) => s + v * without[i], 0);
      vector = vector.map((v, i) => v - along * without[i]);
    }
    const length = Math.hypot(...vector);
    if (!(length > 0)) return { vector: new Float64Array(n), value: 0 };
    vector = vector.map((v) => v / length);
    const next = new Float64Array(n);
    for (let a = 0; a < n; a++) for (let b = 0; b < n; b++) next[a] += matrix[a * n + b] * vector[b];
    const before = value;
    value = next.reduce((s, v, i) => s + v * vector[i], 0);
    if (round > 10 && Math.abs(value - before) <= 1e-12 * Math.abs(value)) break;
    if (round < 299) vector = next;
  }
  const length = Math.hypot(...vector) || 1;
  return { vector: vector.map((v) => v / length), value };
}
