/** A small server of files for the tests: with range requests, or without, as some servers are. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
};

/**
 * @param {string} root folder that is served
 * @param {{ ranges?: boolean, broken?: boolean, cors?: boolean }} [options] `broken`: answer every request with
 *   status 500; `cors`: let pages of other origins read, but not see Content-Range
 * @returns {Promise<{ address: string, requests: string[], close: () => void }>}
 */
export async function serve(root, { ranges = true, broken = false, cors = false } = {}) {
  /** @type {string[]} */
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname));
    if (cors) response.setHeader("Access-Control-Allow-Origin", "*");
    requests.push(`${path} ${request.headers.range ?? ""}`);
    if (broken) return void response.writeHead(500).end();
    let bytes;
    try {
      bytes = await readFile(join(root, path));
    } catch {
      return void response.writeHead(404).end();
    }
    const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(path))] ?? "application/octet-stream";
    const range = ranges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range)
      return void response
        .writeHead(200, { "Content-Type": type, "Content-Length": bytes.length })
        .end(bytes);
    const from = Number(range[1]);
    const to = Math.min(Number(range[2]), bytes.length - 1);
    if (from > to) return void response.writeHead(416, { "Content-Range": `bytes */${bytes.length}` }).end();
    const headers = { "Content-Type": type, "Content-Range": `bytes ${from}-${to}/${bytes.length}` };
    response.writeHead(206, headers).end(bytes.subarray(from, to + 1));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    address: `http://127.0.0.1:${port}/`,
    requests,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
