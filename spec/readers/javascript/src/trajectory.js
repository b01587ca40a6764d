/** One trajectory of an open bundle. */

import { ConvexWeights } from "./convex.js";
import { Refusal, UsageError, quoted } from "./errors.js";
import { FullWeights } from "./full.js";
import { bufferValues } from "./items.js";
import { isKnownFeature } from "./manifest/text.js";
import { verifyPieces } from "./pieces.js";
import { readBuffers } from "./safetensors.js";
import { Sha256 } from "./sha256.js";
import { Weights } from "./weights.js";

/** @typedef {import("./manifest/types.js").Manifest} Manifest */

/** Bytes of a weight vector that are held in memory at most. */
const MAX_WEIGHTS = 2 ** 31;
/** @typedef {import("./convex.js").Files} Files */
/** @typedef {import("./tables.js").Matrix} Matrix */

/**
 * A module buffer at one timestep.
 * @typedef {object} ModuleBuffer
 * @property {import("./items.js").BufferType} dtype
 * @property {number[]} shape
 * @property {Uint8Array} bytes little-endian, C order
 * @property {() => boolean[] | number[] | bigint[]} values
 */

export class Trajectory {
  /**
   * @param {Manifest} manifest
   * @param {number} number its position in the manifest
   * @param {Files} files
   */
  constructor(manifest, number, files) {
    const entry = manifest.trajectories[number];
    this.manifest = manifest;
    this.number = number;
    this.files = files;
    /** The entry in the manifest; of a refused trajectory, only three keys. */
    this.entry = entry;
    /** T + 1. */
    this.timesteps = entry.timesteps;
    this.digest = entry.digest;
    /** Why every method but this property refuses, or null. */
    this.refusal = entry.isRefused ? unknownFeature(number, entry.requires_read ?? []) : null;
    /** @type {ConvexWeights | null} */
    this.convex =
      !entry.isRefused && manifest.encoding === "convex" ? new ConvexWeights(manifest, entry, files) : null;
    /** @type {FullWeights | null} */
    this.full =
      !entry.isRefused && manifest.encoding === "full"
        ? new FullWeights(manifest, entry, async (path, offset, length) => {
            await files.size(path);
            return files.read(path, offset, length);
          })
        : null;
    /** @type {ReturnType<typeof readBuffers> | null} */
    this.header = null;
  }

  /** The timesteps at which weights are stored. @returns {number[]} */
  get stored() {
    this.accept();
    return this.convex ? [...this.convex.knots] : Array.from({ length: this.timesteps }, (_, t) => t);
  }

  accept() {
    if (this.refusal) throw this.refusal;
  }

  /** @param {number} t */
  checkTime(t) {
    this.accept();
    const last = this.timesteps - 1;
    if (typeof t !== "number" || !(t >= 0 && t <= last))
      throw new UsageError(`t must be from 0 to ${last}, but is ${t}`);
    if (this.full && !Number.isInteger(t))
      throw new UsageError(`this bundle holds whole timesteps only, but t is ${t}`);
  }

  /**
   * The weights at any real t (6.4), or at any whole t of the encoding `full`; the exact bits.
   * @param {number} t from 0 to T
   * @returns {Promise<Weights>}
   */
  async weights(t) {
    this.checkTime(t);
    const size = this.manifest.elements * this.manifest.width;
    if (size > MAX_WEIGHTS) {
      throw new UsageError(
        `weights of ${size} bytes are too large; this reader holds at most ${MAX_WEIGHTS}`,
      );
    }
    const bytes = await (this.convex ?? /** @type {FullWeights} */ (this.full)).at(t);
    return new Weights(this.manifest, t, bytes);
  }

  /** Table u, (T+1, L); null in the encoding `full`. @returns {Promise<Matrix | null>} */
  async u() {
    this.accept();
    return this.convex ? this.convex.u() : null;
  }

  /** Step norms, (T, L), as they are stored; null if they are not known. @returns {Promise<Matrix | null>} */
  async stepNorms() {
    this.accept();
    return this.convex ? this.convex.stepNorms() : null;
  }

  /** Gram matrix, (T+1, T+1); null if there is none. @returns {Promise<Matrix | null>} */
  async gram() {
    this.accept();
    return this.convex ? this.convex.gram() : null;
  }

  /**
   * The number that timestep t had in its source, in the unit of `provenance.timestep.kind` (3.6).
   * @param {number} t whole
   * @returns {number | null} null if it is not known
   */
  numberOf(t) {
    this.checkTime(t);
    if (!Number.isInteger(t)) throw new UsageError(`only whole timesteps have numbers, but t is ${t}`);
    if (this.entry.numbers) return this.entry.numbers[t];
    const { timestep, first_timestep: first = 0 } = this.manifest.provenance;
    return timestep ? (first + t) * (timestep.every ?? 1) : null;
  }

  /**
   * Module buffers at a time: those of the last stored timestep that is not later (6.8).
   * @param {number} t from 0 to T
   * @returns {Promise<Map<string, ModuleBuffer> | null>} by name; null if the trajectory has none
   */
  async buffers(t) {
    this.checkTime(t);
    const path = this.entry.buffers;
    if (path === undefined) return null;
    const stored = this.convex ? this.convex.knots.findLast((knot) => knot <= t) : t;
    const header = await this.bufferHeader(path);
    /** @type {Map<string, ModuleBuffer>} */
    const result = new Map();
    for (const [name, { dtype, shape, begin, end }] of header.get(/** @type {number} */ (stored)) ?? []) {
      const bytes = await this.files.read(path, begin, end - begin);
      result.set(name, { dtype, shape: [...shape], bytes, values: () => bufferValues(dtype, bytes) });
    }
    return result;
  }

  /** @param {string} path */
  async bufferHeader(path) {
    this.header ??= this.files
      .size(path)
      .then((size) =>
        readBuffers(path, this.stored, size, (offset, length) => this.files.read(path, offset, length)),
      );
    this.header.catch(() => (this.header = null));
    return this.header;
  }

  /**
   * Compare the digests of pieces with the weights (8.2); does nothing if there are none.
   * @throws {Refusal} `hash_mismatch`
   */
  async verifyPieces() {
    this.accept();
    if (this.entry.pieces) await verifyPieces(this.manifest, this.entry, this.files);
  }

  /**
   * Compare `digest` with the first and the last weights (section 7).
   * @returns {Promise<boolean | null>} null if they are not stored, because they were smoothed
   */
  async checkDigest() {
    this.accept();
    if (this.manifest.smoothed) return null;
    const last = this.timesteps - 1;
    const first = this.convex ? await this.convex.knot(0) : (await this.weights(0)).bytes;
    const hash = new Sha256().update(new Sha256().update(first).digest());
    const end = this.convex
      ? await this.convex.knot(this.convex.knots.length - 1)
      : (await this.weights(last)).bytes;
    hash.update(new Sha256().update(end).digest());
    const count = new DataView(new ArrayBuffer(8));
    count.setBigUint64(0, BigInt(this.timesteps), true);
    return hash.update(new Uint8Array(count.buffer)).hex() === this.digest;
  }
}

/**
 * @param {number} number
 * @param {string[]} features
 */
function unknownFeature(number, features) {
  const name = features.find((feature) => !isKnownFeature(feature)) ?? "";
  return new Refusal(
    "unknown_feature",
    `trajectory ${number} needs the feature ${quoted(name)}, which this reader does not know`,
  );
}
