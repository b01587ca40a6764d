/** The page in a real browser: what it shows, by pointer and by keyboard, and that it asks for nothing else. */

import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { openFolder } from "../src/node.js";
import { Browser, findBrowser } from "./browser.js";
import { changeManifest, makeFull } from "./made.js";
import { serve } from "./server.js";
import { FOLDER } from "./vectors.js";

/** @typedef {Awaited<ReturnType<typeof serve>>} Server */

const path = findBrowser();
const SPEC = fileURLToPath(new URL("../../../", import.meta.url));
const OPENED = "!document.getElementById('report').hidden";
const SOUND = /^verified ✓$/;
const FAILED = "!document.getElementById('error').hidden";

describe("the page", { skip: path ? false : "no Chromium" }, () => {
  /** @type {Browser} */
  let browser;
  /** @type {Server} */
  let server;
  let work = "";

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "page-"));
    server = await serve(SPEC);
    browser = await Browser.launch(path ?? "");
  });
  after(async () => {
    server.close();
    await browser?.close();
    await rm(work, { recursive: true });
  });
  beforeEach(() => browser.look({}));

  const page = () => `${server.address}readers/javascript/index.html`;
  const vector = (/** @type {string} */ name) => `${server.address}v1/vectors/${name}`;
  const text = (/** @type {string} */ selector) =>
    browser.value(`document.querySelector(${JSON.stringify(selector)})?.innerText`);
  const all = (/** @type {string} */ selector) =>
    browser.value(
      `[...document.querySelectorAll(${JSON.stringify(selector)})].map((element) => element.textContent)`,
    );
  const focus = (/** @type {string} */ selector) =>
    browser.value(`document.querySelector(${JSON.stringify(selector)}).focus()`);

  /** @param {string} address @param {string} [until] */
  async function open(address, until = OPENED) {
    await browser.go(`${page()}?bundle=${encodeURIComponent(address)}`);
    await browser.until(until);
  }

  /** The facts of a part of the page, by name. @param {number} which */
  const facts = (which) =>
    browser.value(
      `Object.fromEntries([...document.querySelectorAll("dl.facts")[${which}].children].map((x) => [x.children[0].textContent, x.children[1].textContent]))`,
    );

  it("shows what a report about a bundle shows", async () => {
    await open(vector("valid/convex-two-knots.mct"));
    const bundle = await openFolder(`${FOLDER}valid/convex-two-knots.mct`);
    assert.deepEqual(await facts(0), {
      Encoding: "convex: knots and a table",
      Version: "1.0",
      Dataset: "example",
      Trajectories: "1",
      Timesteps: "5",
      Parameters: "9 in 3 tensors, F32",
      Layers: "3",
      Files: `${bundle.manifest.files.length}, ${(bundle.manifest.files.reduce((sum, file) => sum + file.bytes, 0) / 1024).toPrecision(3)} KiB`,
      "Written by": "spec-vectors 1",
      Address: vector("valid/convex-two-knots.mct/"),
      "sha256 of the manifest": bundle.identity,
    });
    const trajectory = await facts(1);
    assert.equal(trajectory["Number in the source"], "epoch 0 to 4");
    assert.equal(trajectory.Knots, "2: 0, 4");
    assert.equal(trajectory.Digest, bundle.trajectory(0).digest);
    assert.deepEqual(
      await all("[aria-labelledby=part-files] td.mono"),
      bundle.manifest.files.map((file) => file.path),
    );
    assert.equal(await browser.value("document.title"), "convex-two-knots.mct – Trajectory bundle");
    assert.deepEqual(browser.complaints, []);
    for (const url of browser.requests) assert.ok(url.startsWith(server.address) || url === "data:,", url);
  });

  it("draws one curve of u for each layer, and the path in four ways", async () => {
    await open(vector("valid/convex-two-knots.mct"));
    await browser.until("document.querySelectorAll('#chart-path polyline').length === 1");
    const lines = await browser.value(
      `[...document.querySelectorAll("#chart-u polyline")].map((x) => x.getAttribute("points"))`,
    );
    const u = await (await openFolder(`${FOLDER}valid/convex-two-knots.mct`)).trajectory(0).u();
    assert.equal(lines.length, 3);
    lines.forEach((/** @type {string} */ line, /** @type {number} */ l) => {
      const heights = line.split(" ").map((point) => Number(point.split(",")[1]));
      const share = heights.map((y) => (heights[0] - y) / (heights[0] - heights[4]));
      share.forEach((value, t) => assert.ok(Math.abs(value - (u?.data[t * 3 + l] ?? 0)) < 1e-3));
    });
    assert.deepEqual(await all("#chart-path .tabs label"), [
      "Distance from the start",
      "Map",
      "Length of the path",
      "Length of each step",
    ]);
    for (let view = 1; view < 4; view++) {
      await browser.value(`document.querySelectorAll("#chart-path input")[${view}].click()`);
      await browser.until("document.querySelectorAll('#chart-path .series').length === 1");
      assert.equal((await all("#chart-path .chord")).length, view === 1 ? 1 : 0);
    }
  });

  it("reads single values by the arrow keys, and one layer alone by the legend", async () => {
    await open(vector("valid/convex-two-knots.mct"));
    await browser.until("document.querySelector('#chart-u polyline')");
    await focus("#chart-u svg");
    for (let i = 0; i < 2; i++) await browser.press("ArrowRight", { code: 39 });
    assert.match(await text("#chart-u .readout"), /^t = 1: beta from 0\.\d+ to 0\.\d+$/);
    await browser.press("End", { code: 35 });
    assert.equal(await text("#chart-u .readout"), "t = 4: beta from 1 to 1");
    await focus("#chart-u .legend button:nth-child(2)");
    await browser.press("Enter", { code: 13, text: "\r" });
    assert.deepEqual(
      await browser.value(
        `[...document.querySelectorAll("#chart-u polyline")].map((x) => x.classList.contains("chosen"))`,
      ),
      [false, true, false],
    );
  });

  it("verifies files, and names those that are damaged", async () => {
    for (const [name, states] of /** @type {[string, RegExp[]][]} */ ([
      ["valid/convex-two-knots.mct", []],
      ["invalid/knots-bit-flipped.mct", [/damaged.*\[hash_mismatch\]$/]],
    ])) {
      await open(vector(name));
      const before = await all("[aria-labelledby=part-files] td:last-child");
      assert.deepEqual(new Set(before), new Set(["not verified"]));
      await focus("#verify");
      await browser.press("Enter", { code: 13, text: "\r" });
      await browser.until("/files/.test(document.getElementById('verified').textContent)");
      const found = await all("[aria-labelledby=part-files] td:last-child");
      assert.equal(found.length, before.length);
      found.forEach((/** @type {string} */ line, /** @type {number} */ i) =>
        assert.match(line, states[i] ?? SOUND),
      );
    }
  });

  it("says in one line why a bundle is not opened", async () => {
    for (const [name, code] of [
      ["valid", "not_a_bundle"],
      ["invalid/bundle-minor-feature.mct", "unknown_feature"],
    ]) {
      await open(vector(name), FAILED);
      assert.match(await text("#error"), new RegExp(`^[^\\n]+ \\[${code}\\]$`));
      assert.equal(await browser.value("document.getElementById('report').hidden"), true);
    }
    await open("ftp://example", FAILED);
    assert.equal(await text("#error"), '"ftp://example" must begin with http: or https:');
  });

  it("shows what is readable beside what is damaged", async () => {
    await open(vector("invalid/beta-nan.mct"), FAILED);
    assert.match(await text("#error"), /\[beta_invalid\]$/);
    await browser.until("document.querySelector('#chart-path polyline')");
  });

  it("refuses a single trajectory, and shows the others", async () => {
    await open(vector("valid/bundle-minor-entry.mct"));
    assert.equal((await facts(0)).Trajectories, "2, of which 1 cannot be read");
    const seen = [];
    for (let i = 0; i < 2; i++) {
      seen.push(await text("#report .alert"));
      await focus("[aria-label='Next trajectory']");
      await browser.press("Enter", { code: 13, text: "\r" });
    }
    const refused = seen.filter((line) => line !== undefined && line !== null);
    assert.equal(refused.length, 1);
    assert.match(refused[0], /\[unknown_feature\]$/);
  });

  it("opens a folder that was picked, and gives its weights", async () => {
    await browser.go(page());
    await browser.until("!document.getElementById('open').hidden");
    await browser.pick("#folder", [`${FOLDER}valid/full-archive.mtt`]);
    await browser.until(OPENED);
    assert.equal(await text(".bundle-name"), "full-archive.mtt");
    await browser.until("document.querySelector('#chart-path polyline')");
    await browser.value("document.getElementById('time').value = 1");
    await focus("#time");
    await browser.press("Enter", { code: 13, text: "\r" });
    await browser.until("document.querySelector('#weights td')");
    const weights = await (await openFolder(`${FOLDER}valid/full-archive.mtt`)).trajectory(0).weights(1);
    const least = Math.min(...weights.toFloat64().subarray(0, 6));
    assert.equal((await all("#weights tr:first-child td"))[4], String(Number(least.toPrecision(4))));
    assert.deepEqual(browser.complaints, []);
  });

  it("reads from another origin that lets pages read, but does not show Content-Range", async () => {
    await makeFull(join(work, "large.mtt"), { elements: 30_000, timesteps: 3 });
    const other = await serve(work, { cors: true });
    const closed = await serve(work);
    try {
      await open(`${other.address}large.mtt`);
      await browser.until("document.querySelector('#chart-path polyline')");
      await browser.value("document.getElementById('verify').click()");
      await browser.until("document.querySelector('td.good')");
      await open(`${closed.address}large.mtt`, FAILED);
      assert.match(await text("#error"), /CORS/);
    } finally {
      other.close();
      closed.close();
    }
  });

  it("takes names for text, not for markup", async () => {
    const folder = join(work, "markup.mct");
    await cp(`${FOLDER}valid/convex-two-knots.mct`, folder, { recursive: true });
    const name = "<img src=x onerror='document.title=1'>\u202e\u001b";
    await changeManifest(folder, (manifest) => {
      manifest.generator.name = name;
      manifest.layers[0].name = name;
      manifest.provenance = {
        dataset: name,
        recipe: { [name]: name },
        sources: [{ name, bytes: 1, sha256: "0".repeat(64) }],
      };
    });
    await browser.go(page());
    await browser.until("!document.getElementById('open').hidden");
    await browser.pick("#folder", [folder]);
    await browser.until(OPENED);
    await browser.until("document.querySelector('#chart-u polyline')");
    assert.equal(await browser.value("document.images.length"), 0);
    assert.equal((await facts(0)).Dataset, "<img src=x onerror='document.title=1'>\\u202e\\u001b");
    assert.deepEqual(browser.complaints, []);
  });

  it("does not call timesteps with numbers of their own every step", async () => {
    const folder = join(work, "numbered.mct");
    await cp(`${FOLDER}valid/convex-two-knots.mct`, folder, { recursive: true });
    await changeManifest(folder, (manifest) => {
      const [entry] = manifest.trajectories;
      entry.numbers = Array.from({ length: entry.timesteps }, (_, t) => t * t + 500);
      manifest.provenance.timestep = { kind: "step" };
    });
    await browser.go(page());
    await browser.until("!document.getElementById('open').hidden");
    await browser.pick("#folder", [folder]);
    await browser.until(OPENED);
    const { Timestep: told } = Object.assign({}, ...(await Promise.all([0, 1, 2].map(facts))));
    assert.match(told, /^steps, by the numbers of each trajectory/);
  });

  it("can be read in light and in dark", async () => {
    const grounds = [];
    for (const dark of [false, true]) {
      await browser.look({ dark });
      await open(vector("valid/convex-two-knots.mct"));
      const [ground, ...inks] = await browser.value(
        `["body", "#report dd", "#report dt", "#pick"].map((x) => getComputedStyle(document.querySelector(x))).flatMap((s, i) => i === 0 ? [s.backgroundColor] : i === 3 ? [] : [s.color])`,
      );
      grounds.push(ground);
      for (const ink of inks) assert.ok(contrast(ground, ink) >= 4.5, `${ink} on ${ground}`);
    }
    assert.notEqual(grounds[0], grounds[1]);
  });

  it("says how to start it where it was opened as a file", async () => {
    await browser.go(new URL("../index.html", import.meta.url).href);
    await browser.until("document.readyState === 'complete'");
    assert.match(await text("#not-started"), /^This page has not started\..*python3 -m http\.server/);
    assert.equal(await browser.value("document.getElementById('open').hidden"), true);
  });

  it("fits a narrow window", async () => {
    await browser.look({ width: 360 });
    await open(vector("valid/convex-two-knots.mct"));
    await browser.until("document.querySelector('#chart-path polyline')");
    assert.ok(await browser.value("document.documentElement.scrollWidth <= innerWidth"));
  });
});

/**
 * Contrast of two colours `rgb(r, g, b)`, as WCAG defines it.
 * @param {string} a
 * @param {string} b
 */
function contrast(a, b) {
  const [light, dark] = [a, b]
    .map((colour) => {
      const [red, green, blue] = (colour.match(/\d+/g) ?? []).map((part) => {
        const value = Number(part) / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    })
    .sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}
