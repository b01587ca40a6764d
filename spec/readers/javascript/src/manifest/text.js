/** Steps 1 to 5 of section 4.3: from bytes to JSON whose version, checksum and features are right. */

import { Refusal, quoted } from "../errors.js";
import { JsonError, parseJson, weigh } from "../json.js";
import { Sha256 } from "../sha256.js";

/** @typedef {import("../json.js").Json} Json */

/** Largest manifest in bytes. */
export const MAX_BYTES = 64 * 1024 * 1024;
const MAX_WEIGHT = 7_000_000;
const HASH = /^[0-9a-f]{64}$/;

/** Features of version 1.0 (4.1), and where they are listed. */
export const FEATURES = {
  buffers: "entry",
  "codec.archive": "top",
  "codec.zstd": "top",
  "dtype.BF16": "top",
  "dtype.F16": "top",
  "knots.shards": "entry",
  "table.free": "entry",
};

/** @param {Json | undefined} value */
export const isHash = (value) => typeof value === "string" && HASH.test(value);

/** @param {string} name */
export const isKnownFeature = (name) => Object.hasOwn(FEATURES, name);

/**
 * @param {Uint8Array} bytes of `manifest.json`
 * @returns {Map<string, Json>}
 * @throws {Refusal} with the first failure of steps 1 to 5
 */
export function readText(bytes) {
  checkSize(bytes.length);
  const weight = weigh(bytes);
  if (weight > MAX_WEIGHT) {
    throw new Refusal(
      "manifest_too_large",
      `manifest.json has a weight of ${weight}; at most ${MAX_WEIGHT} are read`,
    );
  }
  let json;
  try {
    json = parseJson(bytes);
  } catch (error) {
    if (error instanceof JsonError)
      throw new Refusal("manifest_invalid", `manifest.json is no legal JSON: ${error.message}`);
    throw error;
  }
  if (!(json instanceof Map) || json.get("format") !== "trajfmt") {
    throw new Refusal(
      "not_a_bundle",
      'manifest.json is not the manifest of a bundle: it has no "format": "trajfmt"',
    );
  }
  checkVersion(json.get("version"));
  checkChecksum(bytes, json.get("checksum"));
  const features = json.get("requires_read");
  for (const feature of Array.isArray(features) ? features : []) {
    if (typeof feature === "string" && !isKnownFeature(feature)) {
      throw new Refusal(
        "unknown_feature",
        `the bundle needs the feature ${quoted(feature)}, which this reader does not know`,
      );
    }
  }
  return json;
}

/**
 * @param {number} bytes size of `manifest.json`
 * @throws {Refusal}
 */
export function checkSize(bytes) {
  if (bytes > MAX_BYTES) {
    throw new Refusal(
      "manifest_too_large",
      `manifest.json has ${bytes} bytes; at most ${MAX_BYTES} are read`,
    );
  }
}

/** @param {Json | undefined} version */
function checkVersion(version) {
  if (!(version instanceof Map)) return;
  const major = version.get("major");
  const minor = version.get("minor");
  if (typeof major === "number" && typeof minor === "number" && major >= 0 && minor >= 0 && major !== 1) {
    throw new Refusal(
      "unknown_version",
      `the bundle has version ${major}.${minor} of the format; this reader knows 1`,
    );
  }
}

/**
 * Section 3.8.
 * @param {Uint8Array} bytes
 * @param {Json | undefined} checksum
 */
function checkChecksum(bytes, checksum) {
  if (typeof checksum !== "string" || !isHash(checksum)) {
    throw new Refusal("manifest_invalid", "manifest.json: checksum must be 64 lower-case hexadecimal digits");
  }
  const digits = new TextEncoder().encode(checksum);
  const at = find(bytes, digits, 0);
  if (at < 0 || find(bytes, digits, at + 1) >= 0) {
    throw new Refusal(
      "hash_mismatch",
      "manifest.json: the digits of checksum must appear once, without escapes",
    );
  }
  const hash = new Sha256().update(bytes.subarray(0, at)).update(new Uint8Array(64).fill(0x30));
  if (hash.update(bytes.subarray(at + 64)).hex() !== checksum) {
    throw new Refusal(
      "hash_mismatch",
      "manifest.json is damaged: its bytes do not have the sha256 that checksum states",
    );
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {Uint8Array} part
 * @param {number} from
 */
function find(bytes, part, from) {
  for (let at = bytes.indexOf(part[0], from); at >= 0; at = bytes.indexOf(part[0], at + 1)) {
    let i = 1;
    while (i < part.length && bytes[at + i] === part[i]) i++;
    if (i === part.length) return at;
  }
  return -1;
}
