/** Bit streams of zstd frames (RFC 8878, section 4.1 and 4.2). */

/** Bytes that are no legal zstd frame. */
export class ZstdError extends Error {}

/**
 * Position of the highest bit that is set.
 * @param {number} value above 0
 */
export function highestBit(value) {
  return 31 - Math.clz32(value);
}

/** Bits from the first to the last. */
export class ForwardBits {
  /**
   * @param {Uint8Array} bytes
   * @param {number} start
   * @param {number} end
   */
  constructor(bytes, start, end) {
    this.bytes = bytes;
    this.at = start * 8;
    this.end = end * 8;
  }

  /** @param {number} count at most 16 */
  read(count) {
    if (this.at + count > this.end) throw new ZstdError("a table ends early");
    const { bytes, at } = this;
    const byte = at >> 3;
    const word = bytes[byte] | (bytes[byte + 1] << 8) | (bytes[byte + 2] << 16);
    this.at += count;
    return (word >>> (at & 7)) & ((1 << count) - 1);
  }

  /** @returns {number} the next whole byte */
  byte() {
    return (this.at + 7) >> 3;
  }
}

/** Bits from the last to the first, as entropy-coded streams are read. The highest bit that is set marks the end. */
export class BackwardBits {
  /**
   * @param {Uint8Array} bytes
   * @param {number} start
   * @param {number} end
   */
  constructor(bytes, start, end) {
    if (end <= start || end > bytes.length || !bytes[end - 1])
      throw new ZstdError("a stream without an end mark");
    this.bytes = bytes;
    this.start = start;
    /** Number of bits that are left. Negative if more were read than there are. */
    this.left = (end - start - 1) * 8 + highestBit(bytes[end - 1]);
  }

  /**
   * The next bits as a number; zeros follow after the last.
   * @param {number} count at most 24
   */
  read(count) {
    this.left -= count;
    const { bytes, left } = this;
    const mask = (1 << count) - 1;
    if (left >= 0) {
      const byte = this.start + (left >> 3);
      const word = bytes[byte] | (bytes[byte + 1] << 8) | (bytes[byte + 2] << 16) | (bytes[byte + 3] << 24);
      return (word >>> (left & 7)) & mask;
    }
    if (left <= -count) return 0;
    const { start } = this;
    const word = bytes[start] | (bytes[start + 1] << 8) | (bytes[start + 2] << 16);
    return (word << -left) & mask;
  }
}
