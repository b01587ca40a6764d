/**
 * Items of weights and of module buffers: bits to values, and values to bits with one rounding.
 *
 * JavaScript has no 16-bit floats everywhere yet, so these are made by arithmetic in float64, which is exact.
 */

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1)
  throw new Error("this reader needs a little-endian machine");

/** Widths in bytes of the types of weights. */
export const WIDTHS = { F16: 2, BF16: 2, F32: 4, F64: 8 };

/** @typedef {keyof typeof WIDTHS} ItemType */

/** Widths in bytes of the types of module buffers (6.8). */
export const BUFFER_WIDTHS = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
};

/** @typedef {keyof typeof BUFFER_WIDTHS} BufferType */

const float32 = new Float32Array(1);
const bits32 = new Uint32Array(float32.buffer);
const float64 = new Float64Array(1);
const halves64 = new Uint32Array(float64.buffer);

/** @param {number} bits */
function fromF16(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

/** @param {number} bits */
function fromBF16(bits) {
  bits32[0] = bits << 16;
  return float32[0];
}

/** @param {number} bits */
function fromE4M3(bits) {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return sign * (exponent ? (8 + fraction) * 2 ** (exponent - 10) : fraction * 2 ** -9);
}

/**
 * Round a float64 once to a float of 16 bits, ties to even.
 * @param {number} value
 * @param {number} fractionBits
 * @param {number} bias of the exponent
 * @returns {number} the bits
 */
function toHalf(value, fractionBits, bias) {
  float64[0] = value;
  const sign = (halves64[1] >>> 16) & 0x8000;
  const infinite = ((2 * bias + 1) << fractionBits) | 0;
  if (Number.isNaN(value)) return sign | infinite | (1 << (fractionBits - 1));
  const lowest = 1 - bias;
  const exponent = Math.max(((halves64[1] >>> 20) & 2047) - 1023, lowest);
  if (exponent > bias) return sign | infinite;
  // In units of the last place the value is below 2^12, so adding and subtracting 2^52 rounds it to an integer.
  const units = Math.abs(value) * 2 ** (fractionBits - exponent) + 2 ** 52 - 2 ** 52;
  return sign | (((exponent - lowest) << fractionBits) + units);
}

/**
 * Values of items as float64, which is exact.
 * @param {ItemType} type
 * @param {Uint8Array} bytes
 * @returns {Float64Array}
 */
export function toFloat64(type, bytes) {
  if (type === "F64") return new Float64Array(own(bytes));
  if (type === "F32") return Float64Array.from(new Float32Array(own(bytes)));
  return Float64Array.from(new Uint16Array(own(bytes)), type === "F16" ? fromF16 : fromBF16);
}

/**
 * Round values once to an item type.
 * @param {ItemType} type
 * @param {Float64Array} values
 * @returns {Uint8Array} little-endian items
 */
export function fromFloat64(type, values) {
  if (type === "F64") return new Uint8Array(values.slice().buffer);
  if (type === "F32") return new Uint8Array(Float32Array.from(values).buffer);
  const [fractionBits, bias] = type === "F16" ? [10, 15] : [7, 127];
  return new Uint8Array(Uint16Array.from(values, (value) => toHalf(value, fractionBits, bias)).buffer);
}

/**
 * Values of a module buffer in C order. 64-bit integers are bigints, and a complex number takes two entries.
 * @param {BufferType} type
 * @param {Uint8Array} bytes
 * @returns {boolean[] | number[] | bigint[]}
 */
export function bufferValues(type, bytes) {
  const data = own(bytes);
  switch (type) {
    case "BOOL":
      return Array.from(bytes, (byte) => byte !== 0);
    case "U8":
      return [...bytes];
    case "I8":
      return [...new Int8Array(data)];
    case "F8_E4M3":
      return Array.from(bytes, fromE4M3);
    case "F8_E5M2":
      return Array.from(bytes, (byte) => fromF16(byte << 8));
    case "F8_E8M0":
      return Array.from(bytes, (byte) => (byte === 255 ? NaN : 2 ** (byte - 127)));
    case "U16":
      return [...new Uint16Array(data)];
    case "I16":
      return [...new Int16Array(data)];
    case "U32":
      return [...new Uint32Array(data)];
    case "I32":
      return [...new Int32Array(data)];
    case "U64":
      return [...new BigUint64Array(data)];
    case "I64":
      return [...new BigInt64Array(data)];
    case "C64":
      return [...new Float32Array(data)];
    default:
      return [...toFloat64(type, bytes)];
  }
}

/**
 * The bytes in a buffer of their own, so that a typed array of any type can be made of it.
 * @param {Uint8Array} bytes
 * @returns {ArrayBuffer}
 */
export function own(bytes) {
  return /** @type {ArrayBuffer} */ (Uint8Array.prototype.slice.call(bytes).buffer);
}
