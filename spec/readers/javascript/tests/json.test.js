/** JSON, as section 3.1 wants it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal, printable, quoted } from "../src/errors.js";
import { JsonError, Real, parseJson, plain, weigh } from "../src/json.js";
import { parseManifest } from "../src/manifest/index.js";

const parse = (/** @type {string} */ text) => parseJson(new TextEncoder().encode(text));

test("numbers remember whether they are integers", () => {
  assert.deepEqual(parse("[0, -7, 9007199254740991]"), [0, -7, 9007199254740991]);
  assert.deepEqual(
    /** @type {unknown[]} */ (parse("[-0, 1.0, 1e2, 9007199254740992]")).map(
      (x) => x instanceof Real && x.value,
    ),
    [-0, 1, 100, 9007199254740992],
  );
  assert.deepEqual(plain(parse('{"a": [1.5, {"b": 2}]}')).a[0], 1.5);
});

for (const text of [
  '{"a":1,"a":2}',
  '{"__proto__":1,"__proto__":2}',
  '{"a":1,"\\u0061":2}',
  "NaN",
  "-Infinity",
  "1e400",
  "01",
  "1.",
  ".5",
  "+1",
  "[1,]",
  '{"a":1,}',
  "[1 2]",
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\x41"',
  '"\\u12g4"',
  '"a\nb"',
  '"a',
  "nul",
  "{} {}",
  "",
  "\ufeff{}",
  "[".repeat(65) + "]".repeat(65),
  "{a:1}",
  "[\u00a0]",
]) {
  test(`not legal: ${JSON.stringify(text.slice(0, 30))}`, () => {
    assert.throws(() => parse(text), JsonError);
  });
}

test("legal texts are those that JSON.parse takes", () => {
  const text = ' { "a" : [ 1.5e-3 , true , null, "\\ud83d\\ude00\\n\\/" ] , "" : { } } ';
  assert.deepEqual(JSON.parse(JSON.stringify(plain(parse(text)))), JSON.parse(text));
  parse("[".repeat(64) + "]".repeat(64));
});

test("bytes that are not UTF-8 are refused", () => {
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)), JsonError);
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)), JsonError);
});

test("the weight of a manifest is limited before it is decoded", () => {
  assert.equal(weigh(new TextEncoder().encode('{"a,":[1,2]}')), 4 + 1 + 1 + 1 + 4 + 1);
  const heaviest = new Uint8Array(7_000_000).fill(0x2c);
  assert.throws(() => parseManifest(heaviest), { code: "manifest_invalid" });
  assert.throws(() => parseManifest(new Uint8Array(7_000_001).fill(0x2c)), {
    code: "manifest_too_large",
    exit: 5,
  });
});

test("a manifest of more than 64 MiB is refused for its size", () => {
  const bytes = new Uint8Array(64 * 1024 * 1024 + 1).fill(0x20);
  assert.throws(
    () => parseManifest(bytes),
    (error) => error instanceof Refusal && error.code === "manifest_too_large",
  );
});

test("names are printed without control characters", () => {
  assert.equal(printable("a\u001b[31m\u202eb"), "a\\u001b[31m\\u202eb");
  assert.equal(quoted('a"\n'), '"a\\"\\u000a"');
});
