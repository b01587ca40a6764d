/** Where bundles come from: links, pipes and caches of hubs, servers, and picked files. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { SourceError, UsageError, openAddress, openFiles, openFolder } from "../src/node.js";
import { changeManifest, makeFull } from "./made.js";
import { serve } from "./server.js";
import { FOLDER } from "./vectors.js";

const TWO = `${FOLDER}valid/convex-two-knots.mct`;
const KNOTS = "knots/00000.safetensors";
let work = "";

before(async () => {
  work = await mkdtemp(join(tmpdir(), "reader-"));
});
after(() => rm(work, { recursive: true }));

/** A copy of a bundle that a test may change. */
async function copy() {
  const folder = await mkdtemp(join(work, "copy-"));
  await cp(TWO, folder, { recursive: true });
  return folder;
}

/** @param {string} folder */
async function readAll(folder) {
  const bundle = await openFolder(folder);
  return bundle.trajectory(0).weights(1.5);
}

test("a folder without a manifest, a file, and nothing are no bundles", async () => {
  for (const path of [FOLDER, `${FOLDER}index.json`, `${work}/nothing`]) {
    await assert.rejects(openFolder(path), { code: "not_a_bundle", exit: 3 });
  }
});

test("the folder itself may be reached through a link", async () => {
  await symlink(TWO, join(work, "link"));
  await readAll(join(work, "link"));
});

test("links to files, to folders and to the manifest are refused", async () => {
  for (const path of [KNOTS, "knots", "manifest.json"]) {
    const folder = await copy();
    await rename(join(folder, path), join(folder, "moved"));
    await symlink(join(folder, "moved"), join(folder, path));
    await assert.rejects(readAll(folder), { code: "path_unsafe", exit: 5 });
  }
});

test("pipes and folders are refused at once, and a file in place of a folder holds nothing", async () => {
  const folder = await copy();
  await rm(join(folder, KNOTS));
  execFileSync("mkfifo", [join(folder, KNOTS)]);
  await assert.rejects(readAll(folder), { code: "path_unsafe" });
  await rm(join(folder, KNOTS));
  await mkdir(join(folder, KNOTS));
  await assert.rejects(readAll(folder), { code: "path_unsafe" });
  await rm(join(folder, "knots"), { recursive: true });
  await writeFile(join(folder, "knots"), "");
  await assert.rejects(readAll(folder), { code: "file_missing" });
  await rm(join(folder, "knots"));
  execFileSync("mkfifo", [join(folder, "knots")]);
  await assert.rejects(readAll(folder), { code: "file_missing" });
  await rm(join(folder, "manifest.json"));
  await mkdir(join(folder, "manifest.json"));
  await assert.rejects(openFolder(folder), { code: "path_unsafe" });
});

test("the cache of a hub is read through its links, and through no others", async () => {
  const repo = await mkdtemp(join(work, "hub-"));
  const snapshot = join(repo, "snapshots", "v1", "two.mct");
  await mkdir(join(repo, "blobs"));
  const names = ["manifest.json", KNOTS, "tables/00000.h5"];
  for (const [i, name] of names.entries()) {
    await writeFile(join(repo, "blobs", String(i)), await readFile(join(TWO, name)));
    await mkdir(join(snapshot, name, ".."), { recursive: true });
    await symlink(`${name.includes("/") ? "../" : ""}../../../blobs/${i}`, join(snapshot, name));
  }
  assert.equal((await readAll(snapshot)).t, 1.5);

  await rename(join(repo, "blobs", "1"), join(repo, "elsewhere"));
  await symlink(join(repo, "elsewhere"), join(repo, "blobs", "1"));
  await assert.rejects(readAll(snapshot), { code: "path_unsafe" });
  await rm(join(snapshot, KNOTS));
  await symlink(join(repo, "elsewhere"), join(snapshot, KNOTS));
  await assert.rejects(readAll(snapshot), { code: "path_unsafe" });
});

test("a manifest above 64 MiB is refused before it is read", async () => {
  const folder = await copy();
  await truncate(join(folder, "manifest.json"), 2 ** 40);
  await assert.rejects(openFolder(folder), { code: "manifest_too_large" });
});

