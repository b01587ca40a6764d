/**
 * The manifest as `parseManifest` returns it: the keys of section 3, and a few that follow from them.
 *
 * @typedef {{ name: string, shape: number[], dtype: import("../items.js").ItemType }} Parameter
 * @typedef {{ name: string, parameters: number[] }} Layer
 * @typedef {{ path: string, bytes: number, sha256: string }} FileEntry
 * @typedef {{ file: string, data: number, tensors: number }} Shard
 * @typedef {{ file: string, u: number, step_norms?: number, gram?: number, free?: boolean }} Table
 * @typedef {{ offsets: number[], sizes: number[], slopes?: number[] }} Chunks
 * @typedef {{ file: string, data: number, size?: number, sha256: string }} Pieces
 *
 * @typedef {object} Entry an entry of `trajectories`
 * @property {number} timesteps
 * @property {string} digest
 * @property {string[]} [requires_read]
 * @property {boolean} isRefused needs a feature that is not known; then there are no other keys
 * @property {string} [file]
 * @property {number} [data]
 * @property {number[]} [numbers]
 * @property {string} [buffers]
 * @property {{ file: number, trajectory: number }} [origin]
 * @property {number[]} [knots] convex only, and there always
 * @property {Table} [table] convex only, and there always
 * @property {Shard[]} [shards]
 * @property {Chunks} [chunks]
 * @property {Pieces} [pieces]
 *
 * @typedef {object} Manifest
 * @property {{ major: number, minor: number }} version
 * @property {string} checksum
 * @property {"convex" | "full"} encoding
 * @property {string[]} requires_read
 * @property {string[]} requires_write
 * @property {{ name: string, version: string }} generator
 * @property {Parameter[]} parameters
 * @property {Layer[]} layers
 * @property {FileEntry[]} files
 * @property {Record<string, any>} provenance known keys only
 * @property {Entry[]} trajectories
 * @property {boolean} [smoothed]
 * @property {{ name: "none" | "zstd" | "archive", chunk?: number, keyframe?: number }} [codec]
 * @property {Record<string, any>} private the keys that begin with `x_`
 * @property {boolean} later whether the minor version is above the reader's own
 * @property {number} elements P
 * @property {number} width bytes of an item
 * @property {import("../items.js").ItemType} dtype
 * @property {number[]} starts the element at which each parameter begins, and P
 */

export {};
