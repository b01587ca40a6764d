/**
 * What a reader reports when it gives no data.
 *
 * A `Refusal` is about the bundle and carries a code of section 10. A `UsageError` is about the call. A `SourceError`
 * is about the way to the bytes: a server that does not answer, or files that cannot be read.
 */

/** Exit numbers of section 10 for the codes that a reader reports. */
const EXITS = {
  not_a_bundle: 3,
  unknown_version: 3,
  unknown_feature: 3,
  manifest_invalid: 4,
  manifest_inconsistent: 4,
  file_missing: 4,
  file_size_mismatch: 4,
  hash_mismatch: 4,
  header_invalid: 4,
  header_mismatch: 4,
  chunk_invalid: 4,
  beta_invalid: 4,
  manifest_too_large: 5,
  path_unsafe: 5,
  size_overflow: 5,
  header_too_large: 5,
  source_changed: 1,
};

/** @typedef {keyof typeof EXITS} Code */

/** A bundle, a file or a trajectory that is refused with a code of section 10. */
export class Refusal extends Error {
  /**
   * @param {Code} code
   * @param {string} message where, what was expected, what was found: one line
   */
  constructor(code, message) {
    super(message);
    this.name = "Refusal";
    this.code = code;
    /** Exit number of a command that reports this code. */
    this.exit = EXITS[code];
  }
}

/** An argument that the caller has to correct. */
export class UsageError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "UsageError";
  }
}

/** Bytes that could not be fetched; says nothing about the bundle. */
export class SourceError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "SourceError";
  }
}

/**
 * A text from a bundle, as it may be printed: in quotes, with control characters escaped, and shortened.
 * @param {string} text
 * @returns {string}
 */
export function quoted(text) {
  const short = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return `"${printable(short).replace(/"/g, '\\"')}"`;
}

/**
 * A text from a bundle with all control and format characters written as escapes.
 * @param {string} text
 * @returns {string}
 */
export function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    const point = /** @type {number} */ (character.codePointAt(0));
    return point > 0xffff ? `\\u{${point.toString(16)}}` : `\\u${point.toString(16).padStart(4, "0")}`;
  });
}
