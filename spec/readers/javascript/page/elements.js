/** Elements of the page. Text of a bundle only ever becomes text, with control characters escaped. */

import { printable } from "../src/index.js";

/** @typedef {Node | string | number | null | undefined} Child */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, any>} [properties] `class`, `on…` listeners, and attributes
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  fill(element, properties, children);
  return element;
}

/**
 * Make an element of SVG.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(name, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(element, properties, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Record<string, any>} properties
 * @param {(Child | Child[])[]} children
 */
function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    element.append(child instanceof Node ? child : printable(String(child)));
  }
}

const grouped = new Intl.NumberFormat("en");

/** @param {number} value */
export const count = (value) => grouped.format(value);

/** @param {number} bytes */
export function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return unit ? `${value.toPrecision(3)} ${units[unit]}` : `${count(bytes)} bytes`;
}

/**
 * A number with about four digits.
 * @param {number} value
 */
export function short(value) {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const magnitude = Math.abs(value);
  return magnitude >= 1e-3 && magnitude < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(3);
}

/**
 * A list of facts; those without a value are left out.
 * @param {[string, Child | Child[], string?][]} facts name, value, and class
 */
export function facts(facts) {
  const known = facts.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return make(
    "dl",
    { class: "facts" },
    known.map(([name, value, kind]) =>
      make("div", { class: kind }, make("dt", {}, name), make("dd", {}, value)),
    ),
  );
}

/**
 * @param {string} title
 * @param {Child[]} [controls]
 * @param {...Child} children
 */
export function part(title, controls = [], ...children) {
  const id = `part-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  const head = make("div", { class: "part-head" }, make("h2", { id }, title), ...controls);
  return make("section", { class: "part", "aria-labelledby": id }, head, ...children);
}

/** Rows that are shown at once. */
const ROWS = 100;

/**
 * A table that shows its first rows, and all of them on demand.
 * @param {[string, string?][]} heads title and class of each column
 * @param {number} rows
 * @param {(row: number) => HTMLTableRowElement} makeRow
 */
export function table(heads, rows, makeRow) {
  const body = make("tbody");
  const more = (/** @type {number} */ end) => {
    for (let row = body.rows.length; row < Math.min(rows, end); row++) body.append(makeRow(row));
  };
  more(ROWS);
  const head = make(
    "tr",
    {},
    heads.map(([title, kind]) => make("th", { scope: "col", class: kind }, title)),
  );
  const result = make("div", { class: "table" }, make("table", {}, make("thead", {}, head), body));
  if (rows > ROWS) {
    const button = make(
      "button",
      {
        type: "button",
        onclick: () => {
          more(body.rows.length + 1000);
          if (body.rows.length === rows) button.remove();
        },
      },
      `Show more of ${count(rows)}`,
    );
    result.append(button);
  }
  return result;
}
