/** Tables of a convexified trajectory: u, step norms and the Gram matrix (6.2, 6.3). */

import { Refusal, quoted } from "./errors.js";
import { own } from "./items.js";

/** A matrix of float64 in C order. @typedef {{ rows: number, columns: number, data: Float64Array }} Matrix */

/**
 * @param {Uint8Array} bytes
 * @param {number} rows
 * @param {number} columns
 * @returns {Matrix}
 */
export function matrix(bytes, rows, columns) {
  return { rows, columns, data: new Float64Array(own(bytes)) };
}

/**
 * Check a table u (6.3, 6.7).
 * @param {Matrix} u
 * @param {number[]} knots
 * @param {boolean} isFree
 * @param {string} path for messages
 */
export function checkU({ rows, columns, data }, knots, isFree, path) {
  const wrong = (/** @type {number} */ t, /** @type {number} */ l, /** @type {string} */ what) =>
    new Refusal(
      "beta_invalid",
      `${quoted(path)}: u of layer ${l} at timestep ${t} is ${data[t * columns + l]}, ${what}`,
    );
  let knot = 0;
  for (let t = 0; t < rows; t++) {
    const isKnot = t === knots[knot];
    for (let l = 0; l < columns; l++) {
      const value = data[t * columns + l];
      if (!Number.isFinite(value)) throw wrong(t, l, "which is not finite");
      if (isFree) continue;
      if (t > 0 && value < data[(t - 1) * columns + l]) throw wrong(t, l, "less than at the timestep before");
      if (isKnot && value !== knot) throw wrong(t, l, `but must be ${knot} at this knot`);
    }
    if (isKnot) knot += 1;
  }
}

/**
 * Where layer l is at time t: `(1 - w) · knot_s + w · knot_(s+1)` (6.4, 6.7).
 * @param {Matrix} u
 * @param {number} layer
 * @param {number} t
 * @param {number} segments S
 * @param {boolean} isFree
 * @returns {{ s: number, w: number }}
 */
export function place({ rows, columns, data }, layer, t, segments, isFree) {
  const n = Math.min(Math.floor(t), rows - 2);
  const eta = t - n;
  const a = data[n * columns + layer];
  const b = data[(n + 1) * columns + layer];
  const x = eta === 0 ? a : eta === 1 ? b : (1 - eta) * a + eta * b;
  if (isFree) return { s: 0, w: x };
  const s = Math.min(Math.floor(x), segments - 1);
  return { s, w: Math.min(Math.max(x - s, 0), 1) };
}
