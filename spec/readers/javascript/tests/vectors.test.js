/** All vectors of the classes that this reader claims, from a folder, from an address, and from picked files. */

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { after, before, describe, it } from "node:test";

import { openAddress, openFiles, openFolder } from "../src/node.js";
import { serve } from "./server.js";
import { CLASSES, FOLDER, checkVector, vectors } from "./vectors.js";

/** @typedef {Awaited<ReturnType<typeof serve>>} Server */

const all = await vectors();
const bundles = all.filter((vector) => vector.kind === "bundle");
let passed = 0;

/**
 * The files of a folder as a browser gives them.
 * @param {string} folder
 */
async function pick(folder) {
  const entries = await readdir(FOLDER + folder, { recursive: true, withFileTypes: true });
  return Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = `${entry.parentPath}/${entry.name}`;
        return { path: path.slice(FOLDER.length), file: new Blob([await readFile(path)]) };
      }),
  );
}

describe("vectors in a folder", () => {
  for (const vector of all) {
    it(`${vector.kind} ${vector.name}: ${vector.purpose}`, async () => {
      await checkVector(vector, (folder) => openFolder(FOLDER + folder));
      passed += 1;
    });
  }
  after(() => console.log(`vectors passed: ${passed} of ${all.length}, classes ${CLASSES.join(" and ")}`));
});

describe("bundles from picked files", () => {
  for (const vector of bundles)
    it(vector.name, () => checkVector(vector, async (folder) => openFiles(await pick(folder))));
});

for (const ranges of [true, false]) {
  describe(`bundles at an address, ${ranges ? "with" : "without"} range requests`, () => {
    /** @type {Server} */
    let server;
    before(async () => {
      server = await serve(FOLDER, { ranges });
    });
    after(() => server.close());
    for (const vector of bundles)
      it(vector.name, () => checkVector(vector, (folder) => openAddress(server.address + folder)));
  });
}

it("the index has vectors of both kinds", () => {
  assert.ok(bundles.length > 50 && all.length - bundles.length > 200);
});
