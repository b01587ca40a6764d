/** The page: opens bundles, and shows what they hold or why they are not opened. */

import { Refusal, SourceError, UsageError, openAddress, openFiles, printable } from "../src/index.js";
import { bundlePart, filesPart, layersPart, provenancePart } from "./report.js";
import { trajectoriesPart } from "./trajectory.js";

/** @typedef {import("../src/bundle.js").Bundle} Bundle */

const MAX_DROPPED = 100_000;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
const find = (id) => /** @type {T} */ (document.getElementById(id));

const error = find("error");
const status = find("status");
const report = find("report");
/** @type {HTMLInputElement} */
const folder = find("folder");
/** @type {HTMLInputElement} */
const address = find("address");
const panel = find("open");
let turn = 0;

/**
 * Show an error in one plain line.
 * @param {unknown} problem
 */
function fail(problem) {
  const known = problem instanceof Refusal || problem instanceof SourceError || problem instanceof UsageError;
  const code = problem instanceof Refusal ? ` [${problem.code}]` : "";
  const message = problem instanceof Error ? problem.message : String(problem);
  error.textContent = printable(known ? message + code : `This page has an error: ${message}`);
  error.hidden = false;
}

/**
 * Open a bundle and show it; a later call wins.
 * @param {() => Promise<Bundle>} open
 */
async function start(open) {
  const mine = ++turn;
  error.hidden = true;
  report.hidden = true;
  report.replaceChildren();
  status.textContent = "Opening…";
  document.title = "Trajectory bundle";
  try {
    const bundle = await open();
    if (mine !== turn) return;
    const later = (/** @type {unknown} */ problem) => {
      if (mine === turn) fail(problem);
    };
    report.append(
      bundlePart(bundle),
      trajectoriesPart(bundle, later),
      layersPart(bundle),
      filesPart(bundle, later),
      provenancePart(bundle),
    );
    report.hidden = false;
    document.title = `${printable(bundle.name.replace(/\/$/, "").split("/").pop() ?? "")} – Trajectory bundle`;
    status.textContent = "";
    report.focus({ preventScroll: true });
  } catch (problem) {
    if (mine !== turn) return;
    status.textContent = "";
    fail(problem);
  }
}

/**
 * The files of a dropped folder, with their paths.
 * @param {DataTransfer} data
 * @returns {Promise<{ path: string, file: File }[]>}
 */
async function dropped(data) {
  const waiting = Array.from(data.items, (item) => item.webkitGetAsEntry());
  /** @type {{ path: string, file: File }[]} */
  const files = [];
  while (waiting.length) {
    const entry = waiting.pop();
    if (!entry) continue;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) =>
        /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
      );
      files.push({ path: entry.fullPath.replace(/^\//, ""), file });
      continue;
    }
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    for (;;) {
      /** @type {FileSystemEntry[]} */
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) break;
      waiting.push(...some);
      if (waiting.length + files.length > MAX_DROPPED)
        throw new UsageError("this folder holds too many files for a bundle");
    }
  }
  return files;
}

find("pick").addEventListener("click", () => folder.click());
folder.addEventListener("change", () => {
  const files = [...(folder.files ?? [])];
  folder.value = "";
  if (files.length) start(() => openFiles(files));
});
find("address-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = address.value.trim();
  if (!wanted) return;
  const url = new URL(location.href);
  url.searchParams.set("bundle", wanted);
  history.replaceState(null, "", url);
  start(() => openAddress(wanted));
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  panel.classList.add("over");
});
document.addEventListener("dragleave", () => panel.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  panel.classList.remove("over");
  const data = event.dataTransfer;
  if (data) {
    const files = dropped(data);
    start(async () => openFiles(await files));
  }
});

find("not-started").remove();
panel.hidden = false;
const wanted = new URL(location.href).searchParams.get("bundle");
if (wanted) {
  address.value = wanted;
  start(() => openAddress(wanted));
}
