import { apply } from "../../apply.ts";
import { checkShape, completeShape } from "../../device.ts";
import { checkNames, expected } from "../../errors.ts";
import { elements, type Shape, showShape } from "../../op.ts";
import { scope } from "../../scope.ts";
import { normalizeAxes } from "../../shapes.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import * as op from "./op.ts";

/** Indices: an integer tensor, checked on the device, or plain numbers (a flat list), checked at once. */
export type Indices = Tensor | readonly number[] | Int32Array | Uint32Array;

const oneAxis = (where: string, axis: number, rank: number, argument = "axis"): number => {
  if (typeof axis !== "number") throw expected(where, "an axis", argument, axis);
  return normalizeAxes(where, axis, rank, argument)[0];
};

/**
 * The same elements under another shape. Nothing is copied: the result shares the memory of `x`.
 *
 * @param x any shape and dtype
 * @param shape one size may be -1 and is then inferred
 * @throws ArgumentError when the shape holds another number of elements.
 * @example
 * ```ts
 * const images = device.zeros([64, 1, 28, 28]);
 * reshape(images, [-1, 28 * 28]).shape; // => [64, 784]
 * ```
 */
export const reshape = (x: Tensor, shape: Shape): Tensor => {
  checkTensor("reshape", "x", x);
  if (!Array.isArray(shape)) throw expected("reshape", "an array of integers", "shape", shape);
  return apply(op.reshape, [x], { shape: completeShape(shape, x.size, "reshape") })[0];
};

/**
 * Merges the axes from `startAxis` (default 0) to `endAxis` (default the last), both included, without copying. A scalar becomes [1].
 *
 * @param x any shape and dtype; negative axes count from the last
 * @throws ArgumentError for axes that do not exist or are in the wrong order.
 * @example
 * ```ts
 * const x = device.zeros([2, 3, 4]);
 * flatten(x).shape; // => [24]
 * flatten(x, 1).shape; // => [2, 12]
 * ```
 */
export const flatten = (x: Tensor, startAxis = 0, endAxis = -1): Tensor => {
  checkTensor("flatten", "x", x);
  if (x.shape.length === 0) return reshape(x, [1]);
  const start = oneAxis("flatten", startAxis, x.shape.length, "startAxis");
  const end = oneAxis("flatten", endAxis, x.shape.length, "endAxis");
  if (start > end) throw expected("flatten", `an axis from ${start} on`, "endAxis", endAxis);
  return reshape(x, [...x.shape.slice(0, start), elements(x.shape.slice(start, end + 1)), ...x.shape.slice(end + 1)]);
};

/**
 * Removes axes of size 1, without copying.
 *
 * @param axes one or several; default: all of size 1. Unlike PyTorch, naming an axis of another size is an error.
 * @throws ArgumentError for an axis that does not exist, is named twice or is longer than 1.
 * @example
 * ```ts
 * const x = device.zeros([1, 3, 1]);
 * squeeze(x).shape; // => [3]
 * squeeze(x, -1).shape; // => [1, 3]
 * squeeze(x, 1); // throws ArgumentError
 * ```
 */
export const squeeze = (x: Tensor, axes?: number | readonly number[]): Tensor => {
  checkTensor("squeeze", "x", x);
  if (axes !== undefined && typeof axes !== "number" && !Array.isArray(axes))
    throw expected("squeeze", "a number or an array of numbers", "axes", axes);
  const gone =
    axes === undefined ? [...x.shape.keys()].filter((axis) => x.shape[axis] === 1) : normalizeAxes("squeeze", axes, x.shape.length, "axes");
  for (const axis of gone) if (x.shape[axis] !== 1) throw expected("squeeze", `axes of size 1 of shape ${showShape(x.shape)}`, "axes", axes);
  return reshape(
    x,
    x.shape.filter((_, axis) => !gone.includes(axis)),
  );
};

/**
 * Inserts an axis of size 1 so that it becomes axis `axis` of the result, without copying.
 *
 * @throws ArgumentError for an axis that the result does not have.
 * @example unsqueeze(device.zeros([2, 3]), -1).shape; // => [2, 3, 1]
 */
