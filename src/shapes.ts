/** Shape rules that several rooms share: broadcasting, axes, and strided iteration. */
import { ArgumentError, expected } from "./errors.ts";
import { type DType, elements, isFloat, type Shape, type Spec, showShape, strides } from "./op.ts";

/** The most axes a strided kernel walks after `collapse`; longer shapes are refused by name. */
export const MAX_AXES = 8;

/** NumPy's rule: align at the right; sizes must be equal or 1. */
export const broadcastShapes = (where: string, a: Shape, b: Shape): Shape => {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const sizeA = a[i - rank + a.length] ?? 1;
    const sizeB = b[i - rank + b.length] ?? 1;
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) {
      throw new ArgumentError(`${where}: expected shapes that broadcast for \`a\` and \`b\`, but received [${a.join(", ")}] and [${b.join(", ")}]`);
    }
    return sizeA === 1 ? sizeB : sizeA;
  });
};

/** Strides with which an operand is read under a broadcast shape: 0 along repeated axes. */
export const broadcastStrides = (operand: Shape, shape: Shape): number[] => {
  const own = strides(operand);
  return shape.map((_, i) => {
    const axis = i - shape.length + operand.length;
    return axis < 0 || operand[axis] === 1 ? 0 : own[axis];
  });
};

export interface Walk {
  readonly sizes: readonly number[];
  /** One list of strides per operand. */
  readonly strides: readonly (readonly number[])[];
}

/** Merges neighbouring axes that every operand walks as one, and drops axes of size 1: the fewest loops for the same order of elements. */
export const collapse = (shape: Shape, operands: readonly (readonly number[])[]): Walk => {
  const sizes: number[] = [];
  const merged: number[][] = operands.map(() => []);
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const last = sizes.length - 1;
    const joins = last >= 0 && operands.every((steps, k) => merged[k][last] === steps[axis] * size);
    if (joins) {
      sizes[last] *= size;
      for (const [k, steps] of operands.entries()) merged[k][last] = steps[axis];
    } else {
      sizes.push(size);
      for (const [k, steps] of operands.entries()) merged[k].push(steps[axis]);
    }
  }
  return { sizes, strides: merged };
};

/** Calls `visit` with the offset into each operand, in row-major order of `sizes`. */
export const walk = ({ sizes, strides: steps }: Walk, visit: (...offsets: number[]) => void): void => {
  const count = elements(sizes);
  const index = new Array<number>(sizes.length).fill(0);
  const offsets = new Array<number>(steps.length).fill(0);
  for (let i = 0; i < count; i++) {
    visit(...offsets);
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      const wraps = ++index[axis] === sizes[axis];
      for (const [k, step] of steps.entries()) offsets[k] += wraps ? -(sizes[axis] - 1) * step[axis] : step[axis];
      if (!wraps) break;
      index[axis] = 0;
    }
  }
};

/** Pads a list to `MAX_AXES` for a shader's fixed arrays. */
export const padAxes = (list: readonly number[], filler = 0): number[] => [...list, ...new Array<number>(MAX_AXES - list.length).fill(filler)];

/** A list of distinct non-negative axes in rising order from one axis, several, or all (undefined). */
export const normalizeAxes = (where: string, axes: number | readonly number[] | undefined, rank: number, argument = "axis"): number[] => {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === "number" ? [axes] : [...axes]).map((axis) => {
    if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
      throw expected(where, `an axis in [${-rank}, ${rank}) of a tensor of rank ${rank}`, argument, axis);
    return axis < 0 ? axis + rank : axis;
  });
  if (new Set(list).size !== list.length) throw expected(where, "distinct axes", argument, axes);
  return list.sort((a, b) => a - b);
};

/** Throws unless every operand is float32, or one of `dtypes`; `names` are the argument names. */
export const requireFloat = (where: string, specs: readonly Spec[], names: readonly string[], dtypes: readonly DType[] = ["float32"]): void => {
  for (let i = 0; i < specs.length; i++) {
    const { dtype } = specs[i];
    if (!dtypes.includes(dtype)) throw expected(where, `dtype ${dtypes.join(" or ")}`, names[i] ?? `inputs[${i}]`, dtype);
  }
};

/** Throws unless it is an axis, counted from the first. */
export const requireAxis = (where: string, axis: number, shape: Shape): void => {
  if (!(axis < shape.length)) throw expected(where, `an axis of a tensor of rank ${shape.length}`, "axis", axis);
};

/** Throws unless the inputs are these, in this order: specs by name, or shapes of float32, without those that are neither. */
export const requireInputs = (where: string, inputs: readonly Spec[], wanted: Readonly<Record<string, Spec | Shape | false | undefined>>): void => {
  const there = Object.entries(wanted).flatMap(([name, of]) => (of ? [{ name, ...("shape" in of ? of : { shape: of, dtype: "float32" }) }] : []));
  if (inputs.length !== there.length)
    throw expected(where, `${there.length} tensors, ${there.map(({ name }) => name).join(", ")},`, "inputs", inputs.length);
  for (const [i, { name, shape, dtype }] of there.entries()) {
    if (showShape(inputs[i].shape) !== showShape(shape)) throw expected(where, `shape ${showShape(shape)}`, name, inputs[i].shape);
    if (inputs[i].dtype !== dtype) throw expected(where, `dtype ${dtype}`, name, inputs[i].dtype);
  }
};

/** Throws unless it is int32 or uint32. */
export const requireInteger = (where: string, { dtype }: Spec, argument: string): void => {
  if (isFloat(dtype)) throw expected(where, "dtype int32 or uint32", argument, dtype);
};

/** What ops take that read half precision as it is stored. */
export const FLOATS: readonly DType[] = ["float32", "float16"];
