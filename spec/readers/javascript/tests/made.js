/** Bundles that the tests make: changed vectors, and one that is larger than those. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { Sha256, sha256 } from "../src/sha256.js";

/**
 * Write a manifest with the checksum that belongs to it.
 * @param {string} folder
 * @param {any} manifest
 */
export async function writeManifest(folder, manifest) {
  const zeros = "0".repeat(64);
  const text = `${JSON.stringify({ ...manifest, checksum: zeros })}\n`;
  await writeFile(join(folder, "manifest.json"), text.replace(zeros, sha256(new TextEncoder().encode(text))));
}

/**
 * Change the manifest of a bundle.
 * @param {string} folder
 * @param {(manifest: any) => void} change
 */
export async function changeManifest(folder, change) {
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  change(manifest);
  await writeManifest(folder, manifest);
}

/**
 * A full bundle without compression: one trajectory whose weights at timestep t are all t.
 * @param {string} folder
 * @param {{ elements: number, timesteps: number }} size
 */
export async function makeFull(folder, { elements, timesteps }) {
  const weights = Float32Array.from({ length: elements * timesteps }, (_, i) => Math.floor(i / elements));
  const bytes = new Uint8Array(weights.buffer);
  const digest = new Sha256().update(new Sha256().update(bytes.subarray(0, 4 * elements)).digest());
  digest.update(new Sha256().update(bytes.subarray(bytes.length - 4 * elements)).digest());
  digest.update(new Uint8Array(BigUint64Array.of(BigInt(timesteps)).buffer));
  const path = "theta/00000.h5";
  await mkdir(join(folder, dirname(path)), { recursive: true });
  await writeFile(join(folder, path), bytes);
  await writeManifest(folder, {
    format: "trajfmt",
    version: { major: 1, minor: 0 },
    checksum: "",
    encoding: "full",
    requires_read: [],
    requires_write: [],
    generator: { name: "tests", version: "1" },
    parameters: [{ name: "w", shape: [elements], dtype: "F32" }],
    layers: [{ name: "all", parameters: [0] }],
    files: [{ path, bytes: bytes.length, sha256: sha256(bytes) }],
    provenance: {},
    codec: { name: "none" },
    trajectories: [{ timesteps, file: path, data: 0, digest: digest.hex() }],
  });
}
