/** Step 6 of section 4.3: keys, types, values and ranges (sections 3.1 to 3.7 and 4.2). */

import { plain, Real } from "../json.js";
import { isKnownFeature } from "./text.js";
import {
  boolean,
  count,
  float,
  hash,
  index,
  integer,
  invalid,
  list,
  matching,
  object,
  oneOf,
  open,
  positive,
  record,
  string,
  text,
} from "./rules.js";

/** @typedef {import("../json.js").Json} Json */
/** @template T @typedef {import("./rules.js").Rule<T>} Rule */
/** @typedef {import("./types.js").Manifest} Manifest */

const MINOR = 0;
const timesteps = integer(2, 1_048_576);

const parameter = object({
  name: text,
  shape: list(count, 0, 8),
  dtype: oneOf("F16", "BF16", "F32", "F64"),
});
const layer = object({ name: text, parameters: list(index, 1) });
const file = object({ path: string, bytes: count, sha256: hash });
const origin = object({ file: index, trajectory: index });

/** Bytes of a piece: a power of two. @type {Rule<number>} */
const pieceSize = (value, where, later) => {
  const size = integer(2 ** 10, 2 ** 23)(value, where, later);
  if (!Number.isInteger(Math.log2(size))) throw invalid(where, "a power of two");
  return size;
};
const pieces = object({ file: string, data: count, sha256: hash }, { size: pieceSize });
const common = { numbers: list(count), buffers: string, pieces, origin, requires_read: list(text) };

const convexEntry = object(
  {
    timesteps,
    knots: list(index, 2),
    table: object({ file: string, u: count }, { step_norms: count, gram: count, free: boolean }),
    digest: hash,
  },
  {
    file: string,
    data: count,
    shards: list(object({ file: string, data: count, tensors: positive }), 1),
    ...common,
  },
);
const fullEntry = object(
  { timesteps, file: string, digest: hash },
  {
    data: count,
    chunks: object({ offsets: list(count), sizes: list(count) }, { slopes: list(integer(-1, 4)) }),
    ...common,
  },
);
const refusedEntry = object({ timesteps, digest: hash, requires_read: list(text) }, {}, () => true);

const codec = object(
  { name: oneOf("none", "zstd", "archive") },
  { chunk: integer(1, 2 ** 20), keyframe: positive },
);

/**
 * An entry of `trajectories`. Of an entry with an unknown feature, only three keys are looked at (4.1).
 * @param {Rule<any>} rule
 * @returns {Rule<any>}
 */
const entryOf = (rule) => (value, where, later) => {
  const features = value instanceof Map ? value.get("requires_read") : undefined;
  const isRefused =
    Array.isArray(features) && features.some((name) => typeof name === "string" && !isKnownFeature(name));
  return { ...(isRefused ? refusedEntry : rule)(value, where, later), isRefused };
};

const FACTORY = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$/;

/** @type {Rule<string>} */
const factory = (value, where, later) => {
  const name = matching(FACTORY, "a name as package.module:name")(value, where, later);
  if (name.length > 200) throw invalid(where, "a name of at most 200 characters");
  return name;
};

const modelKeys = open(
  {
    family: oneOf("ConvNet", "AlexNet", "VGG11", "ResNet18", "ResNet18AP", "other"),
    channels: positive,
    classes: positive,
  },
  {
    depth: positive,
    width: positive,
    image_size: positive,
    norm: oneOf("instance", "batch", "group", "layer", "none"),
    pooling: oneOf("avg", "max", "none"),
    factory,
  },
);

/** Section 3.7. @type {Rule<any>} */
const model = (value, where, later) => {
  const result = modelKeys(value, where, later);
  const isConvNet = result.family === "ConvNet";
  for (const key of ["depth", "width"]) {
    if (key in result !== isConvNet)
      throw invalid(`${where}.${key}`, isConvNet ? "there for a ConvNet" : "absent for this family");
  }
  if ("factory" in result && result.family !== "other")
    throw invalid(`${where}.factory`, "absent for this family");
  return result;
};

/** A plain value of a recipe. @type {Rule<string | number | boolean | null>} */
const scalar = (value, where) => {
  if (value === null || ["string", "number", "boolean"].includes(typeof value) || value instanceof Real)
    return plain(value);
  throw invalid(where, "a string, a number, true, false or null");
};

/** @type {Record<string, Rule<any>>} */
const facts = {
  dataset: text,
  model,
  preprocessing: open(
    { kind: oneOf("none", "normalize", "zca") },
    { mean: list(float), std: list(float), eps: float, images_sha256: hash },
  ),
  recipe: record(scalar),
  timestep: open({ kind: oneOf("epoch", "step") }, { every: positive }),
  first_timestep: index,
  known_from: record(oneOf("path", "shapes", "flag", "run", "file", "layout")),
};

/**
 * A fact of a later version that this version cannot read counts as absent (4.2).
 * @param {Rule<any>} rule
 * @returns {Rule<any>}
 */
const lenient = (rule) => (value, where, later) => {
  try {
    return rule(value, where, later);
  } catch (error) {
    if (later) return undefined;
    throw error;
  }
};

/** Section 3.6. @type {Rule<any>} */
const provenance = (value, where, later) => {
  const rules = Object.fromEntries(Object.entries(facts).map(([key, rule]) => [key, lenient(rule)]));
  const sources = list(open({ name: text, bytes: count, sha256: hash }));
  const result = open({}, { ...rules, sources })(value, where, later);
  for (const key of Object.keys(result)) if (result[key] === undefined) delete result[key];
  return result;
};

const head = object({ major: integer(1, 1), minor: count });

/** @param {"convex" | "full"} encoding */
const topLevel = (encoding) =>
  object(
    {
      format: oneOf("trajfmt"),
      version: head,
      checksum: hash,
      encoding: oneOf("convex", "full"),
      requires_read: list(text),
      requires_write: list(text),
      generator: object({ name: text, version: text }),
      parameters: list(parameter, 1),
      layers: list(layer, 1),
      files: list(file),
      provenance,
      trajectories: list(entryOf(encoding === "full" ? fullEntry : convexEntry)),
      ...(encoding === "full" ? { codec } : {}),
    },
    encoding === "convex" ? { smoothed: boolean } : {},
    (key, later) => key.startsWith("x_") || (later && key !== "smoothed" && key !== "codec"),
  );

/**
 * Check the structure of a manifest.
 * @param {Map<string, Json>} json
 * @returns {Manifest}
 */
export function readStructure(json) {
  const version = /** @type {Json} */ (json.get("version") ?? null);
  const { minor } = head(version, "version", true);
  const later = minor > MINOR;
  head(version, "version", later);
  const encoding = oneOf("convex", "full")(json.get("encoding") ?? null, "encoding", later);
  const manifest = topLevel(encoding)(json, "", later);
  manifest.later = later;
  manifest.private = Object.create(null);
  for (const [key, value] of json) if (key.startsWith("x_")) manifest.private[key] = plain(value);
  return manifest;
}
