/** A bundle at an address, read by range requests. Works in browsers and in Node. */

import { Refusal, SourceError, UsageError, quoted } from "../errors.js";
import { MAX_BYTES, checkSize } from "../manifest/text.js";
import { changed, missing, notABundle } from "./source.js";

/** @typedef {import("./source.js").Source} Source */

/** The first bytes of a file that come with its size. */
const HEAD = 64 * 1024;
/** A server that ignores ranges sends whole files; larger ones are not read. */
const MAX_WHOLE = 64 * 1024 * 1024;

/**
 * What is known of a file: its size, and its first bytes (all of them if the server knows no ranges).
 * @typedef {{ size: number, head: Uint8Array }} Known
 */

/** @implements {Source} */
export class AddressSource {
  /** @param {string} address of the bundle's folder, or of its `manifest.json` */
  constructor(address) {
    let url;
    try {
      url = new URL(address, globalThis.location?.href);
    } catch {
      throw new UsageError(`${quoted(address)} is not an address`);
    }
    if (!["http:", "https:"].includes(url.protocol))
      throw new UsageError(`${quoted(address)} must begin with http: or https:`);
    url.pathname = url.pathname.replace(/\/*(manifest\.json)?$/, "/");
    url.hash = "";
    this.base = url;
    this.name = url.href;
    /** @type {Map<string, Promise<Known>>} */
    this.known = new Map();
  }

  /** @param {string} path */
  url(path) {
    const url = new URL(this.base);
    url.pathname += path;
    return url.href;
  }

  /** @returns {Promise<Uint8Array>} */
  async manifest() {
    const response = await request(this.url("manifest.json"), {});
    if (isAbsent(response)) throw notABundle(this.name);
    if (!response.ok) throw refused(response);
    return collect(response, MAX_BYTES, () => checkSize(MAX_BYTES + 1));
  }

  /** @param {string} path */
  async size(path) {
    return (await this.probe(path)).size;
  }

  /**
   * @param {string} path
   * @param {number} offset
   * @param {number} length
   */
  async read(path, offset, length) {
    const { size, head } = await this.probe(path);
    if (offset + length <= head.length) return head.slice(offset, offset + length);
    if (head.length === size) throw changed(path);
    const response = await request(this.url(path), { Range: `bytes=${offset}-${offset + length - 1}` });
    const total = totalOf(response);
    if (response.status !== 206 || (total !== null && total !== size)) {
      await response.body?.cancel();
      throw response.ok || response.status === 416 ? changed(path) : refused(response);
    }
    const bytes = await collect(response, length, () => changed(path));
    if (bytes.length !== length) throw changed(path);
    return bytes;
  }

  /** @param {string} path */
  probe(path) {
    let known = this.known.get(path);
    if (!known) {
      known = this.ask(path);
      this.known.set(path, known);
      known.catch(() => this.known.delete(path));
    }
    return known;
  }

  /**
   * @param {string} path
   * @returns {Promise<Known>}
   */
  async ask(path) {
    const response = await request(this.url(path), { Range: `bytes=0-${HEAD - 1}` });
    if (isAbsent(response)) throw missing(path);
    if (response.status === 416) return { size: totalOf(response) ?? 0, head: new Uint8Array() };
    if (!response.ok) throw refused(response);
    if (response.status !== 206) {
      const head = await collect(response, MAX_WHOLE, () => {
        throw new SourceError(
          `${quoted(path)} is too large for a server that does not support range requests`,
        );
      });
      return { size: head.length, head };
    }
    const head = await collect(response, HEAD, () => changed(path));
    // Pages of other origins may not see Content-Range, but every page may see Content-Length.
    const size = totalOf(response) ?? (head.length < HEAD ? head.length : await this.length(path));
    return { size, head };
  }

  /** @param {string} path */
  async length(path) {
    const response = await request(this.url(path), {}, "HEAD");
    const length = response.headers.get("Content-Length");
    if (!response.ok || length === null)
      throw new SourceError(`the server does not state the size of ${quoted(path)}`);
    return Number(length);
  }
}

/** @param {Response} response */
const isAbsent = (response) => response.status === 404 || response.status === 410;

/**
 * The size of the whole file, as `Content-Range` states it.
 * @param {Response} response
 * @returns {number | null}
 */
function totalOf(response) {
  const found = /^bytes .*\/([0-9]+)$/.exec(response.headers.get("Content-Range") ?? "");
  return found && Number(found[1]);
}

/**
 * @param {string} url
 * @param {Record<string, string>} headers
 * @param {string} [method]
 */
async function request(url, headers, method = "GET") {
  try {
    return await fetch(url, { method, headers });
  } catch {
    throw new SourceError(`${url} cannot be reached, or its server does not let this page read it (CORS)`);
  }
}

/** @param {Response} response */
function refused(response) {
  return new SourceError(`${response.url} answered with status ${response.status}`);
}

/**
 * Read a body of at most `limit` bytes.
 * @param {Response} response
 * @param {number} limit
 * @param {() => Error | void} more makes or throws the error for a longer body
 * @returns {Promise<Uint8Array>}
 */
async function collect(response, limit, more) {
  if (!response.body) return new Uint8Array();
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
      if (length > limit) {
        const error = more();
        await reader.cancel();
        throw error;
      }
    }
  } catch (error) {
    if (error instanceof Refusal || error instanceof SourceError) {
      await reader.cancel().catch(() => {});
      throw error;
    }
    throw new SourceError(`${response.url}: the connection ended early`);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
