/** Tables: where a layer is at a time, to the last bit. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { checkU, place } from "../src/tables.js";

const u = (/** @type {number[]} */ ...data) => ({
  rows: data.length,
  columns: 1,
  data: Float64Array.from(data),
});

test("between timesteps, both products are formed before the sum", () => {
  for (const [a, b, eta] of [
    [0.1, 0.7, 0.3],
    [0.3, 0.35, 0.9],
    [0.2, 0.9, 0.6],
  ]) {
    assert.equal(place(u(a, b), 0, eta, 1, false).w, (1 - eta) * a + eta * b);
  }
  assert.notEqual(place(u(0.1, 0.7), 0, 0.3, 1, false).w, 0.1 + 0.3 * (0.7 - 0.1));
});

test("a table that is not free stays on its knots, and a free one is not clipped", () => {
  assert.deepEqual(place(u(0, 1, 2), 0, 1, 2, false), { s: 1, w: 0 });
  assert.deepEqual(place(u(0, 1, 2), 0, 2, 2, false), { s: 1, w: 1 });
  assert.deepEqual(place(u(-1, 3), 0, 1, 1, true), { s: 0, w: 3 });
});

test("u must be finite, must not fall, and must be s at knot s", () => {
  checkU(u(0, 0.5, 1), [0, 2], false, "t.h5");
  checkU(u(0.5, -2), [0, 1], true, "t.h5");
  for (const [table, knots, isFree] of /** @type {[ReturnType<typeof u>, number[], boolean][]} */ ([
    [u(0, NaN, 1), [0, 2], false],
    [u(0, Infinity), [0, 1], true],
    [u(0, 0.5, 0.4, 1), [0, 3], false],
    [u(0, 0.9, 1), [0, 1, 2], false],
    [u(0.1, 1), [0, 1], false],
    [u(0, 1.5), [0, 1], false],
  ])) {
    assert.throws(() => checkU(table, knots, isFree, "t.h5"), { code: "beta_invalid" });
  }
});
