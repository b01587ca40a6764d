/** The parts of the page about the bundle as a whole: facts, layers, files and provenance. */

import { Refusal } from "../src/index.js";
import { count, facts, make, part, short, size, table } from "./elements.js";

/** @typedef {import("../src/bundle.js").Bundle} Bundle */
/** @typedef {(error: unknown) => void} Fail shows an error */

/** @param {Bundle} bundle */
export function bundlePart(bundle) {
  const { manifest } = bundle;
  const { codec, provenance, layers, parameters, trajectories } = manifest;
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const refused = trajectories.filter((entry) => entry.isRefused).length;
  const name = bundle.name.replace(/\/+$/, "").split("/").pop() || bundle.name;
  const section = part(
    name,
    [],
    facts([
      ["Encoding", encoding(manifest)],
      ["Version", `${manifest.version.major}.${manifest.version.minor}`],
      ["Network", network(provenance.model)],
      ["Dataset", provenance.dataset],
      [
        "Trajectories",
        refused
          ? `${count(trajectories.length)}, of which ${count(refused)} cannot be read`
          : count(trajectories.length),
      ],
      ["Timesteps", timesteps(trajectories.map((entry) => entry.timesteps))],
      ["Parameters", `${count(manifest.elements)} in ${count(parameters.length)} tensors, ${manifest.dtype}`],
      ["Layers", count(layers.length)],
      ["Files", `${count(manifest.files.length)}, ${size(bytes)}`],
      [
        "Codec",
        codec &&
          (codec.keyframe
            ? `${codec.name}, a keyframe every ${count(codec.keyframe)} timesteps`
            : codec.name),
      ],
      ["Features", manifest.requires_read.join(", ")],
      ["Written by", `${manifest.generator.name} ${manifest.generator.version}`],
      ["Private keys", Object.keys(manifest.private).join(", ")],
      ["Address", bundle.name === name ? null : bundle.name, "wide"],
      ["sha256 of the manifest", bundle.identity, "wide mono"],
    ]),
  );
  section.querySelector("h2")?.classList.add("bundle-name");
  return section;
}

/** @param {import("../src/manifest/types.js").Manifest} manifest */
function encoding(manifest) {
  if (manifest.encoding === "full") return "full: every timestep, bit for bit";
  return manifest.smoothed ? "convex, knots smoothed" : "convex: knots and a table";
}

/** @param {any} model */
function network(model) {
  if (!model) return null;
  const parts = [
    model.depth && `depth ${model.depth}`,
    model.width && `width ${model.width}`,
    model.channels === 1 ? "1 channel" : `${model.channels} channels`,
    model.image_size && `${model.image_size} × ${model.image_size} pixels`,
    `${count(model.classes)} classes`,
    model.norm && `${model.norm} norm`,
    model.pooling && `${model.pooling} pooling`,
    model.factory,
  ];
  return `${model.family}: ${parts.filter(Boolean).join(", ")}`;
}

/** @param {number[]} all */
function timesteps(all) {
  if (all.length === 0) return null;
  const [least, most] = all.reduce(([a, b], n) => [Math.min(a, n), Math.max(b, n)], [Infinity, 0]);
  return least === most ? count(least) : `${count(least)} to ${count(most)}`;
}

/** @param {Bundle} bundle */
export function layersPart({ manifest }) {
  const { layers, parameters, starts } = manifest;
  const elements = (/** @type {number} */ i) => starts[i + 1] - starts[i];
  const layerOf = new Map(layers.flatMap((layer) => layer.parameters.map((i) => [i, layer.name])));
  return part(
    "Layers",
    [],
    table([["Layer"], ["Tensors", "number"], ["Elements", "number"]], layers.length, (l) => {
      const { name, parameters: members } = layers[l];
      const total = members.reduce((sum, i) => sum + elements(i), 0);
      return make(
        "tr",
        {},
        make("td", {}, name),
        make("td", { class: "number" }, count(members.length)),
        make("td", { class: "number" }, count(total)),
      );
    }),
    make(
      "details",
      {},
      make("summary", {}, `All ${count(parameters.length)} parameters`),
      table(
        [["Parameter"], ["Shape"], ["Type"], ["Layer"], ["Elements", "number"]],
        parameters.length,
        (i) => {
          const { name, shape, dtype } = parameters[i];
          return make(
            "tr",
            {},
            [name, shape.join(" × ") || "scalar", dtype, layerOf.get(i)].map((cell) => make("td", {}, cell)),
            make("td", { class: "number" }, count(elements(i))),
          );
        },
      ),
    ),
  );
}

/**
 * @param {Bundle} bundle
 * @param {Fail} fail
 */
