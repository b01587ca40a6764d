/** Codes of the codec `archive` (5.3): differences between the bits of weights and a prediction. */

import { own } from "./items.js";

const TYPES = { 2: Uint16Array, 4: Int32Array, 8: BigInt64Array };

/**
 * The bits of a timestep from its codes and the two timesteps before.
 * @param {Uint8Array} codes
 * @param {Uint8Array} before the timestep before
 * @param {Uint8Array | null} earlier the one before that; null if the timestep before is a keyframe
 * @param {number} width bytes of an item
 * @param {number} chunk elements of a chunk
 * @param {(chunk: number) => number} slopeOf slope of a chunk of this timestep, in quarters of the last step
 * @returns {Uint8Array}
 */
export function undoCodes(codes, before, earlier, width, chunk, slopeOf) {
  const Type = TYPES[/** @type {2 | 4 | 8} */ (width)];
  const code = new Type(own(codes));
  const one = new Type(own(before));
  const two = earlier ? new Type(own(earlier)) : one;
  for (let from = 0, i = 0; from < code.length; from += chunk, i++) {
    const to = Math.min(from + chunk, code.length);
    const slope = earlier ? slopeOf(i) : 0;
    if (code instanceof BigInt64Array)
      undo64(code, /** @type {any} */ (one), /** @type {any} */ (two), slope, from, to);
    else undo32(code, /** @type {any} */ (one), /** @type {any} */ (two), slope, from, to, 32 - 8 * width);
  }
  return new Uint8Array(code.buffer);
}

/**
 * Items of 16 and 32 bits. What is stored back into the array is cut to its width.
 * @param {Uint16Array | Int32Array} code changed into the bits
 * @param {Uint16Array | Int32Array} one
 * @param {Uint16Array | Int32Array} two
 * @param {number} slope
 * @param {number} from
 * @param {number} to
 * @param {number} spare bits that an item does not use of 32
 */
function undo32(code, one, two, slope, from, to, spare) {
  for (let i = from; i < to; i++) {
    const step = (Math.imul(slope, one[i] - two[i]) << spare) >> spare;
    code[i] = one[i] + (step >> 2) + ((code[i] >>> 1) ^ -(code[i] & 1));
  }
}

/**
 * Items of 64 bits.
 * @param {BigInt64Array} code changed into the bits
 * @param {BigInt64Array} one
 * @param {BigInt64Array} two
 * @param {number} slope
 * @param {number} from
 * @param {number} to
 */
function undo64(code, one, two, slope, from, to) {
  const a = BigInt(slope);
  for (let i = from; i < to; i++) {
    const step = BigInt.asIntN(64, a * (one[i] - two[i]));
    const unsigned = BigInt.asUintN(64, code[i]);
    code[i] = one[i] + (step >> 2n) + ((unsigned >> 1n) ^ -(unsigned & 1n));
  }
}
