/** Small rules for JSON values, from which `structure.js` composes the tables of section 3. */

import { Refusal, quoted } from "../errors.js";
import { Real } from "../json.js";

/** @typedef {import("../json.js").Json} Json */

/**
 * A rule returns the value in plain JavaScript, or throws a `Refusal`.
 * @template T
 * @typedef {(value: Json, where: string, later: boolean) => T} Rule
 */

/**
 * @param {string} where
 * @param {string} expected
 * @returns {Refusal}
 */
export function invalid(where, expected) {
  return new Refusal("manifest_invalid", `manifest.json: ${where} must be ${expected}`);
}

/** Text without a limit. @type {Rule<string>} */
export const string = (value, where) => {
  if (typeof value !== "string") throw invalid(where, "a string");
  return value;
};

/** @type {Rule<string>} */
export const text = (value, where) => {
  // A text of at most 1,024 code points has at most 2,048 code units.
  if (typeof value !== "string" || !value || value.length > 2048 || [...value].length > 1024) {
    throw invalid(where, "a string of 1 to 1,024 code points");
  }
  return value;
};

/**
 * @param {RegExp} pattern
 * @param {string} expected
 * @returns {Rule<string>}
 */
export const matching = (pattern, expected) => (value, where) => {
  if (typeof value !== "string" || !pattern.test(value)) throw invalid(where, expected);
  return value;
};

export const hash = matching(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits");

/** @type {Rule<boolean>} */
export const boolean = (value, where) => {
  if (typeof value !== "boolean") throw invalid(where, "true or false");
  return value;
};

/** @type {Rule<number>} */
export const float = (value, where) => {
  if (value instanceof Real) return value.value;
  if (typeof value !== "number") throw invalid(where, "a number");
  return value;
};

/**
 * @param {number} least
 * @param {number} most
 * @returns {Rule<number>}
 */
export const integer = (least, most) => (value, where) => {
  if (typeof value !== "number" || value < least || value > most) {
    throw invalid(where, `an integer from ${least} to ${most}`);
  }
  return value;
};

export const count = integer(0, Number.MAX_SAFE_INTEGER);
export const positive = integer(1, Number.MAX_SAFE_INTEGER);
export const index = integer(0, 2 ** 31 - 1);

/**
 * @template {string} T
 * @param {...T} values
 * @returns {Rule<T>}
 */
export const oneOf =
  (...values) =>
  (value, where) => {
    if (!values.includes(/** @type {T} */ (value))) throw invalid(where, `one of ${values.join(", ")}`);
    return /** @type {T} */ (value);
  };

/**
 * @template T
 * @param {Rule<T>} rule
 * @param {number} [least]
 * @param {number} [most]
 * @returns {Rule<T[]>}
 */
export const list =
  (rule, least = 0, most = Infinity) =>
  (value, where, later) => {
    if (!Array.isArray(value)) throw invalid(where, "a list");
    if (value.length < least) throw invalid(where, `a list of at least ${least}`);
    if (value.length > most) throw invalid(where, `a list of at most ${most}`);
    return value.map((entry, i) => rule(entry, `${where}[${i}]`, later));
  };

/**
 * The values of an object whose keys are free.
 * @template T
 * @param {Rule<T>} rule
 * @returns {Rule<Record<string, T>>}
 */
export const record = (rule) => (value, where, later) => {
  if (!(value instanceof Map)) throw invalid(where, "an object");
  const result = Object.create(null);
  for (const [key, entry] of value) result[key] = rule(entry, `${where}.${quoted(key)}`, later);
  return result;
};

/**
 * An object with the keys of a table.
 * @param {Record<string, Rule<any>>} required
 * @param {Record<string, Rule<any>>} [optional]
 * @param {(key: string, later: boolean) => boolean} [ignores] whether an unknown key is ignored
 * @returns {Rule<any>}
 */
export const object =
  (required, optional = {}, ignores = (_, later) => later) =>
  (value, where, later) => {
    if (!(value instanceof Map)) throw invalid(where, "an object");
    const result = Object.create(null);
    const prefix = where ? `${where}.` : "";
    for (const key of value.keys()) {
      if (Object.hasOwn(required, key) || Object.hasOwn(optional, key) || ignores(key, later)) continue;
      throw new Refusal(
        "manifest_invalid",
        `manifest.json: ${where || "the top level"} has the unknown key ${quoted(key)}`,
      );
    }
    for (const [key, rule] of Object.entries(required)) {
      const entry = value.get(key);
      if (entry === undefined)
        throw new Refusal("manifest_invalid", `manifest.json: ${prefix}${key} is absent`);
      result[key] = rule(entry, prefix + key, later);
    }
    for (const [key, rule] of Object.entries(optional)) {
      const entry = value.get(key);
      if (entry !== undefined) result[key] = rule(entry, prefix + key, later);
    }
    return result;
  };

/** An object that may have more keys in any version (4.2). */
export const open = (
  /** @type {Record<string, Rule<any>>} */ required,
  /** @type {Record<string, Rule<any>>} */ optional = {},
) => object(required, optional, () => true);
