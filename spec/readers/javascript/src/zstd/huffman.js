/** Huffman trees and the streams of literals (RFC 8878, section 4.2). */

import { BackwardBits, ZstdError, highestBit } from "./bits.js";
import { decodeWeights, readFse } from "./fse.js";

const MAX_BITS = 11;

/**
 * A tree as a table: for each value of the next `width` bits the symbol and the number of bits that it takes.
 * @typedef {{ width: number, symbols: Uint8Array, bits: Uint8Array }} Tree
 */

/**
 * Read the description of a tree.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @returns {{ tree: Tree, end: number }}
 */
export function readTree(bytes, start, end) {
  if (start >= end) throw new ZstdError("a tree is missing");
  const head = bytes[start];
  start += 1;
  if (head < 128) {
    const stop = start + head;
    if (stop > end) throw new ZstdError("a tree ends early");
    const { table, end: after } = readFse(bytes, start, stop, 6, 255);
    return { tree: buildTree(decodeWeights(table, bytes, after, stop)), end: stop };
  }
  const count = head - 127;
  const stop = start + ((count + 1) >> 1);
  if (stop > end) throw new ZstdError("a tree ends early");
  const weights = [];
  for (let i = 0; i < count; i++) weights.push((bytes[start + (i >> 1)] >> (i & 1 ? 0 : 4)) & 15);
  return { tree: buildTree(weights), end: stop };
}

/**
 * @param {number[]} weights of all symbols but the last, whose weight follows from the others
 * @returns {Tree}
 */
function buildTree(weights) {
  let sum = 0;
  for (const weight of weights) {
    if (weight > MAX_BITS) throw new ZstdError("a tree is too deep");
    if (weight) sum += 1 << (weight - 1);
  }
  if (sum === 0) throw new ZstdError("a tree without weights");
  const width = highestBit(sum) + 1;
  const rest = (1 << width) - sum;
  if (width > MAX_BITS || rest & (rest - 1)) throw new ZstdError("a tree is not complete");
  const all = [...weights, highestBit(rest) + 1];
  if (!all.includes(1)) throw new ZstdError("a tree without its longest code");
  const symbols = new Uint8Array(1 << width);
  const bits = new Uint8Array(1 << width);
  let at = 0;
  for (let weight = 1; weight <= width; weight++) {
    for (let symbol = 0; symbol < all.length; symbol++) {
      if (all[symbol] !== weight) continue;
      const span = 1 << (weight - 1);
      symbols.fill(symbol, at, at + span);
      bits.fill(width + 1 - weight, at, at + span);
      at += span;
    }
  }
  return { width, symbols, bits };
}

/**
 * Decode one stream, which has to end exactly with the last literal.
 * @param {Tree} tree
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @param {Uint8Array} out filled from its first to its last byte
 */
function decodeStream(tree, bytes, start, end, out) {
  const stream = new BackwardBits(bytes, start, end);
  const { width, symbols, bits } = tree;
  const mask = (1 << width) - 1;
  let left = stream.left;
  let i = 0;
  for (; left >= width && i < out.length; i++) {
    const at = left - width;
    const byte = start + (at >> 3);
    const word = bytes[byte] | (bytes[byte + 1] << 8) | (bytes[byte + 2] << 16);
    const index = (word >>> (at & 7)) & mask;
    out[i] = symbols[index];
    left -= bits[index];
  }
  for (; left > 0 && i < out.length; i++) {
    stream.left = left;
    const index = stream.read(width);
    out[i] = symbols[index];
    left -= bits[index];
  }
  if (left !== 0 || i < out.length)
    throw new ZstdError("a stream of literals does not end with the last one");
}

/**
 * Decode literals from one stream, or from four with a table of their sizes.
 * @param {Tree} tree
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @param {boolean} four
 * @param {Uint8Array} out
 */
export function decodeLiterals(tree, bytes, start, end, four, out) {
  if (!four) {
    decodeStream(tree, bytes, start, end, out);
    return;
  }
  const part = (out.length + 3) >> 2;
  if (start + 6 > end || 3 * part > out.length) throw new ZstdError("four streams of literals do not fit");
  let from = start + 6;
  for (let i = 0; i < 4; i++) {
    const to = i < 3 ? from + bytes[start + 2 * i] + (bytes[start + 2 * i + 1] << 8) : end;
    if (to > end) throw new ZstdError("a stream of literals ends early");
    decodeStream(tree, bytes, from, to, out.subarray(i * part, i < 3 ? (i + 1) * part : out.length));
    from = to;
  }
}
