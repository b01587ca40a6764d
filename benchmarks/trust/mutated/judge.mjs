/**
 * Read the bundles in a folder, and print for each one line of JSON: what was refused, or what it holds.
 *
 *     node judge.mjs FOLDER
 */

import { readdirSync } from "node:fs";

import { Refusal, openFolder } from "../../../spec/readers/javascript/src/node.js";

const hex = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString("hex");

/** @param {string} folder */
async function judged(folder) {
  const values = {};
  let stage = "open";
  try {
    const bundle = await openFolder(folder);
    stage = "read";
    for (const trajectory of bundle.trajectories) {
      if (trajectory.refusal) continue;
      const number = trajectory.number;
      const tables = [await trajectory.u(), await trajectory.stepNorms(), await trajectory.gram()];
      values[`${number} tables`] = tables.map((table) => table && hex(new Uint8Array(table.data.buffer)));
      const last = trajectory.timesteps - 1;
      const stored = trajectory.stored;
      for (const t of trajectory.convex ? [...stored, 0.25, last / 2, last - 0.125] : stored) {
        values[`${number} ${t}`] = hex((await trajectory.weights(t)).bytes);
        const buffers = await trajectory.buffers(t);
        for (const [name, { bytes }] of buffers ?? []) values[`${number} ${t} ${name}`] = hex(bytes);
      }
    }
    stage = "verify";
    for (const { problem } of await bundle.verify()) if (problem) throw problem;
    return { values, stage: "" };
  } catch (error) {
    if (error instanceof Refusal) return { values, stage, code: error.code };
    return { values, stage, code: `${error?.name}: ${error?.message}`.slice(0, 300) };
  }
}

const root = process.argv[2];
for (const name of readdirSync(root)) console.log(JSON.stringify({ name, ...(await judged(`${root}/${name}`)) }));
