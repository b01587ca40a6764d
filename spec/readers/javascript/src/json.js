/**
 * JSON as section 3.1 wants it: nothing that two programs could read differently.
 *
 * `JSON.parse` keeps the last of two equal keys and forgets whether a number was written `1` or `1.0`. This parser
 * refuses the first and remembers the second.
 */

/** A number that is no integer by its form or its size: `1.0`, `1e3`, `-0`, or beyond 2^53 - 1. */
export class Real {
  /** @param {number} value */
  constructor(value) {
    this.value = value;
  }
}

/**
 * A JSON value. Objects are maps, integers up to 2^53 - 1 are numbers, and all other numbers are `Real`.
 * @typedef {null | boolean | string | number | Real | Json[] | Map<string, Json>} Json
 */

/** A text that is not legal. */
export class JsonError extends Error {}

const QUOTE = 0x22;
const COMMA = 0x2c;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/**
 * The weight of a JSON text (3.1): commas and quotation marks, plus four for each bracket or brace that opens.
 * @param {Uint8Array} bytes
 * @returns {number}
 */
export function weigh(bytes) {
  let weight = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE || byte === COMMA) weight += 1;
    else if (byte === 0x5b || byte === 0x7b) weight += 4;
  }
  return weight;
}

/**
 * Parse one JSON text.
 * @param {Uint8Array} bytes UTF-8
 * @returns {Json}
 * @throws {JsonError} if the text breaks a rule of section 3.1
 */
export function parseJson(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonError("the text is not UTF-8");
  }
  return new Parser(text).parse();
}

/**
 * The same value as plain JavaScript: objects without a prototype, and every number a number.
 * @param {Json} value
 * @returns {any}
 */
export function plain(value) {
  if (value instanceof Real) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) {
    const object = Object.create(null);
    for (const [key, entry] of value) object[key] = plain(entry);
    return object;
  }
  return value;
}

class Parser {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  /** @returns {Json} */
  parse() {
    this.space();
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) throw this.error("text after the value");
    return value;
  }

  /**
   * @param {number} depth levels around this value
   * @returns {Json}
   */
  value(depth) {
    switch (this.text[this.at]) {
      case "{":
        return this.object(depth + 1);
      case "[":
        return this.list(depth + 1);
      case '"':
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
      default:
        return this.number();
    }
  }

  /** @param {number} depth */
  object(depth) {
    this.open(depth);
    /** @type {Map<string, Json>} */
    const map = new Map();
    if (this.closes("}")) return map;
    for (;;) {
      if (this.text[this.at] !== '"') throw this.error("a key was expected");
      const key = this.string();
      if (map.has(key)) throw this.error(`the key ${JSON.stringify(key.slice(0, 100))} appears twice`);
      this.space();
      if (this.text[this.at] !== ":") throw this.error("a colon was expected");
      this.at += 1;
      this.space();
      map.set(key, this.value(depth));
      if (this.ends("}")) return map;
    }
  }

  /** @param {number} depth */
  list(depth) {
    this.open(depth);
    /** @type {Json[]} */
    const list = [];
    if (this.closes("]")) return list;
    for (;;) {
      list.push(this.value(depth));
      if (this.ends("]")) return list;
    }
  }

  /** @param {number} depth */
  open(depth) {
    if (depth > 64) throw this.error("nested deeper than 64 levels");
    this.at += 1;
    this.space();
  }

  /** @param {string} bracket */
  closes(bracket) {
    if (this.text[this.at] !== bracket) return false;
    this.at += 1;
    return true;
  }

  /** @param {string} bracket */
  ends(bracket) {
    this.space();
    if (this.closes(bracket)) return true;
    if (this.text[this.at] !== ",") throw this.error(`a comma or ${bracket} was expected`);
    this.at += 1;
    this.space();
    return false;
  }

  /** @returns {string} */
  string() {
    this.at += 1;
    let value = this.match(PLAIN);
    while (this.text[this.at] === "\\") value += this.escape() + this.match(PLAIN);
    if (this.text[this.at] !== '"') throw this.error("a string does not end, or has a control character");
    this.at += 1;
    if (/\p{Surrogate}/u.test(value)) throw this.error("a string is not Unicode");
    return value;
  }

  /** @returns {string} */
  escape() {
    const kind = this.text[this.at + 1];
    if (kind === "u") {
      const digits = this.text.slice(this.at + 2, this.at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.error("an escape without four hexadecimal digits");
      this.at += 6;
      return String.fromCharCode(parseInt(digits, 16));
    }
    if (kind === undefined || !Object.hasOwn(ESCAPES, kind)) throw this.error("an unknown escape");
    this.at += 2;
    return ESCAPES[/** @type {keyof typeof ESCAPES} */ (kind)];
  }

  /** @returns {number | Real} */
  number() {
    const digits = this.match(NUMBER);
    if (!digits) throw this.error("a value was expected");
    const value = Number(digits);
    if (!Number.isFinite(value)) throw this.error("a number is not finite as float64");
    const isInteger = /^-?[0-9]+$/.test(digits) && Number.isSafeInteger(value) && !Object.is(value, -0);
    return isInteger ? value : new Real(value);
  }

  /**
   * @template T
   * @param {string} word
   * @param {T} value
   * @returns {T}
   */
  word(word, value) {
    if (!this.text.startsWith(word, this.at)) throw this.error("a value was expected");
    this.at += word.length;
    return value;
  }

  space() {
    this.match(SPACE);
  }

  /** @param {RegExp} pattern sticky */
  match(pattern) {
    pattern.lastIndex = this.at;
    const found = /** @type {RegExpExecArray | null} */ (pattern.exec(this.text));
    if (!found) return "";
    this.at = pattern.lastIndex;
    return found[0];
  }

  /** @param {string} what */
  error(what) {
    return new JsonError(`${what}, at character ${this.at}`);
  }
}
