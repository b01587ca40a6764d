/** XXH64 with seed 0, of which zstd keeps the lower half as a content checksum (RFC 8878, section 3.1.1). */

// The five primes of the algorithm.
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;
const MASK = 0xffffffffffffffffn;

const mask = (/** @type {bigint} */ x) => x & MASK;
const rotate = (/** @type {bigint} */ x, /** @type {bigint} */ n) => mask((x << n) | (x >> (64n - n)));
const round = (/** @type {bigint} */ sum, /** @type {bigint} */ lane) =>
  mask(rotate(mask(sum + lane * P2), 31n) * P1);

/** 64-bit numbers as halves, because a bigint per lane would take most of the time of decoding. */
const P1_HIGH = Number(P1 >> 32n) | 0;
const P1_LOW = Number(P1 & 0xffffffffn) | 0;
const P2_HIGH = Number(P2 >> 32n) | 0;
const P2_LOW = Number(P2 & 0xffffffffn) | 0;

/**
 * Upper half of the product of two unsigned 32-bit numbers.
 * @param {number} a
 * @param {number} b
 */
function high(a, b) {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(other / 0x10000)) | 0;
}

/**
 * @param {Uint8Array} bytes
 * @returns {number} the lower 32 bits
 */
export function xxh64Low(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let hash = P5;
  if (bytes.length >= 32) {
    const sums = stripes(view, bytes.length - (bytes.length % 32));
    at = bytes.length - (bytes.length % 32);
    hash = mask(rotate(sums[0], 1n) + rotate(sums[1], 7n) + rotate(sums[2], 12n) + rotate(sums[3], 18n));
    for (const sum of sums) hash = mask((hash ^ round(0n, sum)) * P1 + P4);
  }
  hash = mask(hash + BigInt(bytes.length));
  for (; at + 8 <= bytes.length; at += 8) {
    hash = mask(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
  }
  if (at + 4 <= bytes.length) {
    hash = mask(rotate(hash ^ mask(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
    at += 4;
  }
  for (; at < bytes.length; at++) hash = mask(rotate(hash ^ mask(BigInt(bytes[at]) * P5), 11n) * P1);
  hash = mask((hash ^ (hash >> 33n)) * P2);
  hash = mask((hash ^ (hash >> 29n)) * P3);
  return Number((hash ^ (hash >> 32n)) & 0xffffffffn);
}

/**
 * The four running sums after all stripes of 32 bytes.
 * @param {DataView} view
 * @param {number} end a multiple of 32
 * @returns {bigint[]}
 */
function stripes(view, end) {
  const start = [mask(P1 + P2), P2, 0n, mask(-P1)];
  const highs = Int32Array.from(start, (x) => Number(x >> 32n) | 0);
  const lows = Int32Array.from(start, (x) => Number(x & 0xffffffffn) | 0);
  for (let at = 0; at < end; at += 8) {
    const lane = (at >> 3) & 3;
    const xl = view.getInt32(at, true);
    const xh = view.getInt32(at + 4, true);
    // sum += x * P2
    let low = (Math.imul(xl, P2_LOW) >>> 0) + (lows[lane] >>> 0);
    const carry = low > 0xffffffff ? 1 : 0;
    low |= 0;
    const top = (high(xl, P2_LOW) + Math.imul(xl, P2_HIGH) + Math.imul(xh, P2_LOW) + highs[lane] + carry) | 0;
    // sum = rotate(sum, 31) * P1
    const rl = (low << 31) | (top >>> 1);
    const rh = (top << 31) | (low >>> 1);
    lows[lane] = Math.imul(rl, P1_LOW);
    highs[lane] = high(rl, P1_LOW) + Math.imul(rl, P1_HIGH) + Math.imul(rh, P1_LOW);
  }
  return start.map((_, i) => (BigInt(highs[i] >>> 0) << 32n) | BigInt(lows[i] >>> 0));
}
