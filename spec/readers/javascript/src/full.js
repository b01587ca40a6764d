/** Weights of a trajectory of the encoding `full` (section 5). */

import { Refusal, quoted } from "./errors.js";
import { own } from "./items.js";
import { ZstdError, decodeFrame } from "./zstd/frame.js";

/** @typedef {import("./manifest/types.js").Manifest} Manifest */
/** @typedef {import("./manifest/types.js").Entry} Entry */
/** @typedef {(path: string, offset: number, length: number) => Promise<Uint8Array>} Read */

/** Chunks that follow each other in the file are read at once, up to about this many bytes. */
const MAX_READ = 8 * 1024 * 1024;

export class FullWeights {
  /**
   * @param {Manifest} manifest
   * @param {Entry} entry
   * @param {Read} read
   */
  constructor(manifest, entry, read) {
    this.manifest = manifest;
    this.entry = entry;
    this.read = read;
    this.path = /** @type {string} */ (entry.file);
    /** The timestep that was decoded last, because the next one starts from it in the codec `archive`. */
    this.last = { t: -1, row: /** @type {Uint8Array} */ (new Uint8Array()) };
  }

  /**
   * @param {number} t whole
   * @returns {Promise<Uint8Array>} items of the weight vector
   */
  async at(t) {
    const { elements, width, codec } = this.manifest;
    const bytes = elements * width;
    if (!this.entry.chunks)
      return this.read(this.path, /** @type {number} */ (this.entry.data) + t * bytes, bytes);
    if (codec?.name !== "archive") return this.row(t);
    const keyframe = t - (t % /** @type {number} */ (codec.keyframe));
    let { t: from, row } = this.last;
    if (from < keyframe || from > t) {
      row = await this.row(keyframe);
      from = keyframe;
    }
    while (from < t) {
      from += 1;
      row = addCodes(row, await this.row(from), width);
    }
    this.last = { t, row };
    return row.slice();
  }

  /**
   * The decoded chunks of a timestep, joined, without padding.
   * @param {number} t
   * @returns {Promise<Uint8Array>}
   */
  async row(t) {
    const { elements, width, codec } = this.manifest;
    const chunk = /** @type {number} */ (codec?.chunk);
    const count = Math.ceil(elements / chunk);
    const row = new Uint8Array(elements * width);
    for (let first = t * count; first < (t + 1) * count;) {
      const { last, bytes, start } = await this.stored(first, (t + 1) * count);
      for (let i = first; i < last; i++) {
        const { offsets, sizes } = /** @type {import("./manifest/types.js").Chunks} */ (this.entry.chunks);
        const from = offsets[i] - start;
        const items = this.decode(bytes.subarray(from, from + sizes[i]), i);
        const at = (i - t * count) * chunk * width;
        row.set(items.subarray(0, Math.min(items.length, row.length - at)), at);
      }
      first = last;
    }
    return row;
  }

  /**
   * Read chunks that follow each other in the file.
   * @param {number} first
   * @param {number} end
   */
  async stored(first, end) {
    const { offsets, sizes } = /** @type {import("./manifest/types.js").Chunks} */ (this.entry.chunks);
    const start = offsets[first];
    let stop = start + sizes[first];
    let last = first + 1;
    while (last < end && offsets[last] === stop && stop - start < MAX_READ) stop += sizes[last++];
    return { last, start, bytes: await this.read(this.path, start, stop - start) };
  }

  /**
   * Decompress and unshuffle a chunk (5.2).
   * @param {Uint8Array} bytes
   * @param {number} i
   */
  decode(bytes, i) {
    const { width, codec } = this.manifest;
    const chunk = /** @type {number} */ (codec?.chunk);
    let planes;
    try {
      planes = decodeFrame(bytes, chunk * width);
    } catch (error) {
      if (error instanceof ZstdError)
        throw new Refusal("chunk_invalid", `chunk ${i} of ${quoted(this.path)}: ${error.message}`);
      throw error;
    }
    const items = new Uint8Array(chunk * width);
    for (let plane = 0, from = 0; plane < width; plane++) {
      for (let at = plane; at < items.length; at += width) items[at] = planes[from++];
    }
    return items;
  }
}

const TYPES = { 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array };

/**
 * Undo the codes of the codec `archive` (5.3): bits of a timestep from those of the one before.
 * @param {Uint8Array} before
 * @param {Uint8Array} codes
 * @param {number} width
 * @returns {Uint8Array}
 */
function addCodes(before, codes, width) {
  const Type = TYPES[/** @type {2 | 4 | 8} */ (width)];
  const bits = new Type(own(before));
  const code = new Type(own(codes));
  if (bits instanceof BigUint64Array && code instanceof BigUint64Array) {
    for (let i = 0; i < bits.length; i++) bits[i] += (code[i] >> 1n) ^ -(code[i] & 1n);
  } else {
    const [small, add] = /** @type {[Uint32Array, Uint32Array]} */ ([bits, code]);
    for (let i = 0; i < small.length; i++) small[i] += (add[i] >>> 1) ^ -(add[i] & 1);
  }
  return new Uint8Array(bits.buffer);
}
