/** Finite state entropy: tables and their headers (RFC 8878, section 4.1). */

import { BackwardBits, ForwardBits, ZstdError, highestBit } from "./bits.js";

/**
 * A decoding table: for each state the symbol, the number of bits to read, and what to add to them.
 * @typedef {{ accuracy: number, symbols: Uint8Array, bits: Uint8Array, next: Uint16Array }} FseTable
 */

/**
 * Build a table from probabilities; -1 stands for "less than one".
 * @param {ArrayLike<number>} probabilities
 * @param {number} accuracy
 * @returns {FseTable}
 */
export function buildFse(probabilities, accuracy) {
  const size = 1 << accuracy;
  const symbols = new Uint8Array(size);
  const bits = new Uint8Array(size);
  const next = new Uint16Array(size);
  const count = Uint16Array.from(probabilities, Math.abs);
  let high = size;
  for (let s = 0; s < probabilities.length; s++) if (probabilities[s] === -1) symbols[--high] = s;
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (let s = 0; s < probabilities.length; s++) {
    for (let i = 0; i < probabilities[s]; i++) {
      symbols[at] = s;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  }
  for (let state = 0; state < size; state++) {
    const value = count[symbols[state]]++;
    bits[state] = accuracy - highestBit(value);
    next[state] = (value << bits[state]) - size;
  }
  return { accuracy, symbols, bits, next };
}

/**
 * A table of a single symbol, which takes no bits.
 * @param {number} symbol
 * @returns {FseTable}
 */
export function singleFse(symbol) {
  return { accuracy: 0, symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), next: new Uint16Array(1) };
}

/**
 * Read the header of a table.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @param {number} maxAccuracy
 * @param {number} maxSymbol
 * @returns {{ table: FseTable, end: number }}
 */
export function readFse(bytes, start, end, maxAccuracy, maxSymbol) {
  const stream = new ForwardBits(bytes, start, end);
  const accuracy = stream.read(4) + 5;
  if (accuracy > maxAccuracy) throw new ZstdError("a table is too large");
  const probabilities = [];
  let left = 1 << accuracy;
  while (left > 0) {
    const width = highestBit(left + 1) + 1;
    const low = (1 << (width - 1)) - 1;
    const threshold = (1 << width) - 1 - (left + 1);
    let value = stream.read(width - 1);
    if (value >= threshold) {
      value |= stream.read(1) << (width - 1);
      if (value > low) value -= threshold;
    }
    const probability = value - 1;
    left -= Math.abs(probability);
    probabilities.push(probability);
    if (probability === 0) {
      let zeros;
      do {
        zeros = stream.read(2);
        for (let i = 0; i < zeros; i++) probabilities.push(0);
      } while (zeros === 3);
    }
    if (probabilities.length > maxSymbol + 1) throw new ZstdError("a table has too many symbols");
  }
  if (left < 0) throw new ZstdError("a table has wrong probabilities");
  return { table: buildFse(probabilities, accuracy), end: stream.byte() };
}

/**
 * Decode the weights of a Huffman tree: two states that take turns until the bits are used up.
 * @param {FseTable} table
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @returns {number[]} at most 255 weights
 */
export function decodeWeights(table, bytes, start, end) {
  const stream = new BackwardBits(bytes, start, end);
  const states = [stream.read(table.accuracy), stream.read(table.accuracy)];
  if (stream.left < 0) throw new ZstdError("the weights of a tree end early");
  const weights = [];
  for (let turn = 0; ; turn ^= 1) {
    const state = states[turn];
    weights.push(table.symbols[state]);
    if (weights.length > 254) throw new ZstdError("a tree has too many weights");
    states[turn] = table.next[state] + stream.read(table.bits[state]);
    if (stream.left < 0) {
      weights.push(table.symbols[states[turn ^ 1]]);
      return weights;
    }
  }
}