export function filesPart(bundle, fail) {
  const { files } = bundle.manifest;
  if (files.length === 0) return part("Files", [], make("p", {}, "This bundle lists no files."));
  /** @type {Map<string, HTMLElement>} */
  const cells = new Map();
  /** @type {Map<string, [string, string]>} */
  const states = new Map();
  const state = (/** @type {string} */ path, /** @type {string} */ text, /** @type {string} */ kind) => {
    states.set(path, [text, kind]);
    const cell = cells.get(path);
    if (cell) cell.textContent = text;
    if (cell) cell.className = kind;
  };
  const result = make("span", { class: "muted", role: "status", id: "verified" });
  const button = make("button", { type: "button", id: "verify" }, "Verify all files");
  let stop = false;
  button.addEventListener("click", async () => {
    if (button.textContent !== "Verify all files") {
      stop = true;
      return;
    }
    stop = false;
    button.textContent = "Stop";
    try {
      await verify(bundle, state, result, () => stop);
    } catch (error) {
      fail(error);
    } finally {
      button.textContent = "Verify all files";
    }
  });
  const rows = table([["File"], ["Size", "number"], ["State"]], files.length, (i) => {
    const { path, bytes } = files[i];
    const [text, kind] = states.get(path) ?? ["not verified", ""];
    const cell = make("td", { class: kind }, text);
    cells.set(path, cell);
    return make(
      "tr",
      {},
      make("td", { class: "mono" }, path),
      make("td", { class: "number" }, size(bytes)),
      cell,
    );
  });
  return part("Files", [result, button], rows);
}

/**
 * Verify all files one after the other.
 * @param {Bundle} bundle
 * @param {(path: string, text: string, kind: string) => void} state
 * @param {HTMLElement} result
 * @param {() => boolean} isStopped
 */
async function verify(bundle, state, result, isStopped) {
  const { files } = bundle.manifest;
  const bar = make("progress", {
    max: files.reduce((sum, file) => sum + file.bytes, 0) || 1,
    value: 0,
    "aria-label": "Bytes verified",
  });
  result.replaceChildren(bar);
  let [done, damaged, checked] = [0, 0, 0];
  try {
    for (const { path, bytes } of files) {
      if (isStopped()) break;
      try {
        await bundle.verifyFile(path, (part) => {
          bar.value = done + part;
          if (isStopped()) throw new Stopped();
        });
        state(path, "verified ✓", "good");
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        damaged += 1;
        state(path, `${error.message} [${error.code}]`, "bad");
      }
      checked += 1;
      done += bytes;
    }
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  } finally {
    const what = damaged
      ? `${count(damaged)} of ${count(checked)} files are damaged`
      : `${count(checked)} of ${count(files.length)} files verified`;
    result.replaceChildren(what);
  }
}

class Stopped extends Error {}

/** @param {Bundle} bundle */
export function provenancePart({ manifest }) {
  const { provenance } = manifest;
  const { preprocessing: prepared, timestep, recipe, sources = [], known_from: known = {} } = provenance;
  const how = {
    path: "a path",
    shapes: "the shapes",
    flag: "a flag",
    run: "the run",
    file: "a source file",
    layout: "the layout",
  };
  const from = (/** @type {string} */ fact) => {
    const source = how[/** @type {keyof typeof how} */ (known[fact])];
    return source ? make("span", { class: "muted" }, ` (known from ${source})`) : null;
  };
  const numbered = manifest.trajectories.some((/** @type {any} */ entry) => entry.numbers !== undefined);
  const list = facts([
    ["Dataset", provenance.dataset && [provenance.dataset, from("dataset")]],
    ["Network", provenance.model && [network(provenance.model), from("model")]],
    ["Preprocessing", prepared && [preprocessing(prepared), from("preprocessing")]],
    [
      "Timestep",
      timestep && [
        numbered
          ? `${timestep.kind}s, by the numbers of each trajectory`
          : (timestep.every ?? 1) === 1
            ? `every ${timestep.kind}`
            : `every ${count(timestep.every)} ${timestep.kind}s`,
        from("timestep"),
      ],
    ],
    [
      "First timestep in the source",
      provenance.first_timestep === undefined ? null : count(provenance.first_timestep),
    ],
    ...Object.entries(recipe ?? {}).map(
      ([key, value]) => /** @type {[string, any]} */ ([`Recipe: ${key}`, [String(value), from(key)]]),
    ),
  ]);
  const nothing = list.children.length === 0 && sources.length === 0;
  const files = table([["Source"], ["Size", "number"], ["sha256"]], sources.length, (i) =>
    make(
      "tr",
      {},
      make("td", {}, sources[i].name),
      make("td", { class: "number" }, size(sources[i].bytes)),
      make("td", { class: "mono" }, sources[i].sha256),
    ),
  );
  return part(
    "Provenance",
    [],
    nothing ? make("p", { class: "muted" }, "Nothing is known of the origin.") : list,
    sources.length ? files : null,
  );
}

/** @param {any} facts */
function preprocessing({ kind, mean, std, eps, images_sha256: images }) {
  const parts = [
    mean && `mean ${mean.map(short).join(", ")}`,
    std && `deviation ${std.map(short).join(", ")}`,
    eps !== undefined && `eps ${short(eps)}`,
    images && `fitted on images with sha256 ${images}`,
  ];
  return [kind, ...parts.filter(Boolean)].join("; ");
}
