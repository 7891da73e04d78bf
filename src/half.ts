/** Numbers in half precision (IEEE 754 binary16): what tensors of dtype float16 hold. Arithmetic is never done in it. */

/** The largest finite one. */
export const HALF_MAX = 65504;

/** A place where a number's own bits can be read. */
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** What `value` becomes when it is stored in half precision: the nearest, at a tie the one whose last bit is 0; infinity from 65520 on. */
export const roundToHalf = (value: number): number => {
  const size = Math.abs(value);
  if (!(size < 65520)) return Number.isNaN(value) ? value : Math.sign(value) * Number.POSITIVE_INFINITY;
  // Distance of neighbours: 2^-10 of the power of two below, and 2^-24 below the smallest normal one.
  float[0] = size;
  const exponent = Math.max(-14, (bits[0] >>> 23) - 127);
  // Adding 1.5 · 2^52 spacings rounds a float64 to whole spacings, ties to even.
  const round = 1.5 * 2 ** (52 + exponent - 10);
  return Math.sign(value) * (size + round - round) || value * 0;
};

/** The bits of numbers that were rounded before, or are rounded here. */
export const toHalfBits = (values: ArrayLike<number>): Uint16Array<ArrayBuffer> => Uint16Array.from(values, halfBits);

const halfBits = (value: number): number => {
  const half = roundToHalf(value);
  float[0] = half;
  const word = bits[0];
  const sign = (word >>> 16) & 0x8000;
  const size = Math.abs(half);
  if (Number.isNaN(half)) return 0x7e00;
  if (size === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  return sign | (((word >>> 13) & 0x3ffff) - (112 << 10));
};

/** The numbers that bits stand for. */
export const fromHalfBits = (words: Uint16Array): Float32Array<ArrayBuffer> => Float32Array.from(words, halfValue);

const halfValue = (word: number): number => {
  const fraction = word & 0x3ff;
  const exponent = (word >>> 10) & 0x1f;
  const size =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent === 31
        ? fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
        : (1024 + fraction) * 2 ** (exponent - 25);
  return word & 0x8000 ? -size : size;
};
