/** Items: every float of 16 bits, rounding once, and the hash. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { bufferValues, fromFloat64, toFloat64 } from "../src/items.js";
import { Sha256 } from "../src/sha256.js";

/** @typedef {"F16" | "BF16"} Half */

for (const type of /** @type {Half[]} */ (["F16", "BF16"])) {
  const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const values = toFloat64(type, new Uint8Array(patterns.buffer));
  const infinity = type === "F16" ? 0x7c00 : 0x7f80;
  const bitsOf = (/** @type {number} */ value) =>
    new Uint16Array(fromFloat64(type, Float64Array.of(value)).buffer)[0];

  test(`${type}: every number keeps its bits`, () => {
    values.forEach((value, bits) => {
      if (!Number.isNaN(value)) assert.equal(bitsOf(value), bits);
      else assert.ok((bits & 0x7fff) > infinity);
    });
  });

  test(`${type}: ties go to even, and whatever is nearer to the nearest`, () => {
    for (let bits = 0; bits + 1 < infinity; bits++) {
      const middle = (values[bits] + values[bits + 1]) / 2;
      assert.equal(bitsOf(middle), bits + (bits & 1));
      assert.equal(bitsOf(-middle), 0x8000 + bits + (bits & 1));
      assert.equal(bitsOf(middle * (1 - 2 ** -52)), bits);
      assert.equal(bitsOf(middle * (1 + 2 ** -52)), bits + 1);
    }
  });

  test(`${type}: what is too large becomes infinite`, () => {
    const last = values[infinity - 1];
    const half = (last - values[infinity - 2]) / 2;
    assert.equal(bitsOf(last + half), infinity);
    assert.equal(bitsOf((last + half) * (1 - 2 ** -52)), infinity - 1);
    assert.equal(bitsOf(-1e300), 0x8000 + infinity);
    assert.equal(bitsOf(5e-324), 0);
  });
}

test("module buffers of every type have values", () => {
  assert.deepEqual(bufferValues("BOOL", Uint8Array.of(0, 1)), [false, true]);
  assert.deepEqual(bufferValues("I8", Uint8Array.of(255)), [-1]);
  assert.deepEqual(bufferValues("I64", new Uint8Array(8).fill(255)), [-1n]);
  assert.deepEqual(bufferValues("U16", Uint8Array.of(1, 2)), [513]);
  assert.deepEqual(bufferValues("F8_E4M3", Uint8Array.of(0x7e, 0x01, 0xb8, 0x7f)), [448, 2 ** -9, -1, NaN]);
  assert.deepEqual(bufferValues("F8_E5M2", Uint8Array.of(0x7b, 0x7c, 0x01)), [57344, Infinity, 2 ** -16]);
  assert.deepEqual(bufferValues("F8_E8M0", Uint8Array.of(127, 0, 255)), [1, 2 ** -127, NaN]);
  assert.deepEqual(bufferValues("C64", new Uint8Array(Float32Array.of(1, -2).buffer)), [1, -2]);
});

test("the hash is SHA-256, in pieces of any size", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7919) >> 3);
  for (let length = 0; length < 300; length++) {
    const hash = new Sha256();
    for (let at = 0; at < length; at += 37) hash.update(bytes.subarray(at, Math.min(at + 37, length)));
    assert.equal(hash.hex(), createHash("sha256").update(bytes.subarray(0, length)).digest("hex"));
  }
});
