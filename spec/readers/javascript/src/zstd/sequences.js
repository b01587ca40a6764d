/** Sequences: copies from what was decoded before (RFC 8878, section 3.1.1.3.2). */

import { BackwardBits, ZstdError } from "./bits.js";
import { buildFse, readFse, singleFse } from "./fse.js";

/** @typedef {import("./fse.js").FseTable} FseTable */

/**
 * What blocks of one frame share: tables, and the three last offsets.
 * @typedef {{ lengths: FseTable | null, offsets: FseTable | null, matches: FseTable | null, recent: number[] }} History
 */

// The predefined distributions, as a number per symbol.
const LENGTHS = buildFse(
  [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1,
    -1, -1,
  ],
  6,
);
const OFFSETS = buildFse([1, 1, 1, 1, 1, 1, 2, 2, 2, ...Array(15).fill(1), ...Array(5).fill(-1)], 5);
const MATCHES = buildFse([1, 4, 3, 2, 2, 2, 2, 2, 2, ...Array(37).fill(1), ...Array(7).fill(-1)], 6);

// Extra bits of each code; the baselines follow from them.
const LENGTH_BITS = [...Array(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const MATCH_BITS = [
  ...Array(32).fill(0),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
];
const LENGTH_BASE = baselines(LENGTH_BITS, 0);
const MATCH_BASE = baselines(MATCH_BITS, 3);

/**
 * @param {number[]} bits
 * @param {number} first
 */
function baselines(bits, first) {
  let base = first;
  return bits.map((count) => (base += 1 << count) - (1 << count));
}

/**
 * Decode the sequences of a block.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @param {Uint8Array} literals
 * @param {History} history
 * @param {Uint8Array} out
 * @param {number} at where the block begins in `out`
 * @param {number} limit where it ends at the latest
 * @returns {number} where it ends
 */
export function decodeSequences(bytes, start, end, literals, history, out, at, limit) {
  const need = (/** @type {number} */ count) => {
    if (start + count > end) throw new ZstdError("the header of sequences ends early");
  };
  need(1);
  let count = bytes[start++];
  if (count > 127) {
    need(count === 255 ? 2 : 1);
    if (count === 255) {
      count = bytes[start] + (bytes[start + 1] << 8) + 0x7f00;
      start += 2;
    } else count = ((count - 128) << 8) + bytes[start++];
  }
  if (count === 0) {
    if (start !== end) throw new ZstdError("bytes after the last sequence");
    return copyLiterals(literals, 0, literals.length, out, at, limit);
  }
  need(1);
  const modes = bytes[start++];
  if (modes & 3) throw new ZstdError("reserved bits are set");

  /**
   * @param {number} mode
   * @param {FseTable} predefined
   * @param {FseTable | null} last
   * @param {number} maxAccuracy
   * @param {number} maxSymbol
   * @returns {FseTable}
   */
  const table = (mode, predefined, last, maxAccuracy, maxSymbol) => {
    if (mode === 0) return predefined;
    if (mode === 1) {
      need(1);
      if (bytes[start] > maxSymbol) throw new ZstdError("an unknown code");
      return singleFse(bytes[start++]);
    }
    if (mode === 2) {
      const read = readFse(bytes, start, end, maxAccuracy, maxSymbol);
      start = read.end;
      return read.table;
    }
    if (!last) throw new ZstdError("a table is repeated that does not exist");
    return last;
  };
  const lengths = (history.lengths = table(modes >> 6, LENGTHS, history.lengths, 9, 35));
  const offsets = (history.offsets = table((modes >> 4) & 3, OFFSETS, history.offsets, 8, 31));
  const matches = (history.matches = table((modes >> 2) & 3, MATCHES, history.matches, 9, 52));

  const stream = new BackwardBits(bytes, start, end);
  let lengthState = stream.read(lengths.accuracy);
  let offsetState = stream.read(offsets.accuracy);
  let matchState = stream.read(matches.accuracy);
  let used = 0;
  for (let i = 0; i < count; i++) {
    const offsetCode = offsets.symbols[offsetState];
    if (offsetCode > 24) throw new ZstdError("an offset is too large");
    const offsetValue = (1 << offsetCode) + stream.read(offsetCode);
    const matchCode = matches.symbols[matchState];
    let match = MATCH_BASE[matchCode] + stream.read(MATCH_BITS[matchCode]);
    const lengthCode = lengths.symbols[lengthState];
    const length = LENGTH_BASE[lengthCode] + stream.read(LENGTH_BITS[lengthCode]);
    if (i + 1 < count) {
      lengthState = lengths.next[lengthState] + stream.read(lengths.bits[lengthState]);
      matchState = matches.next[matchState] + stream.read(matches.bits[matchState]);
      offsetState = offsets.next[offsetState] + stream.read(offsets.bits[offsetState]);
    }
    if (stream.left < 0) throw new ZstdError("the sequences end early");

    at = copyLiterals(literals, used, used + length, out, at, limit);
    used += length;
    const offset = resolveOffset(offsetValue, length, history.recent);
    if (offset > at || match > limit - at) throw new ZstdError("a copy reaches outside of the frame");
    for (; match > 0; match--, at++) out[at] = out[at - offset];
  }
  if (stream.left !== 0) throw new ZstdError("bits after the last sequence");
  return copyLiterals(literals, used, literals.length, out, at, limit);
}

/**
 * @param {number} value 1 to 3 stand for recent offsets
 * @param {number} length number of literals before the copy
 * @param {number[]} recent changed
 * @returns {number}
 */
function resolveOffset(value, length, recent) {
  if (value > 3) {
    recent[2] = recent[1];
    recent[1] = recent[0];
    return (recent[0] = value - 3);
  }
  const which = value - (length ? 1 : 0);
  const offset = which === 3 ? recent[0] - 1 : recent[which];
  if (offset === 0) throw new ZstdError("an offset of 0");
  if (which > 1) recent[2] = recent[1];
  if (which > 0) recent[1] = recent[0];
  return (recent[0] = offset);
}

/**
 * @param {Uint8Array} literals
 * @param {number} from
 * @param {number} to
 * @param {Uint8Array} out
 * @param {number} at
 * @param {number} limit
 */
function copyLiterals(literals, from, to, out, at, limit) {
  if (to > literals.length || to - from > limit - at)
    throw new ZstdError("more literals than there is room for");
  for (let i = from; i < to; i++) out[at++] = literals[i];
  return at;
}
