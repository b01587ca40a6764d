/** The manifest: section 3, checked in the order of section 4.3. */

import { checkConsistency, checkPaths, checkShapes } from "./consistency.js";
import { checkRegions } from "./regions.js";
import { readStructure } from "./structure.js";
import { readText } from "./text.js";

/** @typedef {import("./types.js").Manifest} Manifest */

/**
 * Parse and check a manifest, without any other file.
 * @param {Uint8Array} bytes of `manifest.json`
 * @returns {Manifest}
 * @throws {import("../errors.js").Refusal} with the first failure
 */
export function parseManifest(bytes) {
  const manifest = readStructure(readText(bytes));
  checkPaths(manifest);
  checkShapes(manifest);
  checkConsistency(manifest);
  checkRegions(manifest);
  return manifest;
}
