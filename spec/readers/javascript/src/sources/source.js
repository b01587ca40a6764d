/**
 * A place that holds the files of a bundle: a folder, an address, or files that a user picked.
 *
 * A source only brings bytes. It knows nothing of the format, except the rules on links of section 2.1.
 *
 * @typedef {object} Source
 * @property {string} name for humans
 * @property {(limit: number) => Promise<Uint8Array>} manifest the bytes of `manifest.json`; refuses with `not_a_bundle`
 *   if there is none, and calls `checkSize` with its size before it reads more than `limit` bytes
 * @property {(path: string) => Promise<number>} size of a listed file in bytes; refuses with `path_unsafe`, then with
 *   `file_missing`
 * @property {(path: string, offset: number, length: number) => Promise<Uint8Array>} read exactly these bytes
 */

import { Refusal, quoted } from "../errors.js";

/**
 * @param {string} name
 * @returns {Refusal}
 */
export function notABundle(name) {
  return new Refusal("not_a_bundle", `${quoted(name)} is not a bundle: it has no file manifest.json`);
}

/**
 * @param {string} path
 * @param {string} [why]
 * @returns {Refusal}
 */
export function missing(path, why = "it does not exist") {
  return new Refusal("file_missing", `${quoted(path)} is listed in the manifest, but ${why}`);
}

/**
 * @param {string} path
 * @returns {Refusal}
 */
export function changed(path) {
  return new Refusal("source_changed", `${quoted(path)} changed while it was read; open the bundle again`);
}
