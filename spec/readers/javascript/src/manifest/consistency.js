/** Steps 7 to 9 of section 4.3: paths, shapes, and parts of the manifest that have to agree. */

import { Refusal, quoted } from "../errors.js";
import { WIDTHS } from "../items.js";
import { FEATURES } from "./text.js";

/** @typedef {import("./types.js").Manifest} Manifest */
/** @typedef {import("./types.js").Entry} Entry */

const PATH = /^[a-z0-9][a-z0-9_-]*(\/[a-z0-9][a-z0-9_-]*)*\.(safetensors|safetensors\.index\.json|h5)$/;
const MAX = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Step 7.
 * @param {Manifest} manifest
 */
export function checkPaths(manifest) {
  for (const { path } of manifest.files) {
    if (path.length > 200 || !PATH.test(path)) {
      throw new Refusal(
        "path_unsafe",
        `manifest.json: the path ${quoted(path)} is not allowed (section 2.1)`,
      );
    }
  }
}

/**
 * Step 8; also sets `elements`, `width`, `dtype` and `starts`.
 * @param {Manifest} manifest
 */
export function checkShapes(manifest) {
  let elements = 0n;
  const starts = [0];
  const { dtype } = manifest.parameters[0];
  const width = WIDTHS[dtype];
  for (const { name, shape } of manifest.parameters) {
    elements += shape.reduce((product, n) => product * BigInt(n), 1n);
    if (8n * shape.reduce((product, n) => product * BigInt(n || 1), 1n) > MAX) {
      throw new Refusal("size_overflow", `manifest.json: the shape of ${quoted(name)} is impossibly large`);
    }
    starts.push(Number(elements));
  }
  if (elements * BigInt(width) > MAX) {
    throw new Refusal("size_overflow", `manifest.json: ${elements} elements of weights are impossibly many`);
  }
  Object.assign(manifest, { elements: Number(elements), width, dtype, starts });
}

/** @param {string} what */
function inconsistent(what) {
  return new Refusal("manifest_inconsistent", `manifest.json: ${what}`);
}

/**
 * Step 9.
 * @param {Manifest} manifest
 */
export function checkConsistency(manifest) {
  checkNetwork(manifest);
  const listed = new Set(manifest.files.map((file) => file.path));
  if (listed.size < manifest.files.length) throw inconsistent("two entries of files have the same path");
  if (manifest.codec) checkCodec(manifest);
  checkFeatures(manifest.requires_read, topFeatures(manifest), "top", manifest.later, "requires_read");
  /** @type {Map<string, string>} */
  const owned = new Map();
  manifest.trajectories.forEach((entry, number) => {
    if (!entry.isRefused) checkEntry(manifest, entry, `trajectories[${number}]`, listed, owned);
  });
  for (const { pieces, isRefused } of manifest.trajectories) {
    if (isRefused || !pieces || !owned.has(pieces.file)) continue;
    throw inconsistent(`pieces.file ${quoted(pieces.file)} also holds weights or module buffers`);
  }
}

/** @param {Manifest} manifest */
function checkNetwork({ parameters, layers, elements, dtype }) {
  if (elements === 0) throw inconsistent("the parameters have no elements");
  const names = new Set(parameters.map((parameter) => parameter.name));
  if (names.size < parameters.length) throw inconsistent("two parameters have the same name");
  if (names.has("__metadata__")) throw inconsistent("no parameter may be named __metadata__");
  if (parameters.some((parameter) => parameter.dtype !== dtype))
    throw inconsistent("the parameters have different types");
  const seen = new Set();
  for (const layer of layers) {
    for (const index of layer.parameters) {
      if (index >= parameters.length)
        throw inconsistent(`layer ${quoted(layer.name)} names parameter ${index}, which does not exist`);
      if (seen.has(index)) throw inconsistent(`parameter ${index} is in the layers twice`);
      seen.add(index);
    }
  }
  if (seen.size < parameters.length) throw inconsistent("the layers do not hold every parameter");
}

/** @param {Manifest} manifest */
function checkCodec({ codec, elements }) {
  if (!codec) return;
  const { name, chunk, keyframe } = codec;
  if ((chunk !== undefined) !== (name !== "none"))
    throw inconsistent(`codec ${name}: chunk must be ${name === "none" ? "absent" : "there"}`);
  if ((keyframe !== undefined) !== (name === "archive")) {
    throw inconsistent(`codec ${name}: keyframe must be ${name === "archive" ? "there" : "absent"}`);
  }
  if (chunk !== undefined && chunk > elements)
    throw inconsistent(`codec.chunk is ${chunk}, but a timestep has ${elements} elements`);
}

/** @param {Manifest} manifest */
function topFeatures({ codec, dtype }) {
  const features = [];
  if (codec && codec.name !== "none") features.push(`codec.${codec.name}`);
  if (dtype === "BF16" || dtype === "F16") features.push(`dtype.${dtype}`);
  return features;
}

/**
 * @param {string[]} stated
 * @param {string[]} used in order
 * @param {string} place
 * @param {boolean} later whether more may be stated than is in use
 * @param {string} where
 */