test("times outside of the trajectory are errors of usage", async () => {
  const convex = (await openFolder(TWO)).trajectory(0);
  const full = (await openFolder(`${FOLDER}valid/full-zstd.mtt`)).trajectory(0);
  for (const t of [-1, 4.5, NaN, Infinity]) await assert.rejects(convex.weights(t), UsageError);
  await assert.rejects(full.weights(0.5), UsageError);
  assert.throws(() => convex.numberOf(0.5), UsageError);
  await assert.rejects(
    openFolder(TWO).then((bundle) => bundle.trajectory(1)),
    UsageError,
  );
});

test("weights that no memory holds are refused before it is asked for", async () => {
  const folder = await mkdtemp(join(work, "huge-"));
  await makeFull(folder, { elements: 4, timesteps: 2 });
  await changeManifest(folder, (manifest) => {
    manifest.parameters[0].shape = [2 ** 30];
    manifest.files[0].bytes = 2 ** 33;
  });
  await truncate(join(folder, "theta/00000.h5"), 2 ** 33);
  const bundle = await openFolder(folder);
  await assert.rejects(bundle.trajectory(0).weights(0), UsageError);
});

test("the size of a piece is a power of two", async () => {
  const folder = await mkdtemp(join(work, "pieces-"));
  await makeFull(folder, { elements: 4, timesteps: 2 });
  const path = "pieces/00000.safetensors";
  for (const [size, code] of /** @type {[number, string | null][]} */ ([
    [1024, null],
    [1536, "manifest_invalid"],
    [2 ** 24, "manifest_invalid"],
  ])) {
    await changeManifest(folder, (manifest) => {
      manifest.files = [manifest.files[0], { path, bytes: 1000, sha256: "0".repeat(64) }];
      manifest.trajectories[0].pieces = { file: path, data: 100, size, sha256: "0".repeat(64) };
    });
    if (code) await assert.rejects(openFolder(folder), { code });
    else await openFolder(folder);
  }
});

test("one parameter has its shape and its values", async () => {
  const weights = await (await openFolder(TWO)).trajectory(0).weights(0);
  assert.deepEqual(weights.parameter("fc.weight").shape, [2, 3]);
  assert.deepEqual([...weights.parameter("fc.bias").values], [...weights.values().subarray(6, 8)]);
  assert.throws(() => weights.parameter("fc"), UsageError);
});

test("timesteps of the codec archive are the same in any order", async () => {
  const trajectory = (await openFolder(`${FOLDER}valid/full-archive.mtt`)).trajectory(0);
  const forward = [];
  for (const t of trajectory.stored) forward.push((await trajectory.weights(t)).bytes);
  for (const t of trajectory.stored.reverse())
    assert.deepEqual((await trajectory.weights(t)).bytes, forward[t]);
  assert.deepEqual(
    await Promise.all(forward.map(async (_, t) => (await trajectory.weights(t)).bytes)),
    forward,
  );
});

test("of a file at an address, only the bytes in use are fetched", async () => {
  const folder = await copy();
  const server = await serve(folder);
  try {
    await (await openAddress(server.address)).trajectory(0).u();
    assert.deepEqual(server.requests, ["/manifest.json ", "/tables/00000.h5 bytes=0-65535"]);
    await assert.rejects(openAddress(`${server.address}nothing`), { code: "not_a_bundle" });
    await openAddress(`${server.address}manifest.json`);
  } finally {
    server.close();
  }
});

test("a server that fails is no fault of the bundle", async () => {
  const server = await serve(TWO, { broken: true });
  await assert.rejects(openAddress(server.address), SourceError);
  server.close();
  await assert.rejects(openAddress(server.address), SourceError);
  await assert.rejects(openAddress("ftp://127.0.0.1/"), UsageError);
});

test("picked files without a manifest, or of two bundles, are refused", async () => {
  const file = new Blob(["{}"]);
  await assert.rejects(openFiles([{ path: "a/b.h5", file }]), { code: "not_a_bundle" });
  await assert.rejects(openFiles([]), { code: "not_a_bundle" });
  const two = ["x/a/manifest.json", "x/b/manifest.json"].map((path) => ({ path, file }));
  await assert.rejects(openFiles(two), UsageError);
});
