/** The weights of one trajectory at one time. */

import { UsageError, quoted } from "./errors.js";
import { own, toFloat64 } from "./items.js";

/** @typedef {import("./manifest/types.js").Manifest} Manifest */

export class Weights {
  /**
   * @param {Manifest} manifest
   * @param {number} t
   * @param {Uint8Array} bytes
   */
  constructor(manifest, t, bytes) {
    this.manifest = manifest;
    this.t = t;
    /** Type of the items: F16, BF16, F32 or F64. */
    this.dtype = manifest.dtype;
    /** All items of the weight vector, little-endian: the exact bits. */
    this.bytes = bytes;
  }

  /** @returns {Float64Array} all elements of the weight vector; exact for every type */
  toFloat64() {
    return toFloat64(this.dtype, this.bytes);
  }

  /** @returns {Float32Array | Float64Array} all elements; float32 for all types but F64, which is exact as well */
  values() {
    return values(this.dtype, this.bytes);
  }

  /**
   * One parameter.
   * @param {string} name
   * @returns {{ shape: number[], values: Float32Array | Float64Array }} in C order
   */
  parameter(name) {
    const { parameters, starts, width } = this.manifest;
    const i = parameters.findIndex((parameter) => parameter.name === name);
    if (i < 0) throw new UsageError(`there is no parameter ${quoted(name)}`);
    const bytes = this.bytes.subarray(starts[i] * width, starts[i + 1] * width);
    return { shape: [...parameters[i].shape], values: values(this.dtype, bytes) };
  }
}

/**
 * @param {import("./items.js").ItemType} dtype
 * @param {Uint8Array} bytes
 */
function values(dtype, bytes) {
  if (dtype === "F32") return new Float32Array(own(bytes));
  return dtype === "F64" ? toFloat64(dtype, bytes) : Float32Array.from(toFloat64(dtype, bytes));
}
