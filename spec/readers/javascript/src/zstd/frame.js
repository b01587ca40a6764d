/**
 * One zstd frame, as section 5.2 of the format allows it: with its size and a checksum, without a dictionary.
 *
 * The whole decoder is written for this: it needs no streaming, no skippable frames and no dictionaries, knows the size
 * of the result beforehand, and refuses whatever does not decode to exactly this size.
 */

import { ZstdError } from "./bits.js";
import { decodeLiterals, readTree } from "./huffman.js";
import { decodeSequences } from "./sequences.js";
import { xxh64Low } from "./xxhash.js";

export { ZstdError };

/** @typedef {import("./huffman.js").Tree} Tree */
/** @typedef {import("./sequences.js").History & { tree: Tree | null }} State */

const MAGIC = 0xfd2fb528;
const MAX_WINDOW = 8 * 1024 * 1024;
const MAX_BLOCK = 128 * 1024;

/**
 * Decode a frame that fills all of `bytes`.
 * @param {Uint8Array} bytes
 * @param {number} size number of bytes that it must declare and decode to
 * @returns {Uint8Array}
 * @throws {ZstdError} if anything about it is not as section 5.2 demands
 */
export function decodeFrame(bytes, size) {
  const { start, window } = readHeader(bytes, size);
  const out = new Uint8Array(size);
  const blockLimit = Math.min(window, MAX_BLOCK);
  /** @type {State} */
  const state = { tree: null, lengths: null, offsets: null, matches: null, recent: [1, 4, 8] };
  let from = start;
  let at = 0;
  for (let last = false; !last;) {
    if (from + 3 > bytes.length) throw new ZstdError("the frame ends early");
    const head = bytes[from] | (bytes[from + 1] << 8) | (bytes[from + 2] << 16);
    from += 3;
    last = (head & 1) === 1;
    const kind = (head >> 1) & 3;
    const length = head >> 3;
    if (length > blockLimit || kind === 3) throw new ZstdError("a block is too large, or of an unknown kind");
    const stored = kind === 1 ? 1 : length;
    if (from + stored > bytes.length) throw new ZstdError("the frame ends early");
    if (kind === 2)
      at = decodeBlock(bytes, from, from + length, state, out, at, Math.min(size, at + blockLimit));
    else {
      if (length > size - at) throw new ZstdError("the frame decodes to more than it declares");
      if (kind === 0) out.set(bytes.subarray(from, from + length), at);
      else out.fill(bytes[from], at, at + length);
      at += length;
    }
    from += stored;
  }
  if (at !== size) throw new ZstdError(`the frame decodes to ${at} bytes instead of ${size}`);
  if (from + 4 !== bytes.length) throw new ZstdError("the frame does not end where the chunk ends");
  if (read32(bytes, from) !== xxh64Low(out)) throw new ZstdError("the checksum of the frame is wrong");
  return out;
}

/**
 * Check the header of a frame.
 * @param {Uint8Array} bytes
 * @param {number} size
 * @returns {{ start: number, window: number }} where the blocks begin, and the size of the window
 */
function readHeader(bytes, size) {
  if (bytes.length < 6 || read32(bytes, 0) !== MAGIC) throw new ZstdError("the chunk is no zstd frame");
  const descriptor = bytes[4];
  const single = (descriptor >> 5) & 1;
  const sizeCode = descriptor >> 6;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3];
  const sizeBytes = [single, 2, 4, 8][sizeCode];
  const start = 5 + (single ? 0 : 1) + dictionaryBytes + sizeBytes;
  if (start > bytes.length) throw new ZstdError("the frame ends early");
  if (descriptor & 8) throw new ZstdError("a reserved bit of the frame is set");
  if (!(descriptor & 4)) throw new ZstdError("the frame has no checksum");
  if (sizeBytes === 0) throw new ZstdError("the frame does not declare its size");

  let at = 5;
  let window = 0;
  if (!single) {
    const base = 2 ** (10 + (bytes[at] >> 3));
    window = base + (base / 8) * (bytes[at] & 7);
    at += 1;
  }
  for (let i = 0; i < dictionaryBytes; i++)
    if (bytes[at + i]) throw new ZstdError("the frame names a dictionary");
  at += dictionaryBytes;
  let declared = sizeCode === 1 ? 256 : 0;
  for (let i = 0; i < sizeBytes; i++) declared += bytes[at + i] * 256 ** i;
  if (declared !== size) throw new ZstdError(`the frame declares ${declared} bytes instead of ${size}`);
  if (single) window = declared;
  if (window > MAX_WINDOW) throw new ZstdError("the window of the frame is above 8 MiB");
  return { start, window };
}

/**
 * Decode a compressed block.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @param {State} state
 * @param {Uint8Array} out
 * @param {number} at
 * @param {number} limit
 * @returns {number} where the block ends in `out`
 */
function decodeBlock(bytes, start, end, state, out, at, limit) {
  const kind = bytes[start] & 3;
  const format = (bytes[start] >> 2) & 3;
  const long = kind < 2 ? [1, 2, 1, 3][format] : [3, 3, 4, 5][format];
  if (start + long > end) throw new ZstdError("a block ends early");
  let header = 0;
  for (let i = 0; i < long; i++) header += bytes[start + i] * 256 ** i;
  start += long;
  const bits = kind < 2 ? [5, 12, 5, 20][format] : [10, 10, 14, 18][format];
  const shift = kind < 2 && !(format & 1) ? 3 : 4;
  const count = Math.floor(header / 2 ** shift) % 2 ** bits;
  if (count > MAX_BLOCK) throw new ZstdError("a block has too many literals");
  const stored = kind === 0 ? count : kind === 1 ? 1 : Math.floor(header / 2 ** (shift + bits));
  const stop = start + stored;
  if (stop > end) throw new ZstdError("a block ends early");

  let literals;
  if (kind === 0) literals = bytes.subarray(start, stop);
  else if (kind === 1) literals = new Uint8Array(count).fill(bytes[start]);
  else {
    if (kind === 2) ({ tree: state.tree, end: start } = readTree(bytes, start, stop));
    if (!state.tree) throw new ZstdError("a tree is repeated that does not exist");
    literals = new Uint8Array(count);
    decodeLiterals(state.tree, bytes, start, stop, format !== 0, literals);
  }
  return decodeSequences(bytes, stop, end, literals, state, out, at, limit);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function read32(bytes, at) {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
