/**
 * Read trajectory bundles, format version 1, in a browser or in Node.
 *
 * `openAddress` and `openFiles` work everywhere; `./node.js` adds `openFolder`.
 */

import { Bundle } from "./bundle.js";
import { AddressSource } from "./sources/address.js";
import { PickedSource } from "./sources/picked.js";

export { Bundle } from "./bundle.js";
export { Refusal, SourceError, UsageError, printable } from "./errors.js";
export { parseManifest } from "./manifest/index.js";
export { Trajectory } from "./trajectory.js";
export { Weights } from "./weights.js";

/**
 * Open a bundle at an address. Its server should support range requests.
 * @param {string} address of the bundle's folder
 * @returns {Promise<Bundle>}
 */
export async function openAddress(address) {
  return Bundle.open(new AddressSource(address));
}

/**
 * Open a bundle from the files of a folder that a user picked or dropped.
 * @param {Iterable<File> | Iterable<{ path: string, file: Blob }>} files
 * @returns {Promise<Bundle>}
 */
export async function openFiles(files) {
  return Bundle.open(new PickedSource(files));
}
