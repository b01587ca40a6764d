/** Weights of a trajectory of the encoding `full` (section 5). */

import { undoCodes } from "./archive.js";
import { Refusal, quoted } from "./errors.js";
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
    /** The timestep that was decoded last, and the one before: in the codec `archive`, the next starts from them. */
    this.last = noRows(-1);
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
    let { t: from, row, before } = this.last;
    if (from < keyframe || from > t)
      ({ t: from, row, before } = { ...noRows(keyframe), row: await this.row(keyframe) });
    const chunk = /** @type {number} */ (codec.chunk);
    const count = Math.ceil(elements / chunk);
    const { slopes } = this.entry.chunks;
    while (from < t) {
      const next = from + 1;
      const slopeOf = (/** @type {number} */ i) => slopes?.[next * count + i] ?? 0;
      const codes = await this.row(next);
      [row, before] = [undoCodes(codes, row, from === keyframe ? null : before, width, chunk, slopeOf), row];
      from = next;
    }
    this.last = { t, row, before };
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

/**
 * @param {number} t
 * @returns {{ t: number, row: Uint8Array, before: Uint8Array }}
 */
function noRows(t) {
  return { t, row: new Uint8Array(), before: new Uint8Array() };
}
