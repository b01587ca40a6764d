/** The test vectors of the format, and what a reader has to make of each of them. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { Refusal } from "../src/errors.js";
import { fromFloat64 } from "../src/items.js";
import { parseManifest } from "../src/manifest/index.js";

/** The classes of section 1.1 that this reader claims. */
export const CLASSES = ["weights", "full"];

export const FOLDER = fileURLToPath(new URL("../../../v1/vectors/", import.meta.url));

/**
 * @typedef {object} Vector
 * @property {string} name
 * @property {string} file
 * @property {"manifest" | "bundle"} kind
 * @property {boolean} valid
 * @property {string} purpose
 * @property {string} [reason]
 * @property {"open" | "read" | "verify"} [stage]
 * @property {Record<string, string>} [refused]
 * @property {string[]} classes
 */

/** @returns {Promise<Vector[]>} all vectors of the classes that this reader claims */
export async function vectors() {
  const index = JSON.parse(await readFile(`${FOLDER}index.json`, "utf8"));
  return index.vectors.filter((/** @type {Vector} */ vector) =>
    vector.classes.some((name) => CLASSES.includes(name)),
  );
}

/** @typedef {import("../src/bundle.js").Bundle} Bundle */
/** @typedef {(folder: string) => Promise<Bundle>} Open opens a bundle by its path in the folder of vectors */

/**
 * @param {Vector} vector
 * @param {Open} open
 */
export async function checkVector(vector, open) {
  if (vector.kind === "manifest") await checkManifest(vector);
  else if (vector.valid) await checkBundle(vector, open);
  else await checkInvalid(vector, open);
}

/** @param {Vector} vector */
async function checkManifest(vector) {
  const bytes = new Uint8Array(await readFile(FOLDER + vector.file));
  if (!vector.valid) {
    assert.throws(() => parseManifest(bytes), { code: vector.reason });
    return;
  }
  const manifest = parseManifest(bytes);
  const refused = manifest.trajectories.flatMap((entry, number) => (entry.isRefused ? [String(number)] : []));
  assert.deepEqual(refused, Object.keys(vector.refused ?? {}));
}

/**
 * @param {Vector} vector
 * @param {Open} open
 */
async function checkBundle(vector, open) {
  const expected = JSON.parse(await readFile(`${FOLDER}${vector.file}/expected.json`, "utf8"));
  const bundle = await open(vector.file);
  assert.equal(bundle.trajectories.length, expected.trajectories.length);
  for (const trajectory of bundle.trajectories) {
    const wanted = expected.trajectories[trajectory.number];
    if (wanted === null) {
      await assert.rejects(() => trajectory.weights(0), { code: vector.refused?.[trajectory.number] });
    } else await checkTrajectory(trajectory, wanted);
  }
  for (const { path, problem } of await bundle.verify()) assert.equal(problem, null, path);
}

/**
 * @param {import("../src/trajectory.js").Trajectory} trajectory
 * @param {any} wanted
 */
async function checkTrajectory(trajectory, wanted) {
  assert.ok(wanted.weights.length > 0);
  for (const { t, values } of wanted.weights) {
    const { dtype, bytes } = await trajectory.weights(t);
    assert.deepEqual(bytes, fromFloat64(dtype, Float64Array.from(values, Number)), `weights at ${t}`);
  }
  const u = await trajectory.u();
  if (wanted.u) assert.deepEqual(u && [...u.data], wanted.u.flat().map(Number));
  for (const [t, number] of (wanted.numbers ?? []).entries()) assert.equal(trajectory.numberOf(t), number);
  assert.notEqual(await trajectory.checkDigest(), false, "digest");
  assert.equal((await trajectory.buffers(0)) !== null, wanted.buffers !== undefined);
  for (const { t, values } of wanted.buffers ?? []) {
    const found = await trajectory.buffers(t);
    assert.deepEqual([...(found?.keys() ?? [])].sort(), Object.keys(values).sort());
    for (const [name, value] of Object.entries(values)) {
      const got = found?.get(name)?.values();
      assert.deepEqual(
        Array.from(got ?? [], String),
        [value].flat(Infinity).map(String),
        `buffer ${name} at ${t}`,
      );
    }
  }
}

/**
 * @param {Vector} vector
 * @param {Open} open
 */
async function checkInvalid(vector, open) {
  const stages = ["open", "read", "verify"];
  const reached = await refusalOf(vector.file, open);
  assert.ok(reached, "it was not refused");
  assert.equal(reached.error.code, vector.reason, reached.error.message);
  assert.ok(
    stages.indexOf(reached.stage) <= stages.indexOf(vector.stage ?? "open"),
    `refused at the stage ${reached.stage}`,
  );
}

/**
 * Open a bundle, read all of it, verify it, and stop where it is refused.
 * @param {string} file
 * @param {Open} open
 * @returns {Promise<{ stage: string, error: Refusal } | null>}
 */
async function refusalOf(file, open) {
  let stage = "open";
  try {
    const bundle = await open(file);
    stage = "read";
    for (const trajectory of bundle.trajectories) {
      await trajectory.u();
      await trajectory.stepNorms();
      await trajectory.gram();
      for (const t of trajectory.stored) {
        await trajectory.weights(t);
        await trajectory.buffers(t);
      }
    }
    stage = "verify";
    for (const { problem } of await bundle.verify()) if (problem) throw problem;
    return null;
  } catch (error) {
    if (error instanceof Refusal) return { stage, error };
    throw error;
  }
}
