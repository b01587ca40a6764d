/** Weights of a trajectory of the encoding `convex` (section 6). */

import { fromFloat64, toFloat64 } from "./items.js";
import { checkKnots } from "./safetensors.js";
import { checkU, matrix, place } from "./tables.js";

/** @typedef {import("./manifest/types.js").Manifest} Manifest */
/** @typedef {import("./manifest/types.js").Entry} Entry */
/** @typedef {import("./manifest/types.js").Table} Table */
/** @typedef {import("./tables.js").Matrix} Matrix */

/**
 * How to get at files: their sizes, and their bytes.
 * @typedef {object} Files
 * @property {(path: string) => Promise<number>} size
 * @property {(path: string, offset: number, length: number) => Promise<Uint8Array>} read
 */

/** Knots that are kept in memory: two between which weights are, and the next one. */
const KEPT = 3;

export class ConvexWeights {
  /**
   * @param {Manifest} manifest
   * @param {Entry} entry
   * @param {Files} files
   */
  constructor(manifest, entry, files) {
    this.manifest = manifest;
    this.files = files;
    this.timesteps = entry.timesteps;
    this.knots = /** @type {number[]} */ (entry.knots);
    this.table = /** @type {Table} */ (entry.table);
    this.parts = partsOf(manifest, entry);
    /** @type {Map<string, Promise<any>>} */
    this.once = new Map();
    /** @type {Map<number, Promise<Uint8Array>>} */
    this.kept = new Map();
  }

  /**
   * Do something the first time only, or again if it failed.
   * @template T
   * @param {string} key
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  memo(key, work) {
    let result = this.once.get(key);
    if (!result) {
      result = work();
      this.once.set(key, result);
      result.catch(() => this.once.delete(key));
    }
    return result;
  }

  /** @returns {Promise<Matrix>} (T+1, L) */
  u() {
    return this.memo("u", async () => {
      const u = await this.read(this.table.u, this.timesteps, this.manifest.layers.length);
      checkU(u, this.knots, this.table.free === true, this.table.file);
      return u;
    });
  }

  /** @returns {Promise<Matrix | null>} (T, L) */
  async stepNorms() {
    const { step_norms: at } = this.table;
    if (at === undefined) return null;
    return this.memo("norms", () => this.read(at, this.timesteps - 1, this.manifest.layers.length));
  }

  /** @returns {Promise<Matrix | null>} (T+1, T+1) */
  async gram() {
    const { gram: at } = this.table;
    return at === undefined ? null : this.memo("gram", () => this.read(at, this.timesteps, this.timesteps));
  }

  /**
   * @param {number} at
   * @param {number} rows
   * @param {number} columns
   */
  async read(at, rows, columns) {
    await this.files.size(this.table.file);
    return matrix(await this.files.read(this.table.file, at, 8 * rows * columns), rows, columns);
  }

  /**
   * The stored weights at knot s.
   * @param {number} s
   * @returns {Promise<Uint8Array>} items, not to be changed
   */
  knot(s) {
    let knot = this.kept.get(s);
    if (knot) this.kept.delete(s);
    else knot = this.readKnot(s);
    this.kept.set(s, knot);
    knot.catch(() => this.kept.delete(s));
    if (this.kept.size > KEPT) this.kept.delete(/** @type {number} */ (this.kept.keys().next().value));
    return knot;
  }

  /** @param {number} s */
  async readKnot(s) {
    const { parameters, elements, starts, width } = this.manifest;
    const begin = s * parameters.length;
    const end = begin + parameters.length;
    const start = (/** @type {number} */ tensor) =>
      (Math.floor(tensor / parameters.length) * elements + starts[tensor % parameters.length]) * width;
    const items = new Uint8Array(elements * width);
    for (const part of this.parts) {
      const from = Math.max(begin, part.first);
      const to = Math.min(end, part.first + part.count);
      if (from >= to) continue;
      await this.check(part);
      const offset = part.data + start(from) - start(part.first);
      items.set(
        await this.files.read(part.path, offset, start(to) - start(from)),
        start(from) - start(begin),
      );
    }
    return items;
  }

  /** @param {ReturnType<typeof partsOf>[number]} part */
  check(part) {
    return this.memo(`header ${part.path}`, async () => {
      const size = await this.files.size(part.path);
      const read = (/** @type {number} */ offset, /** @type {number} */ length) =>
        this.files.read(part.path, offset, length);
      await checkKnots(this.manifest, this.knots, part, size, read);
    });
  }

  /**
   * @param {number} t real
   * @returns {Promise<Uint8Array>} items of the weight vector (6.4)
   */
  async at(t) {
    const { layers, starts, width, dtype, elements } = this.manifest;
    const u = await this.u();
    const items = new Uint8Array(elements * width);
    for (let l = 0; l < layers.length; l++) {
      const { s, w } = place(u, l, t, this.knots.length - 1, this.table.free === true);
      const a = w === 1 ? null : await this.knot(s);
      const b = w === 0 ? null : await this.knot(s + 1);
      for (const index of layers[l].parameters) {
        const from = starts[index] * width;
        const to = starts[index + 1] * width;
        const x = a?.subarray(from, to);
        const y = b?.subarray(from, to);
        items.set(
          x && y
            ? fromFloat64(dtype, between(toFloat64(dtype, x), toFloat64(dtype, y), w))
            : /** @type {Uint8Array} */ (x ?? y),
          from,
        );
      }
    }
    return items;
  }
}

/**
 * `(1 - w) · a + w · b`, each operation rounded by itself.
 * @param {Float64Array} a
 * @param {Float64Array} b
 * @param {number} w
 */
function between(a, b, w) {
  const v = 1 - w;
  for (let i = 0; i < a.length; i++) a[i] = v * a[i] + w * b[i];
  return a;
}

/**
 * The files of a trajectory's knots, with the tensors that each holds, counted over all knots.
 * @param {Manifest} manifest
 * @param {Entry} entry
 */
function partsOf(manifest, entry) {
  const { parameters, elements, starts, width } = manifest;
  const total = /** @type {number[]} */ (entry.knots).length * parameters.length;
  const start = (/** @type {number} */ tensor) =>
    Math.floor(tensor / parameters.length) * elements + starts[tensor % parameters.length];
  let first = 0;
  return (
    entry.shards ?? [
      { file: /** @type {string} */ (entry.file), data: /** @type {number} */ (entry.data), tensors: total },
    ]
  ).map(({ file: path, data, tensors: count }) => {
    const part = { path, data, first, count, bytes: (start(first + count) - start(first)) * width };
    first += count;
    return part;
  });
}
