/** Safetensors files: the header, as sections 6.1 and 6.8 want it. */

import { Refusal, quoted } from "./errors.js";
import { BUFFER_WIDTHS } from "./items.js";
import { JsonError, parseJson, weigh } from "./json.js";

/** @typedef {import("./json.js").Json} Json */
/** @typedef {import("./manifest/types.js").Manifest} Manifest */
/** @typedef {import("./items.js").BufferType} BufferType */
/** @typedef {(offset: number, length: number) => Promise<Uint8Array>} Read reads from the file */
/** @typedef {{ dtype: BufferType, shape: number[], begin: number, end: number }} Tensor offsets in the file */

const MAX_HEADER = 100_000_000;
const MAX_WEIGHT = 4_000_000;
const MAX_NAME = 1024;
const MAX_BYTES = BigInt(Number.MAX_SAFE_INTEGER);
const [OPEN, CLOSE, SPACE] = [0x7b, 0x7d, 0x20];

/**
 * Length of the header.
 * @param {string} path
 * @param {number} size of the file
 * @param {Read} read
 * @returns {Promise<number>}
 */
async function headerLength(path, size, read) {
  if (size < 8)
    throw new Refusal("header_invalid", `${quoted(path)} has ${size} bytes, too few for a safetensors file`);
  const bytes = await read(0, 8);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER) {
    throw new Refusal(
      "header_too_large",
      `${quoted(path)} declares a header of ${length} bytes; at most ${MAX_HEADER} are read`,
    );
  }
  return Number(length);
}

/**
 * The entries of a header, without `__metadata__`.
 * @param {string} path
 * @param {number} length
 * @param {Read} read
 * @returns {Promise<Map<string, Json>>}
 */
async function headerText(path, length, read) {
  const bytes = await read(8, length);
  const weight = weigh(bytes);
  if (weight > MAX_WEIGHT) {
    throw new Refusal(
      "header_too_large",
      `the header of ${quoted(path)} has a weight of ${weight}; at most ${MAX_WEIGHT} are read`,
    );
  }
  const illegal = (/** @type {string} */ why) =>
    new Refusal("header_invalid", `the header of ${quoted(path)} is not legal: ${why}`);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === SPACE) end -= 1;
  if (bytes[0] !== OPEN || bytes[end - 1] !== CLOSE)
    throw illegal("it must be a JSON object, and then spaces");
  let header;
  try {
    header = /** @type {Map<string, Json>} */ (parseJson(bytes));
  } catch (error) {
    if (error instanceof JsonError) throw illegal(error.message);
    throw error;
  }
  const metadata = header.get("__metadata__");
  if (metadata !== undefined && !isStrings(metadata))
    throw illegal("__metadata__ must be an object of strings");
  header.delete("__metadata__");
  return header;
}

/** @param {Json} value */
const isStrings = (value) =>
  value instanceof Map && [...value.values()].every((text) => typeof text === "string");

/**
 * @param {string} path
 * @param {string} what
 */
function mismatch(path, what) {
  return new Refusal("header_mismatch", `the header of ${quoted(path)} ${what}`);
}

/**
 * @param {number} timestep
 * @param {string} name
 */
const tensorName = (timestep, name) => `${String(timestep).padStart(5, "0")}/${name}`;

/** @param {Json | undefined} value @param {number[]} expected */
const isList = (value, expected) =>
  Array.isArray(value) && value.length === expected.length && expected.every((n, i) => n === value[i]);

/**
 * Check the header of a file of knots against the manifest.
 * @param {Manifest} manifest
 * @param {number[]} knots of the trajectory
 * @param {{ path: string, data: number, first: number, count: number, bytes: number }} file with the tensors that it
 *   holds, counted over all knots, and their bytes
 * @param {number} size of the file
 * @param {Read} read
 */
export async function checkKnots(manifest, knots, { path, data, first, count, bytes }, size, read) {
  const length = await headerLength(path, size, read);
  if (8 + length !== data)
    throw mismatch(path, `ends at byte ${8 + length}, but the manifest says that the data begin at ${data}`);
  if (data + bytes !== size)
    throw mismatch(path, `is followed by ${size - data} bytes of data instead of ${bytes}`);
  const header = await headerText(path, length, read);
  if (header.size !== count) throw mismatch(path, `names ${header.size} tensors instead of ${count}`);
  const { parameters, starts, width } = manifest;
  let at = 0;
  for (let i = first; i < first + count; i++) {
    const which = i % parameters.length;
    const { name, shape, dtype } = parameters[which];
    const key = tensorName(knots[Math.floor(i / parameters.length)], name);
    const entry = header.get(key);
    const end = at + (starts[which + 1] - starts[which]) * width;
    const isRight =
      entry instanceof Map &&
      entry.size === 3 &&
      entry.get("dtype") === dtype &&
      isList(entry.get("shape"), shape) &&
      isList(entry.get("data_offsets"), [at, end]);
    if (!isRight) throw mismatch(path, `does not describe ${quoted(key)} as the manifest does`);
    at = end;
  }
}

