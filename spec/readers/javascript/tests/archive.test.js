/** Codes of the codec `archive`, on the examples of section 5.3 and on random numbers. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { undoCodes } from "../src/archive.js";

const bytes = (/** @type {number} */ value) => new Uint8Array(Uint32Array.of(value).buffer);
const first = (/** @type {Uint8Array} */ items) => new Uint32Array(items.buffer)[0];

test("the examples of the text", () => {
  const one = undoCodes(bytes(1), bytes(0x3f7ffff0), bytes(0x3f800000), 4, 1, () => 3);
  assert.equal(first(one), 0x3f7fffe3);
  const two = undoCodes(bytes(0), bytes(0x40000000), bytes(0), 4, 1, () => 3);
  assert.equal(first(two), 0x30000000);
  assert.equal(first(undoCodes(bytes(1), bytes(0x3f800000), null, 4, 1, () => 4)), 0x3f7fffff);
});

for (const width of /** @type {const} */ ([2, 4, 8])) {
  test(`${8 * width} bits: the same as the formulas in integers without a limit`, () => {
    const n = BigInt(8 * width);
    const Type = { 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[width];
    let seed = 1n;
    const random = () => {
      seed = (seed * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
      return seed >> (64n - n);
    };
    const edges = [0n, 1n, 2n ** (n - 1n) - 1n, 2n ** (n - 1n), 2n ** n - 1n];
    const numbers = [...edges, ...Array.from({ length: 20 }, random)];
    const items = (/** @type {bigint} */ value) => {
      const array = new Type(1);
      array[0] = /** @type {any} */ (width === 8 ? value : Number(value));
      return new Uint8Array(array.buffer);
    };
    for (const slope of [-1, 0, 1, 2, 3, 4]) {
      for (const one of numbers) {
        for (const two of numbers) {
          const code = random();
          const step = BigInt.asIntN(Number(n), BigInt(slope) * (one - two)) >> 2n;
          const difference = code % 2n ? -(code + 1n) / 2n : code / 2n;
          const expected = BigInt.asUintN(Number(n), one + step + difference);
          const found = undoCodes(items(code), items(one), items(two), width, 1, () => slope);
          assert.equal(BigInt(new Type(/** @type {ArrayBuffer} */ (found.buffer))[0]), expected);
        }
      }
    }
  });
}
