/** Transformations planted in real images. Images are row-major, rows downwards; channels are planes, one behind the other, and move alike. */
import { checkFinite, expected } from "../errors.ts";
import { flipGroup, type PermutationSet, rotationGroup } from "./permutations.ts";
import type { Random } from "./random.ts";

/** rot90: quarter turns; rotate: any angle; partial: any angle up to a maximum; flip: left to right; scale: smaller. */
export type TransformKind = "none" | "rot90" | "rotate" | "partial" | "flip" | "scale";
export const TRANSFORM_KINDS: readonly TransformKind[] = ["none", "rot90", "rotate", "partial", "flip", "scale"];

const SMALLEST_SCALE = 0.3;

const unknownKind = (where: string, kind: never): never => {
  throw expected(where, `one of ${TRANSFORM_KINDS.join(", ")}`, "kind", kind);
};

/** Cosine and sine, exact at multiples of 90° so that those rotations move pixels without interpolation. */
const direction = (degrees: number): readonly [cos: number, sin: number] => {
  const quarters = degrees / 90;
  if (Number.isInteger(quarters)) {
    const turn = ((quarters % 4) + 4) % 4;
    return [[1, 0, -1, 0][turn], [0, 1, 0, -1][turn]];
  }
  const radians = (degrees * Math.PI) / 180;
  return [Math.cos(radians), Math.sin(radians)];
};

/** Bilinear value at (row, column); 0 outside. */
const sample = (image: Float32Array, h: number, w: number, row: number, column: number): number => {
  const r = Math.floor(row);
  const c = Math.floor(column);
  const at = (y: number, x: number): number => (y >= 0 && y < h && x >= 0 && x < w ? image[y * w + x] : 0);
  const down = row - r;
  const right = column - c;
  return (1 - down) * ((1 - right) * at(r, c) + right * at(r, c + 1)) + down * ((1 - right) * at(r + 1, c) + right * at(r + 1, c + 1));
};

const rotate = (image: Float32Array, h: number, w: number, degrees: number, out: Float32Array): void => {
  const [cos, sin] = direction(degrees);
  const middleRow = (h - 1) / 2;
  const middleColumn = (w - 1) / 2;
  for (let r = 0; r < h; r++) {
    for (let c = 0; c < w; c++) {
      const y = r - middleRow;
      const x = c - middleColumn;
      out[r * w + c] = sample(image, h, w, middleRow + y * cos + x * sin, middleColumn - y * sin + x * cos);
    }
  }
};

/**
 * Weights of a one-dimensional resize by `s` about the centre, [size, size]: a triangle of half-width 1/s around each
 * output pixel's place in the input, normalised; rows whose place lies outside the input are 0.
 */
const resizeWeights = (size: number, s: number): Float32Array => {
  const weights = new Float32Array(size * size);
  const middle = (size - 1) / 2;
  const reach = Math.max(1, 1 / s);
  for (let o = 0; o < size; o++) {
    const centre = middle + (o - middle) / s;
    if (centre < -0.5 || centre > size - 0.5) continue;
    const triangle = Array.from({ length: size }, (_, i) => Math.max(0, 1 - Math.abs(i - centre) / reach));
    const total = triangle.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < size; i++) weights[o * size + i] = triangle[i] / total;
  }
  return weights;
};

const scale = (image: Float32Array, h: number, w: number, s: number, out: Float32Array): void => {
  const rows = resizeWeights(h, s);
  const columns = resizeWeights(w, s);
  const half = new Float32Array(h * w);
  for (let r = 0; r < h; r++) {
    for (let i = 0; i < h; i++) {
      const weight = rows[r * h + i];
      if (weight !== 0) for (let c = 0; c < w; c++) half[r * w + c] += weight * image[i * w + c];
    }
  }
  for (let r = 0; r < h; r++) {
    for (let c = 0; c < w; c++) {
      let sum = 0;
      for (let i = 0; i < w; i++) sum += columns[c * w + i] * half[r * w + i];
      out[r * w + c] = sum;
    }
  }
};