export const unsqueeze = (x: Tensor, axis: number): Tensor => {
  checkTensor("unsqueeze", "x", x);
  const at = oneAxis("unsqueeze", axis, x.shape.length + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
};

/**
 * Axes in another order: axis i of the result is axis `axes[i]` of x. Copies. At most 8 axes.
 *
 * @throws ArgumentError unless `axes` names each axis once.
 * @example
 * ```ts
 * const images = device.zeros([8, 3, 32, 24]);
 * permute(images, [0, 2, 3, 1]).shape; // => [8, 32, 24, 3]
 * ```
 */
export const permute = (x: Tensor, axes: readonly number[]): Tensor => {
  checkTensor("permute", "x", x);
  if (!Array.isArray(axes)) throw expected("permute", "an array of axes", "axes", axes);
  return apply(op.permute, [x], { axes: axes.map((axis: number) => (axis < 0 ? axis + x.shape.length : axis)) })[0];
};

/**
 * Two axes exchanged. Copies. At most 8 axes.
 *
 * @throws ArgumentError for an axis that x does not have.
 * @example await transpose(device.tensor([[1, 2], [3, 4]]), 0, 1).read(); // => [1, 3, 2, 4]
 */
export const transpose = (x: Tensor, axis0: number, axis1: number): Tensor => {
  checkTensor("transpose", "x", x);
  const first = oneAxis("transpose", axis0, x.shape.length, "axis0");
  const second = oneAxis("transpose", axis1, x.shape.length, "axis1");
  return permute(
    x,
    x.shape.map((_, axis) => (axis === first ? second : axis === second ? first : axis)),
  );
};

/**
 * Repeats axes of size 1, and adds axes in front, so that x has the given shape. Copies; the gradient sums over the repetitions.
 *
 * @param shape at most 8 axes; -1 keeps a size
 * @throws ArgumentError when x does not broadcast to the shape.
 * @example await expand(device.tensor([[1], [2]]), [-1, 3]).read(); // => [1, 1, 1, 2, 2, 2]
 */
export const expand = (x: Tensor, shape: Shape): Tensor => {
  checkTensor("expand", "x", x);
  if (!Array.isArray(shape)) throw expected("expand", "an array of integers", "shape", shape);
  const full = shape.map((size: number, axis: number) => (size === -1 ? (x.shape[axis - shape.length + x.shape.length] ?? size) : size));
  checkShape("expand", full);
  return apply(op.expand, [x], { shape: full })[0];
};

/**
 * Tensors one after the other along an existing axis (default 0); all other sizes and the dtype are equal.
 *
 * @throws ArgumentError for an empty list, an axis that does not exist, or sizes or dtypes that differ.
 * @example
 * ```ts
 * const a = device.tensor([[1, 2], [3, 4]]);
 * await concat([a, device.tensor([[5], [6]])], 1).read(); // => [1, 2, 5, 3, 4, 6]
 * ```
 */
export const concat = (tensors: readonly Tensor[], axis = 0): Tensor => {
  if (!Array.isArray(tensors) || tensors.length === 0) throw expected("concat", "at least one tensor", "tensors", tensors);
  for (const [i, tensor] of tensors.entries()) checkTensor("concat", `tensors[${i}]`, tensor);
  return apply(op.concat, tensors, { axis: oneAxis("concat", axis, tensors[0].shape.length) })[0];
};

/**
 * Tensors of one shape along a new axis, which becomes axis `axis` (default 0) of the result.
 *
 * @throws ArgumentError for an empty list, an axis that the result does not have, or shapes or dtypes that differ.
 * @example
 * ```ts
 * const [a, b] = [device.tensor([1, 2]), device.tensor([3, 4])];
 * stack([a, b]).shape; // => [2, 2]
 * await stack([a, b], 1).read(); // => [1, 3, 2, 4]
 * ```
 */
export const stack = (tensors: readonly Tensor[], axis = 0): Tensor => {
  if (!Array.isArray(tensors) || tensors.length === 0) throw expected("stack", "at least one tensor", "tensors", tensors);
  for (const [i, tensor] of tensors.entries()) checkTensor("stack", `tensors[${i}]`, tensor);
  const at = oneAxis("stack", axis, tensors[0].shape.length + 1);
  for (const [i, tensor] of (tensors as readonly Tensor[]).entries()) {
    if (showShape(tensor.shape) !== showShape(tensors[0].shape))
      throw expected("stack", `shape ${showShape(tensors[0].shape)}`, `tensors[${i}]`, showShape(tensor.shape));
  }
  return scope(() =>
    concat(
      tensors.map((tensor) => unsqueeze(tensor, at)),
      at,
    ),
  );
};

export interface SliceOptions {
  /** Default 0. */
  readonly axis?: number;
  /** First index; negative counts from the end. Default 0. */
  readonly start?: number;
  /** One past the last index; negative counts from the end. Default: the size of the axis. */
  readonly end?: number;
  /** Distance of the indices taken, at least 1. Default 1. */
  readonly step?: number;
}

/**
 * Every `step`-th index of one axis from `start` up to, not including, `end`. Copies. At most 8 axes.
 *
 * @throws ArgumentError for bounds beyond the axis or out of order: nothing is clamped.
 * @example
 * ```ts
 * const x = device.tensor([[1, 2, 3], [4, 5, 6]]);
 * await slice(x, { start: -1 }).read(); // => [4, 5, 6]
 * await slice(x, { axis: 1, step: 2 }).read(); // => [1, 3, 4, 6]
 * slice(x, { axis: 1, end: 4 }); // throws ArgumentError
 * ```
 */
export const slice = (x: Tensor, options: SliceOptions = {}): Tensor => {
  checkNames("slice", options, ["axis", "start", "end", "step"]);
  checkTensor("slice", "x", x);
  const axis = oneAxis("slice", options.axis ?? 0, x.shape.length);
  const size = x.shape[axis];
  const bound = (argument: "start" | "end", low: number, value: number): number => {
    const full = Number.isInteger(value) && value < 0 ? value + size : value;
    if (!Number.isInteger(full) || full < low || full > size)
      throw expected("slice", `an integer in [${low}, ${size}], or negative to count from the end,`, argument, value);
    return full;
  };
  const start = bound("start", 0, options.start ?? 0);
  const end = bound("end", start, options.end ?? size);
  const step = options.step ?? 1;
  if (!Number.isInteger(step) || step < 1) throw expected("slice", "a positive integer", "step", step);
  return apply(op.slice, [x], { axis, start, end, step })[0];
};

/** A tensor of the indices, checked here when they are plain numbers. */
const indexTensor = (where: string, argument: string, x: Tensor, indices: Indices, axis: number): Tensor => {
  if (typeof indices === "object" && indices !== null && "storage" in indices) return indices;
  if (typeof indices !== "object" || indices === null || typeof indices.length !== "number")
    throw expected(where, "an integer tensor or an array of integers", argument, indices);
  const size = x.shape[axis];
  for (let i = 0; i < indices.length; i++) {
    const value = indices[i];
    if (!Number.isInteger(value) || value < 0 || value >= size) throw expected(where, `an integer in [0, ${size})`, `${argument}[${i}]`, value);
  }
  return x.device.tensor(Int32Array.from(indices));
};

/**
 * PyTorch's `gather`: y[i, j, k] = x[i, index[i, j, k], k] for axis 1, and likewise for the others.
 *
 * @param index int32 or uint32, as many axes as x, none longer than x's except `axis`. Plain numbers are laid out in the shape that
 * x would have if `axis` had the size that uses them all.
 * @throws ArgumentError for a plain number out of range; an index on the device that is out of range gives a DataError at the next `read()`.
 * @example
 * ```ts
 * const logits = device.tensor([[0.5, 1, 2], [3, 4, 5]]);
 * const labels = device.tensor([2, 0], [2], "int32");
 * await gather(logits, unsqueeze(labels, 1), 1).read(); // => [2, 3]
 * gather(logits, [0, 3], 1); // throws ArgumentError
 * ```
 */
export const gather = (x: Tensor, index: Indices, axis: number): Tensor => {
  checkTensor("gather", "x", x);
  const at = oneAxis("gather", axis, x.shape.length);
  return scope(() => {
    const flat = indexTensor("gather", "index", x, index, at);
    if (flat === index) return apply(op.gather, [x, flat], { axis: at, rows: false })[0];
    const lines = elements(x.shape.filter((_, k) => k !== at));
    const terms = lines === 0 ? 0 : flat.size / lines;
    if (!Number.isInteger(terms) || terms * lines !== flat.size) throw expected("gather", `a multiple of ${lines} indices`, "index", `${flat.size}`);
    const full = reshape(
      flat,
      x.shape.map((size, k) => (k === at ? terms : size)),
    );
    return apply(op.gather, [x, full], { axis: at, rows: false })[0];
  });
};

/**
 * Whole rows by number (PyTorch's `index_select`, the look-up of an embedding): axis `axis` of x is replaced by the axes of `indices`.
 *
 * @param indices int32 or uint32 of any shape, or a list of numbers
 * @param axis default 0
 * @throws ArgumentError for a plain number out of range; an index on the device that is out of range gives a DataError at the next `read()`.
 * @example
 * ```ts
 * const table = device.zeros([100, 16]); // 100 words, 16 numbers each
 * const tokens = device.tensor([[3, 1, 4], [1, 5, 9]], undefined, "int32");
 * take(table, tokens).shape; // => [2, 3, 16]
 * await take(device.tensor([10, 20, 30]), [2, 0]).read(); // => [30, 10]
 * ```
 */
export const take = (x: Tensor, indices: Indices, axis = 0): Tensor => {
  checkTensor("take", "x", x);
  const at = oneAxis("take", axis, x.shape.length);
  return scope(() => apply(op.gather, [x, indexTensor("take", "indices", x, indices, at)], { axis: at, rows: true })[0]);
};
