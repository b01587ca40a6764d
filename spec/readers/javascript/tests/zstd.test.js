/** The decoder of zstd frames, on damaged ones. The tests in Python try it on many sound ones. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { parseManifest } from "../src/manifest/index.js";
import { ZstdError, decodeFrame } from "../src/zstd/frame.js";
import { FOLDER } from "./vectors.js";

const folder = `${FOLDER}valid/full-zstd.mtt/`;
const manifest = parseManifest(new Uint8Array(await readFile(`${folder}manifest.json`)));
const { chunks } = manifest.trajectories[0];
const file = new Uint8Array(await readFile(`${folder}theta/00000.h5`));
const size = (manifest.codec?.chunk ?? 0) * manifest.width;
const frames = (chunks?.offsets ?? []).map((offset, i) =>
  file.slice(offset, offset + (chunks?.sizes[i] ?? 0)),
);

test("the frames of the vectors decode", () => {
  assert.ok(frames.length > 0);
  for (const frame of frames) assert.equal(decodeFrame(frame, size).length, size);
});

test("a frame with any bit flipped is refused", () => {
  for (const frame of frames) {
    const sound = decodeFrame(frame, size);
    for (let bit = 0; bit < 8 * frame.length; bit++) {
      const damaged = frame.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      try {
        // A bit without meaning may be lost, but the bytes never change.
        assert.deepEqual(decodeFrame(damaged, size), sound);
      } catch (error) {
        assert.ok(error instanceof ZstdError, String(error));
      }
    }
  }
});

test("a frame that ends early, or is followed by something, is refused", () => {
  for (const frame of frames) {
    for (let end = 0; end < frame.length; end++)
      assert.throws(() => decodeFrame(frame.subarray(0, end), size), ZstdError);
    assert.throws(() => decodeFrame(Uint8Array.of(...frame, 0), size), ZstdError);
  }
});