/**
 * One transformed image, [h, w].
 *
 * | kind | parameter |
 * |---|---|
 * | none | ignored |
 * | rot90 | number of counter-clockwise quarter turns, as `np.rot90`; moves pixels exactly; h = w |
 * | rotate, partial | degrees counter-clockwise about the centre; bilinear, 0 outside; exact at multiples of 90° |
 * | flip | 1 mirrors left to right, 0 leaves the image as it is |
 * | scale | factor in (0, 1]; resized about the centre with an anti-aliasing triangle filter, 0 around it |
 *
 * Writes into `out` when given (not `image` itself).
 *
 * @throws ArgumentError for an image that is not h·w long, an unknown kind, a parameter out of range
 * @example
 * ```ts
 * transformImage(Float32Array.of(1, 2, 3, 4), 2, 2, "rot90", 1); // => [2, 4, 1, 3]
 * ```
 */
export const transformImage = (
  image: Float32Array,
  h: number,
  w: number,
  kind: TransformKind,
  parameter: number,
  out: Float32Array = new Float32Array(h * w),
): Float32Array => {
  if (image.length !== h * w) throw expected("transformImage", `${h}·${w} values`, "image", image);
  if (out.length !== h * w || out === image) throw expected("transformImage", `another array of ${h}·${w} values`, "out", out);
  if (kind !== "none") checkFinite("transformImage", "parameter", parameter);
  switch (kind) {
    case "none":
      out.set(image);
      return out;
    case "rot90":
      if (h !== w) throw expected("transformImage", "a square image", "h, w", [h, w]);
      if (!Number.isInteger(parameter)) throw expected("transformImage", "an integer number of quarter turns", "parameter", parameter);
      rotate(image, h, w, parameter * 90, out);
      return out;
    case "rotate":
    case "partial":
      rotate(image, h, w, parameter, out);
      return out;
    case "flip":
      if (parameter !== 0 && parameter !== 1) throw expected("transformImage", "0 or 1", "parameter", parameter);
      for (let i = 0; i < out.length; i++) out[i] = image[parameter === 0 ? i : i - (i % w) + (w - 1 - (i % w))];
      return out;
    case "scale":
      if (!(parameter > 0 && parameter <= 1)) throw expected("transformImage", "a factor in (0, 1]", "parameter", parameter);
      scale(image, h, w, parameter, out);
      return out;
    default:
      return unknownKind("transformImage", kind);
  }
};

/** `transformImage` of every plane of images [..., h, w], all alike. */
export const transformPlanes = (planes: Float32Array, h: number, w: number, kind: TransformKind, parameter: number, out: Float32Array): void => {
  for (let at = 0; at < planes.length; at += h * w)
    transformImage(planes.subarray(at, at + h * w), h, w, kind, parameter, out.subarray(at, at + h * w));
};

/**
 * A parameter for `transformImage`, uniform over what the kind plants: quarter turns 0 … 3, degrees in [0, 360) or
 * [0, maximum) for partial, mirrored or not, factors in [0.3, 1).
 *
 * @param maximum largest angle of a partial rotation in degrees, default 90
 */
export const randomTransform = (kind: TransformKind, random: Random, maximum = 90): number => {
  switch (kind) {
    case "none":
      return 0;
    case "rot90":
      return random.integer(4);
    case "rotate":
      return 360 * random.uniform();
    case "partial":
      if (!(maximum > 0 && maximum <= 360)) throw expected("randomTransform", "degrees in (0, 360]", "maximum", maximum);
      return maximum * random.uniform();
    case "flip":
      return random.integer(2);
    case "scale":
      return SMALLEST_SCALE + (1 - SMALLEST_SCALE) * random.uniform();
    default:
      return unknownKind("randomTransform", kind);
  }
};

/**
 * What a lifting layer with k × k kernels should find when the images were transformed so: C4 for quarter turns,
 * identity and mirror for flips. Undefined for the others, whose action on a k × k grid is no permutation.
 */
export const plantedSet = (kind: TransformKind, k: number): PermutationSet | undefined => {
  if (kind === "rot90") return rotationGroup(k);
  if (kind === "flip") return flipGroup(k);
  return undefined;
};
