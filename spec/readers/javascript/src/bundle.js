/** An open bundle. */

import { Refusal, UsageError, quoted } from "./errors.js";
import { parseManifest } from "./manifest/index.js";
import { MAX_BYTES } from "./manifest/text.js";
import { Sha256, sha256 } from "./sha256.js";
import { Trajectory } from "./trajectory.js";

/** @typedef {import("./manifest/types.js").Manifest} Manifest */
/** @typedef {import("./sources/source.js").Source} Source */

/**
 * What a verification found about a file.
 * @typedef {{ path: string, problem: Refusal | null }} Verdict
 */

const PIECE = 4 * 1024 * 1024;

export class Bundle {
  /**
   * @param {Source} source
   * @param {Uint8Array} bytes of `manifest.json`
   */
  constructor(source, bytes) {
    this.source = source;
    this.name = source.name;
    /** @type {Manifest} */
    this.manifest = parseManifest(bytes);
    /** The sha256 of `manifest.json`, which identifies the bundle (section 7). */
    this.identity = sha256(bytes);
    this.listed = new Map(this.manifest.files.map((file) => [file.path, file]));
    /** @type {Map<string, Promise<number>>} */
    this.sizes = new Map();
    const files = {
      size: (/** @type {string} */ path) => this.size(path),
      read: (/** @type {string} */ path, /** @type {number} */ offset, /** @type {number} */ length) =>
        source.read(path, offset, length),
    };
    this.trajectories = this.manifest.trajectories.map(
      (_, number) => new Trajectory(this.manifest, number, files),
    );
  }

  /**
   * @param {Source} source
   * @returns {Promise<Bundle>}
   */
  static async open(source) {
    return new Bundle(source, await source.manifest(MAX_BYTES));
  }

  /**
   * @param {number} number from 0
   * @returns {Trajectory}
   */
  trajectory(number) {
    const found = this.trajectories[number];
    if (!found)
      throw new UsageError(`there is no trajectory ${number}; the bundle has ${this.trajectories.length}`);
    return found;
  }

  /**
   * Compare the size of a listed file with the manifest, once.
   * @param {string} path
   * @returns {Promise<number>}
   */
  size(path) {
    let size = this.sizes.get(path);
    if (!size) {
      size = this.source.size(path).then((found) => {
        const expected = /** @type {import("./manifest/types.js").FileEntry} */ (this.listed.get(path)).bytes;
        if (found !== expected)
          throw new Refusal(
            "file_size_mismatch",
            `${quoted(path)} has ${found} bytes instead of ${expected}`,
          );
        return found;
      });
      this.sizes.set(path, size);
      size.catch(() => this.sizes.delete(path));
    }
    return size;
  }

  /**
   * Hash a file and compare it with the manifest.
   * @param {string} path
   * @param {(done: number) => void} [onProgress] called with the bytes of the file that are done
   * @throws {Refusal} `hash_mismatch`, or what `size` refuses
   */
  async verifyFile(path, onProgress = () => {}) {
    const expected = this.listed.get(path);
    if (!expected) throw new UsageError(`${quoted(path)} is not a file of the bundle`);
    const size = await this.size(path);
    const hash = new Sha256();
    for (let at = 0; at < size;) {
      const bytes = await this.source.read(path, at, Math.min(PIECE, size - at));
      hash.update(bytes);
      at += bytes.length;
      onProgress(at);
    }
    if (hash.hex() !== expected.sha256)
      throw new Refusal(
        "hash_mismatch",
        `${quoted(path)} is damaged: its sha256 is not the one that is listed`,
      );
  }

  /**
   * Verify all listed files, and the pieces of all trajectories (section 8).
   * @param {(verdict: Verdict) => void} [onVerdict] called after each of them
   * @returns {Promise<Verdict[]>} one for each file, then one for each trajectory with pieces
   */
  async verify(onVerdict = () => {}) {
    /** @type {Verdict[]} */
    const verdicts = [];
    const judge = async (/** @type {string} */ path, /** @type {Promise<void>} */ work) => {
      const problem = await work.then(
        () => null,
        (error) => error,
      );
      if (problem && !(problem instanceof Refusal)) throw problem;
      verdicts.push({ path, problem });
      onVerdict(verdicts[verdicts.length - 1]);
    };
    for (const { path } of this.manifest.files) await judge(path, this.verifyFile(path));
    for (const trajectory of this.trajectories) {
      const { pieces } = trajectory.entry;
      if (pieces && !trajectory.refusal) await judge(pieces.file, trajectory.verifyPieces());
    }
    return verdicts;
  }
}
