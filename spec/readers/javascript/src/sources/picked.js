/** A bundle whose files a user picked in a browser, or dropped on a page. */

import { SourceError, UsageError, quoted } from "../errors.js";
import { checkSize } from "../manifest/text.js";
import { changed, missing, notABundle } from "./source.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {{ path: string, file: Blob }} Picked a path with slashes, and the file */

/** @implements {Source} */
export class PickedSource {
  /**
   * @param {Iterable<File> | Iterable<Picked>} files as of `<input type="file" webkitdirectory>`, or with their paths
   */
  constructor(files) {
    /** @type {Picked[]} */
    const all = Array.from(/** @type {Iterable<File | Picked>} */ (files), (entry) =>
      "path" in entry && "file" in entry
        ? entry
        : { path: entry.webkitRelativePath || entry.name, file: entry },
    );
    const manifests = all.filter(({ path }) => /(^|\/)manifest\.json$/.test(path));
    const depth = (/** @type {Picked} */ { path }) => path.split("/").length;
    const least = Math.min(...manifests.map(depth));
    const roots = manifests.filter((entry) => depth(entry) === least);
    if (roots.length > 1) throw new UsageError("the folder holds several bundles; pick one of them");
    if (roots.length === 0) throw notABundle(all.length ? all[0].path.split("/")[0] : "nothing");
    const root = roots[0].path.slice(0, -"manifest.json".length);
    this.name = root.replace(/\/$/, "") || "picked files";
    this.files = new Map(
      all
        .filter(({ path }) => path.startsWith(root))
        .map(({ path, file }) => [path.slice(root.length), file]),
    );
  }

  /** @returns {Promise<Uint8Array>} */
  async manifest() {
    const file = /** @type {Blob} */ (this.files.get("manifest.json"));
    checkSize(file.size);
    return slice(file, 0, file.size, "manifest.json");
  }

  /** @param {string} path */
  async size(path) {
    return this.file(path).size;
  }

  /**
   * @param {string} path
   * @param {number} offset
   * @param {number} length
   */
  async read(path, offset, length) {
    return slice(this.file(path), offset, length, path);
  }

  /** @param {string} path */
  file(path) {
    const file = this.files.get(path);
    if (!file) throw missing(path, "it is not among the picked files");
    return file;
  }
}

/**
 * @param {Blob} file
 * @param {number} offset
 * @param {number} length
 * @param {string} path
 */
async function slice(file, offset, length, path) {
  let bytes;
  try {
    bytes = new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
  } catch {
    throw new SourceError(`${quoted(path)} cannot be read any more; pick the folder again`);
  }
  if (bytes.length !== length) throw changed(path);
  return bytes;
}