/**
 * Read and check the header of a file of module buffers.
 * @param {string} path
 * @param {number[]} timesteps that are stored
 * @param {number} size of the file
 * @param {Read} read
 * @returns {Promise<Map<number, Map<string, Tensor>>>} tensors by name, by timestep
 */
export async function readBuffers(path, timesteps, size, read) {
  const length = await headerLength(path, size, read);
  if (8 + length > size) throw mismatch(path, "ends after the file");
  const header = await headerText(path, length, read);
  /** @type {Map<number, Map<string, Tensor>>} */
  const stored = new Map(timesteps.map((t) => [t, new Map()]));
  const all = [];
  for (const [key, value] of header) {
    const slash = key.indexOf("/");
    const timestep = Number(key.slice(0, slash));
    const name = key.slice(slash + 1);
    const tensors = stored.get(timestep);
    if (slash < 0 || !tensors || tensorName(timestep, name) !== key) {
      throw mismatch(path, `has the tensor ${quoted(key)}, which is of no stored timestep`);
    }
    if (!name || [...name].length > MAX_NAME)
      throw mismatch(path, `has the tensor ${quoted(key)}, whose name is not allowed`);
    const tensor = readTensor(path, key, value, 8 + length);
    tensors.set(name, tensor);
    all.push(tensor);
  }
  all.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 8 + length;
  for (const { begin, end } of all) {
    if (begin !== at)
      throw mismatch(path, `describes tensors with a gap or an overlap at byte ${Math.min(begin, at)}`);
    at = end;
  }
  if (at !== size) throw mismatch(path, `describes ${at} bytes of a file of ${size}`);
  checkSame(path, stored);
  return stored;
}

/**
 * @param {string} path
 * @param {string} key
 * @param {Json} value
 * @param {number} data where the data begin
 * @returns {Tensor}
 */
function readTensor(path, key, value, data) {
  const wrong = (/** @type {string} */ what) => mismatch(path, `describes ${quoted(key)} ${what}`);
  if (!(value instanceof Map) || value.size !== 3) throw wrong("in an unknown way");
  const [dtype, shape, offsets] = [value.get("dtype"), value.get("shape"), value.get("data_offsets")];
  if (typeof dtype !== "string" || !Object.hasOwn(BUFFER_WIDTHS, dtype)) throw wrong("with an unknown type");
  if (!isCounts(shape) || shape.length > 8) throw wrong("with an unknown shape");
  if (!isCounts(offsets) || offsets.length !== 2) throw wrong("with unknown offsets");
  const type = /** @type {BufferType} */ (dtype);
  const [begin, end] = offsets;
  const bytes = shape.reduce((product, n) => product * BigInt(n), BigInt(BUFFER_WIDTHS[type]));
  const most = shape.reduce((product, n) => product * BigInt(n || 1), BigInt(BUFFER_WIDTHS[type]));
  if (most > MAX_BYTES) throw wrong("with an impossibly large shape");
  if (BigInt(end) - BigInt(begin) !== bytes)
    throw wrong(`with ${end - begin} bytes, but its shape needs ${bytes}`);
  return { dtype: type, shape, begin: data + begin, end: data + end };
}

/**
 * @param {Json | undefined} value
 * @returns {value is number[]}
 */
function isCounts(value) {
  return Array.isArray(value) && value.every((n) => typeof n === "number" && n >= 0);
}

/**
 * Every stored timestep has the same names, types and shapes.
 * @param {string} path
 * @param {Map<number, Map<string, Tensor>>} stored
 */
function checkSame(path, stored) {
  const [first, ...others] = stored.values();
  for (const tensors of others) {
    const isSame =
      tensors.size === first.size &&
      [...tensors].every(
        ([name, { dtype, shape }]) =>
          dtype === first.get(name)?.dtype && isList(first.get(name)?.shape, shape),
      );
    if (!isSame) throw mismatch(path, "has other tensors at one timestep than at another");
  }
}
