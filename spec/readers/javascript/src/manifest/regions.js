/** Step 10 of section 4.3: every region lies within its file, and no two have a byte in common. */

import { Refusal, quoted } from "../errors.js";
import { countPieces } from "../pieces.js";

/** @typedef {import("./types.js").Manifest} Manifest */
/** @typedef {import("./types.js").Entry} Entry */

const MAX_TABLE = 2 ** 24;
const MAX_EXPANSION = 1000n;

/** Regions of the files, as they are added. */
class Regions {
  /** @param {Manifest} manifest */
  constructor(manifest) {
    this.bytes = new Map(manifest.files.map((file) => [file.path, file.bytes]));
    /** @type {Map<string, { starts: number[], ends: number[] }>} */
    this.files = new Map();
  }

  /**
   * @param {string} path
   * @param {number} start
   * @param {bigint | number} length
   * @param {string} what
   */
  add(path, start, length, what) {
    const bytes = /** @type {number} */ (this.bytes.get(path));
    if (length > bytes || start > bytes - Number(length)) {
      throw new Refusal(
        "size_overflow",
        `manifest.json: ${what} does not end within the ${bytes} bytes of ${quoted(path)}`,
      );
    }
    let file = this.files.get(path);
    if (!file) this.files.set(path, (file = { starts: [], ends: [] }));
    if (length === 0 || length === 0n) return;
    file.starts.push(start);
    file.ends.push(start + Number(length));
  }

  /** Regions without a common byte have the same order by their starts and by their ends. */
  checkOverlaps() {
    for (const [path, { starts, ends }] of this.files) {
      const from = Float64Array.from(starts).sort();
      const to = Float64Array.from(ends).sort();
      for (let i = 1; i < from.length; i++) {
        if (from[i] < to[i - 1]) {
          throw new Refusal(
            "size_overflow",
            `manifest.json: two regions of ${quoted(path)} have byte ${from[i]} in common`,
          );
        }
      }
    }
  }
}

/**
 * Step 10.
 * @param {Manifest} manifest
 */
export function checkRegions(manifest) {
  const regions = new Regions(manifest);
  manifest.trajectories.forEach((entry, number) => {
    if (entry.isRefused) return;
    const where = `trajectories[${number}]`;
    if (manifest.encoding === "convex") addConvex(manifest, entry, where, regions);
    else addFull(manifest, entry, where, regions);
    if (entry.pieces) {
      const length = 32n * countPieces(manifest, entry);
      regions.add(entry.pieces.file, entry.pieces.data, length, `${where}: the digests of pieces`);
    }
    if (entry.buffers !== undefined) {
      regions.add(
        entry.buffers,
        0,
        /** @type {number} */ (regions.bytes.get(entry.buffers)),
        `${where}.buffers`,
      );
    }
  });
  regions.checkOverlaps();
}

/**
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {string} where
 * @param {Regions} regions
 */
function addConvex(manifest, entry, where, regions) {
  const steps = entry.timesteps;
  const layers = manifest.layers.length;
  const { file, u, step_norms, gram } = /** @type {import("./types.js").Table} */ (entry.table);
  if (steps * layers > MAX_TABLE) {
    throw new Refusal(
      "size_overflow",
      `manifest.json: ${where}: a table u of ${steps * layers} elements is too large`,
    );
  }
  const knots = /** @type {number[]} */ (entry.knots).length;
  if (entry.shards) {
    let before = 0;
    entry.shards.forEach((shard, i) => {
      const length = tensorStart(manifest, before + shard.tensors) - tensorStart(manifest, before);
      regions.add(shard.file, shard.data, length, `${where}.shards[${i}]`);
      before += shard.tensors;
    });
  } else {
    const length = tensorStart(manifest, knots * manifest.parameters.length);
    regions.add(
      /** @type {string} */ (entry.file),
      /** @type {number} */ (entry.data),
      length,
      `${where}: the data of knots`,
    );
  }
  regions.add(file, u, 8 * steps * layers, `${where}.table.u`);
  if (step_norms !== undefined)
    regions.add(file, step_norms, 8 * (steps - 1) * layers, `${where}.table.step_norms`);
  if (gram !== undefined) regions.add(file, gram, 8 * steps * steps, `${where}.table.gram`);
}

/**
 * Where a tensor begins, counted from the first one: all parameters of knot 0, then of knot 1, and so on.
 * @param {Manifest} manifest
 * @param {number} tensor
 * @returns {bigint} bytes
 */
export function tensorStart({ parameters, starts, elements, width }, tensor) {
  const knot = Math.floor(tensor / parameters.length);
  const within = starts[tensor % parameters.length];
  return (BigInt(knot) * BigInt(elements) + BigInt(within)) * BigInt(width);
}

/**
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {string} where
 * @param {Regions} regions
 */
function addFull(manifest, entry, where, regions) {
  const { elements, width, codec } = manifest;
  const file = /** @type {string} */ (entry.file);
  if (!entry.chunks) {
    const length = BigInt(entry.timesteps) * BigInt(elements) * BigInt(width);
    regions.add(file, /** @type {number} */ (entry.data), length, `${where}: the weights`);
    return;
  }
  const { offsets, sizes } = entry.chunks;
  offsets.forEach((offset, i) => regions.add(file, offset, sizes[i], `${where}: chunk ${i}`));
  const stored = sizes.reduce((sum, size) => sum + BigInt(size), 0n);
  const expanded = BigInt(sizes.length) * BigInt(/** @type {number} */ (codec?.chunk)) * BigInt(width);
  if (expanded > MAX_EXPANSION * stored) {
    throw new Refusal(
      "size_overflow",
      `manifest.json: ${where}: the chunks expand from ${stored} to ${expanded} bytes`,
    );
  }
}
