/** A bundle in a folder of this machine (Node only). */

import { constants } from "node:fs";
import { lstat, open, readlink, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";

import { Refusal, SourceError, quoted } from "../errors.js";
import { checkSize } from "../manifest/text.js";
import { changed, missing, notABundle } from "./source.js";

/** @typedef {import("./source.js").Source} Source */

const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** @implements {Source} */
export class FolderSource {
  /**
   * @param {string} name as the user gave it
   * @param {string} root without links
   */
  constructor(name, root) {
    this.name = name;
    this.root = root;
  }

  /**
   * @param {string} folder
   * @returns {Promise<FolderSource>}
   */
  static async at(folder) {
    try {
      if ((await stat(folder)).isDirectory()) return new FolderSource(folder, await realpath(folder));
    } catch (error) {
      if (!isAbsent(error)) throw unreadable(folder, error);
    }
    throw notABundle(folder);
  }

  /** @returns {Promise<Uint8Array>} */
  async manifest() {
    let handle;
    try {
      handle = await this.open("manifest.json");
    } catch (error) {
      if (isAbsent(error)) throw notABundle(this.name);
      throw error instanceof Refusal ? error : unreadable(join(this.name, "manifest.json"), error);
    }
    try {
      const { size } = await handle.stat();
      checkSize(size);
      return await readAll(handle, 0, size, "manifest.json");
    } finally {
      await handle.close();
    }
  }

  /** @param {string} path */
  async size(path) {
    const handle = await this.openListed(path);
    try {
      return (await handle.stat()).size;
    } finally {
      await handle.close();
    }
  }

  /**
   * @param {string} path
   * @param {number} offset
   * @param {number} length
   */
  async read(path, offset, length) {
    const handle = await this.openListed(path);
    try {
      return await readAll(handle, offset, length, path);
    } finally {
      await handle.close();
    }
  }

  /** @param {string} path */
  async openListed(path) {
    try {
      return await this.open(path);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw missing(path, isAbsent(error) ? undefined : `it cannot be opened (${codeOf(error)})`);
    }
  }

  /**
   * Open a regular file to which no link leads, except those in the cache of a hub.
   * @param {string} path
   */
  async open(path) {
    const parts = path.split("/");
    let at = this.root;
    for (const part of parts.slice(0, -1)) {
      at = join(at, part);
      const found = await lstat(at);
      if (found.isSymbolicLink()) throw unsafe(path, "a folder on the way is a link");
      if (!found.isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
    }
    let target = join(at, parts[parts.length - 1]);
    let found = await lstat(target);
    if (found.isSymbolicLink()) {
      target = await cached(target, path);
      found = await lstat(target);
    }
    if (!found.isFile()) throw unsafe(path, "it is not a regular file");
    const handle = await open(target, FLAGS);
    const opened = await handle.stat();
    if (opened.isFile() && opened.ino === found.ino && opened.dev === found.dev) return handle;
    await handle.close();
    throw unsafe(path, "it was replaced while it was opened");
  }
}

/**
 * The file behind a link at `R/snapshots/V/…`, which must lie directly in `R/blobs` (2.1).
 * @param {string} link absolute, without links in its folder
 * @param {string} path
 * @returns {Promise<string>}
 */
async function cached(link, path) {
  const target = resolve(dirname(link), await readlink(link));
  const parts = link.split(sep);
  for (let i = 1; i + 2 < parts.length; i++) {
    if (parts[i] !== "snapshots") continue;
    const blobs = [...parts.slice(0, i), "blobs"].join(sep);
    if (dirname(target) === blobs && (await lstat(blobs)).isDirectory()) return target;
  }
  throw unsafe(path, "it is a link");
}

/**
 * @param {import("node:fs/promises").FileHandle} handle
 * @param {number} offset
 * @param {number} length
 * @param {string} path
 */
async function readAll(handle, offset, length, path) {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), offset + done);
    if (bytesRead === 0) throw changed(path);
    done += bytesRead;
  }
  return bytes;
}

/**
 * @param {string} path
 * @param {string} why
 */
function unsafe(path, why) {
  return new Refusal("path_unsafe", `${quoted(path)} is not safe to open: ${why}`);
}

/** @param {unknown} error */
const codeOf = (error) => (error instanceof Error && "code" in error ? String(error.code) : String(error));

/** @param {unknown} error */
const isAbsent = (error) => ["ENOENT", "ENOTDIR"].includes(codeOf(error));

/**
 * @param {string} path
 * @param {unknown} error
 */
function unreadable(path, error) {
  return new SourceError(`${quoted(path)} cannot be read (${codeOf(error)})`);
}