function checkFeatures(stated, used, place, later, where) {
  const isOrdered = stated.every((name, i) => i === 0 || stated[i - 1] < name);
  const isPlaced = stated.every((name) => FEATURES[/** @type {keyof typeof FEATURES} */ (name)] === place);
  const isComplete = used.every((name) => stated.includes(name)) && (later || stated.length === used.length);
  if (!isOrdered || !isPlaced || !isComplete) {
    throw inconsistent(
      `${where} must list the features in use, each once and in order: [${used.join(", ")}]`,
    );
  }
}

/**
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {string} where
 * @param {Set<string>} listed
 * @param {Map<string, string>} owned files of weights and module buffers, and whose they are
 */
function checkEntry(manifest, entry, where, listed, owned) {
  /** @param {string} path @param {string} extension */
  const needs = (path, extension) => {
    if (!listed.has(path)) throw inconsistent(`${where} names ${quoted(path)}, which is not in files`);
    if (!path.endsWith(extension))
      throw inconsistent(`${where} names ${quoted(path)}, where a ${extension} file is expected`);
  };
  /** @param {string} path */
  const own = (path) => {
    const owner = owned.get(path) ?? where;
    if (owner !== where) throw inconsistent(`${where} names ${quoted(path)}, which belongs to ${owner}`);
    owned.set(path, where);
  };
  const steps = entry.timesteps;
  const used = [];
  if (entry.pieces) {
    needs(entry.pieces.file, ".safetensors");
    if ((entry.pieces.size === undefined) !== (entry.chunks !== undefined)) {
      throw inconsistent(
        `${where}.pieces.size must be ${entry.chunks ? "absent: chunks are pieces" : "there"}`,
      );
    }
  }
  if (entry.buffers !== undefined) {
    used.push("buffers");
    needs(entry.buffers, ".safetensors");
    own(entry.buffers);
  }
  if (manifest.encoding === "convex") {
    if (entry.shards) used.push("knots.shards");
    if (entry.table?.free) used.push("table.free");
    checkConvex(manifest, entry, where, needs, own);
  } else {
    needs(/** @type {string} */ (entry.file), ".h5");
    own(/** @type {string} */ (entry.file));
    checkFull(manifest, entry, where);
  }
  checkFeatures(entry.requires_read ?? [], used, "entry", manifest.later, `${where}.requires_read`);
  if (entry.origin && entry.origin.file >= (manifest.provenance.sources ?? []).length) {
    throw inconsistent(`${where}.origin.file is not an index into provenance.sources`);
  }
  const { numbers } = entry;
  if (numbers && (numbers.length !== steps || !increases(numbers))) {
    throw inconsistent(`${where}.numbers must be ${steps} numbers that increase`);
  }
}

/** @param {number[]} numbers */
const increases = (numbers) => numbers.every((number, i) => i === 0 || numbers[i - 1] < number);

/**
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {string} where
 * @param {(path: string, extension: string) => void} needs
 * @param {(path: string) => void} own
 */
function checkConvex(manifest, entry, where, needs, own) {
  const last = entry.timesteps - 1;
  const knots = /** @type {number[]} */ (entry.knots);
  const table = /** @type {import("./types.js").Table} */ (entry.table);
  if (knots[0] !== 0 || knots[knots.length - 1] !== last || !increases(knots)) {
    throw inconsistent(`${where}.knots must increase from 0 to ${last}`);
  }
  needs(table.file, ".h5");
  if (table.free && knots.length > 2) throw inconsistent(`${where}.table.free is for two knots only`);
  if (table.gram !== undefined && last > 256)
    throw inconsistent(`${where}.table.gram is for at most 257 timesteps`);
  const { file, data, shards } = entry;
  const isWhole = file !== undefined && data !== undefined;
  const hasNeither = file === undefined && data === undefined;
  if (shards ? !hasNeither : !isWhole) throw inconsistent(`${where} must have file and data, or else shards`);
  for (const path of shards ? shards.map((shard) => shard.file) : [/** @type {string} */ (file)]) {
    needs(path, ".safetensors");
    own(path);
  }
  if (shards) {
    if (new Set(shards.map((shard) => shard.file)).size < shards.length)
      throw inconsistent(`${where}.shards name a file twice`);
    const expected = BigInt(knots.length) * BigInt(manifest.parameters.length);
    const found = shards.reduce((sum, shard) => sum + BigInt(shard.tensors), 0n);
    if (found !== expected)
      throw inconsistent(`${where}.shards hold ${found} tensors instead of ${expected}`);
  }
}

/**
 * @param {Manifest} manifest
 * @param {Entry} entry
 * @param {string} where
 */
function checkFull({ codec, elements }, entry, where) {
  const isContiguous = codec?.name === "none";
  if ((entry.data !== undefined) !== isContiguous || (entry.chunks !== undefined) === isContiguous) {
    throw inconsistent(`${where} must have ${isContiguous ? "data and no chunks" : "chunks and no data"}`);
  }
  if (!entry.chunks) return;
  const isPredicted = codec?.name === "archive";
  if ((entry.chunks.slopes !== undefined) !== isPredicted) {
    throw inconsistent(
      `${where}.chunks.slopes must be ${isPredicted ? "there" : "absent"} for the codec ${codec?.name}`,
    );
  }
  const expected =
    BigInt(entry.timesteps) * BigInt(Math.ceil(elements / /** @type {number} */ (codec?.chunk)));
  for (const [key, found] of Object.entries(entry.chunks)) {
    if (BigInt(found.length) !== expected)
      throw inconsistent(`${where}.chunks.${key} has ${found.length} entries instead of ${expected}`);
  }
}
