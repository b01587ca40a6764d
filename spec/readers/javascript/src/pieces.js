/** Pieces of the weights, each with a digest of its own (8.2). */

import { Refusal, quoted } from "./errors.js";
import { Sha256, sha256 } from "./sha256.js";

/** @typedef {import("./manifest/types.js").Manifest} Manifest */
/** @typedef {import("./manifest/types.js").Entry} Entry */
/** @typedef {import("./convex.js").Files} Files */

/** A run of bytes of one file. @typedef {{ path: string, offset: number, length: number }} Unit */

const DIGEST = 32;
/** Bytes that are read at once. */
const MAX_READ = 4 * 1024 * 1024;

/**
 * Number of pieces of a trajectory.
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @returns {bigint}
 */
export function countPieces(manifest, entry) {
  const size = BigInt(entry.pieces?.size ?? 1);
  const divided = (/** @type {bigint} */ bytes) => (bytes + size - 1n) / size;
  const { elements, width, parameters } = manifest;
  const whole = BigInt(elements) * BigInt(width);
  if (entry.chunks) return BigInt(entry.chunks.sizes.length);
  if (!entry.shards) return BigInt(entry.knots?.length ?? entry.timesteps) * divided(whole);
  let count = 0n;
  for (const { from, to } of partsOfKnots(entry.shards, parameters.length))
    count += divided(bytesOf(manifest, from, to));
  return count;
}

/**
 * Where shards hold parts of knots: tensors, counted over all knots.
 * @param {import("./manifest/types.js").Shard[]} shards
 * @param {number} perKnot tensors of a knot
 * @returns {Generator<{ shard: number, first: number, from: number, to: number }>} in order of the knots
 */
function* partsOfKnots(shards, perKnot) {
  let first = 0;
  for (const [shard, { tensors }] of shards.entries()) {
    for (let from = first; from < first + tensors;) {
      const to = Math.min(first + tensors, (Math.floor(from / perKnot) + 1) * perKnot);
      yield { shard, first, from, to };
      from = to;
    }
    first += tensors;
  }
}

/**
 * @param {Manifest} manifest
 * @param {number} from
 * @param {number} to
 * @returns {bigint} bytes of tensors of one knot
 */
function bytesOf({ parameters, starts, width }, from, to) {
  const begin = from % parameters.length;
  return BigInt(starts[begin + to - from] - starts[begin]) * BigInt(width);
}

/**
 * The units of a trajectory in order. The manifest is consistent.
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @returns {Generator<Unit>}
 */
function* unitsOf(manifest, entry) {
  const { elements, width, parameters, starts } = manifest;
  const path = /** @type {string} */ (entry.file);
  if (entry.chunks) {
    const { offsets, sizes } = entry.chunks;
    for (let i = 0; i < offsets.length; i++) yield { path, offset: offsets[i], length: sizes[i] };
  } else if (entry.shards) {
    const start = (/** @type {number} */ tensor) =>
      (Math.floor(tensor / parameters.length) * elements + starts[tensor % parameters.length]) * width;
    for (const { shard, first, from, to } of partsOfKnots(entry.shards, parameters.length)) {
      const { file, data } = entry.shards[shard];
      const length = start(to) - start(from);
      if (length > 0) yield { path: file, offset: data + start(from) - start(first), length };
    }
  } else {
    const length = elements * width;
    const count = entry.knots?.length ?? entry.timesteps;
    for (let i = 0; i < count; i++)
      yield { path, offset: /** @type {number} */ (entry.data) + i * length, length };
  }
}

/**
 * The pieces of a trajectory in order.
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @returns {Generator<Unit>}
 */
export function* piecesOf(manifest, entry) {
  const size = entry.pieces?.size ?? Infinity;
  for (const { path, offset, length } of unitsOf(manifest, entry)) {
    for (let at = 0; at === 0 || at < length; at += size)
      yield { path, offset: offset + at, length: Math.min(size, length - at) };
  }
}

/**
 * Read the digests of a trajectory, and compare them with their sha256.
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {Files} files
 * @returns {Promise<Uint8Array>} 32 bytes for each piece
 */
export async function readDigests(manifest, entry, files) {
  const { file, data, sha256: expected } = /** @type {import("./manifest/types.js").Pieces} */ (entry.pieces);
  await files.size(file);
  const digests = await files.read(file, data, Number(countPieces(manifest, entry)) * DIGEST);
  if (sha256(digests) !== expected)
    throw new Refusal(
      "hash_mismatch",
      `the digests of pieces in ${quoted(file)} do not have the sha256 that is listed`,
    );
  return digests;
}

/**
 * Compare all pieces of a trajectory with their digests.
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {Files} files
 */
export async function verifyPieces(manifest, entry, files) {
  const digests = await readDigests(manifest, entry, files);
  let number = 0;
  /** @type {Unit[]} */
  let run = [];
  const finish = async () => {
    if (run.length === 0) return;
    const { path, offset } = run[0];
    const last = run[run.length - 1];
    await files.size(path);
    const bytes = await files.read(path, offset, last.offset + last.length - offset);
    for (const piece of run) {
      const digest = new Sha256()
        .update(bytes.subarray(piece.offset - offset, piece.offset - offset + piece.length))
        .digest();
      const at = number * DIGEST;
      if (digest.some((byte, i) => byte !== digests[at + i]))
        throw new Refusal("hash_mismatch", `piece ${number}, in ${quoted(path)}, does not have its digest`);
      number += 1;
    }
    run = [];
  };
  for (const piece of piecesOf(manifest, entry)) {
    const last = run[run.length - 1];
    const isNext = last && last.path === piece.path && last.offset + last.length === piece.offset;
    if (!isNext || piece.offset + piece.length - run[0].offset > MAX_READ) await finish();
    run.push(piece);
  }
  await finish();
}
