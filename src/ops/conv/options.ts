/** What users pass to a convolution of one, two or three axes, checked and written in one way. */
import { checkNames, expected } from "../../errors.ts";
import { elements, showShape } from "../../op.ts";
import { recalling } from "../../recall.ts";
import { requireFloat } from "../../shapes.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import type { ConvAttrs } from "./geometry.ts";

/** One whole number for all spatial axes, or one per axis. */
export type PerAxis = number | readonly number[];
/** One whole number for all sides, or per axis one for both sides or [before, after]. */
export type Padding = number | readonly (number | readonly [number, number])[];

export interface ConvOptions {
  /** Added to every output channel: [features]. */
  readonly bias?: Tensor;
  /** Default 1. */
  readonly stride?: PerAxis;
  /** Zeros around the input, default 0. "valid" is 0; "same" keeps the spatial sizes and needs stride 1. */
  readonly padding?: Padding | "valid" | "same";
  /** Distance between the taps of the kernel, default 1. */
  readonly dilation?: PerAxis;
  /** Input and output channels are split into this many groups that do not see each other, default 1. */
  readonly groups?: number;
}

export interface ConvTransposeOptions {
  /** Added to every output channel: [features]. */
  readonly bias?: Tensor;
  /** Default 1. */
  readonly stride?: PerAxis;
  /** Elements that the output is cut by on each side, default 0: the padding of the convolution that this one undoes. */
  readonly padding?: Padding;
  /** Elements added to the end of the output, default 0: below the stride or the dilation. */
  readonly outputPadding?: PerAxis;
  /** Distance between the taps of the kernel, default 1. */
  readonly dilation?: PerAxis;
  /** Input and output channels are split into this many groups that do not see each other, default 1. */
  readonly groups?: number;
}

const AXES = [[], ["length"], ["height", "width"], ["depth", "height", "width"]] as const;
/** How many entries a list has, in words. */
const lists = (axes: number): string => ["", "one for length", "two for height and width", "three for depth, height and width"][axes];
const TENSORS = ["x", "w", "bias"];
const LARGEST = 2 ** 24;

const whole = (value: unknown, least: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) < LARGEST;

const perAxis = (where: string, axes: number, value: unknown, least: number, argument: string): number[] => {
  const given = Array.isArray(value);
  const list = new Array<number>(axes);
  let fits = !given || value.length === axes;
  for (let axis = 0; axis < axes && fits; axis++) {
    list[axis] = given ? value[axis] : value;
    fits = whole(list[axis], least);
  }
  if (fits) return list;
  throw expected(where, `a whole number of at least ${least}, or ${lists(axes)}`, argument, value);
};

/** Before and after each axis. */
interface Sides {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const sides = (where: string, axes: number, value: unknown): Sides => {
  const given = Array.isArray(value);
  const before = new Array<number>(axes);
  const after = new Array<number>(axes);
  let fits = !given || value.length === axes;
  for (let axis = 0; axis < axes && fits; axis++) {
    const entry = given ? value[axis] : value;
    const apart = Array.isArray(entry);
    before[axis] = apart ? entry[0] : entry;
    after[axis] = apart ? entry[1] : entry;
    fits = (!apart || entry.length === 2) && whole(before[axis], 0) && whole(after[axis], 0);
  }
  if (fits) return { before, after };
  throw expected(where, `a whole number of at least 0, or ${lists(axes)}, or [before, after] for an axis`, "padding", value);
};

/** A convolution's tensors, x with its batch axis, and all options but the result's size. */
interface Checked {
  readonly batched: boolean;
  /** Spatial sizes of x and w. */
  readonly size: readonly number[];
  readonly kernel: readonly number[];
  readonly attrs: Pick<ConvAttrs, "stride" | "padding" | "dilation" | "groups">;
  /** Padding behind each axis; what is before it is in `attrs`. */
  readonly after: readonly number[];
}

/** @param layout what the first two axes of w are */
const check = (where: string, axes: number, x: Tensor, w: Tensor, options: ConvOptions, layout: string): Checked => {
  const { bias, stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  if (!whole(groups, 1)) throw expected(where, "a whole number of at least 1", "groups", groups);
  requireFloat(where, bias === undefined ? [x, w] : [x, w, bias], TENSORS);
  const batched = x.shape.length !== axes + 1;
  if (batched && x.shape.length !== axes + 2)
    throw expected(where, `shape [batch, channels, ${AXES[axes].join(", ")}], or one without batch,`, "x", x.shape);
  if (w.shape.length !== axes + 2 || elements(w.shape) === 0)
    throw expected(where, `shape [${layout}, ${AXES[axes].map((name) => `kernel ${name}`).join(", ")}] without zeros`, "w", w.shape);
  if (w.shape[0] % groups !== 0) throw expected(where, `a first axis that ${groups} groups divide`, "w", w.shape);

  const size = x.shape.slice(-axes);
  const kernel = w.shape.slice(2);
  const strides = perAxis(where, axes, stride, 1, "stride");
  const dilations = perAxis(where, axes, dilation, 1, "dilation");
  if (padding === "same" && strides.some((step) => step !== 1)) throw expected(where, 'stride 1 with padding "same"', "stride", stride);
  const total = (axis: number): number => dilations[axis] * (kernel[axis] - 1);
  const { before, after } =
    padding === "same"
      ? { before: kernel.map((_, axis) => Math.floor(total(axis) / 2)), after: kernel.map((_, axis) => Math.ceil(total(axis) / 2)) }
      : sides(where, axes, padding === "valid" ? 0 : padding);
  return { batched, size, kernel, after, attrs: { stride: strides, dilation: dilations, padding: before, groups } };
};

const checkBias = (where: string, bias: Tensor | undefined, features: number): void => {
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== features)) throw expected(where, `shape [${features}]`, "bias", bias.shape);
};

/** Attributes of the op, and whether x has a batch axis. */
export interface Normalised {
  readonly batched: boolean;
  readonly attrs: ConvAttrs;
}

const kept = recalling<Normalised>();
/** Every call of a convolution passes here, on its way to kernels that may take a microsecond. */
const normalised = (
  where: string,
  x: Tensor,
  w: Tensor,
  options: ConvTransposeOptions | ConvOptions,
  outputPadding: PerAxis | undefined,
  make: () => Normalised,
): Normalised => {
  const { bias, stride, padding, dilation, groups } = options;
  checkTensor(where, "x", x);
  checkTensor(where, "w", w);
  if (bias !== undefined) checkTensor(where, "bias", bias);
  return kept([where, x.shape, w.shape, bias?.shape, x.dtype, w.dtype, bias?.dtype, stride, padding, dilation, groups, outputPadding], make);
};

export const convolution = (where: string, axes: number, x: Tensor, w: Tensor, options: ConvOptions): Normalised => {
  checkNames(where, options, ["bias", "stride", "padding", "dilation", "groups"]);
  return normalised(where, x, w, options, undefined, () => forward(where, axes, x, w, options));
};

const forward = (where: string, axes: number, x: Tensor, w: Tensor, options: ConvOptions): Normalised => {
  const { batched, size, kernel, attrs, after } = check(where, axes, x, w, options, "features, channels / groups");
  const channels = w.shape[1] * attrs.groups;
  if (channels !== x.shape[batched ? 1 : 0])
    throw expected(where, `${channels} channels (${w.shape[1]} per group in \`w\`, ${attrs.groups} groups)`, "x", x.shape);
  checkBias(where, options.bias, w.shape[0]);
  const out = size.map((count, axis) => {
    const padded = count + attrs.padding[axis] + after[axis];
    const span = attrs.dilation[axis] * (kernel[axis] - 1) + 1;
    if (span <= padded) return Math.floor((padded - span) / attrs.stride[axis]) + 1;
    const what = `a kernel whose dilated ${AXES[axes][axis]} is at most the padded input's, ${padded}`;
    throw expected(where, what, "w", `${span} from shape ${showShape(w.shape)}`);
  });
  return { batched, attrs: { ...attrs, size: out } };
};

export const transposed = (where: string, axes: number, x: Tensor, w: Tensor, options: ConvTransposeOptions): Normalised => {
  const { outputPadding } = checkNames(where, options, ["bias", "stride", "padding", "outputPadding", "dilation", "groups"]);
  return normalised(where, x, w, options, outputPadding, () => backward(where, axes, x, w, options));
};

const backward = (where: string, axes: number, x: Tensor, w: Tensor, { outputPadding = 0, ...options }: ConvTransposeOptions): Normalised => {
  if (typeof options.padding === "string") sides(where, axes, options.padding);
  const { batched, size, kernel, attrs, after } = check(where, axes, x, w, options, "channels, features / groups");
  if (elements(size) === 0) throw expected(where, "spatial axes without zeros", "x", x.shape);
  if (w.shape[0] !== x.shape[batched ? 1 : 0]) throw expected(where, `${w.shape[0]} channels, the first axis of \`w\`,`, "x", x.shape);
  checkBias(where, options.bias, w.shape[1] * attrs.groups);
  const more = perAxis(where, axes, outputPadding, 0, "outputPadding");
  if (more.some((count, axis) => count >= Math.max(attrs.stride[axis], attrs.dilation[axis])))
    throw expected(where, "less than the stride or the dilation", "outputPadding", outputPadding);
  const full = size.map((count, axis) => (count - 1) * attrs.stride[axis] + attrs.dilation[axis] * (kernel[axis] - 1) + 1 + more[axis]);
  const out = full.map((count, axis) => {
    const cut = attrs.padding[axis] + after[axis];
    if (count > cut) return count - cut;
    throw expected(where, `less than the output's ${AXES[axes][axis]} of ${count} in all`, "padding", options.padding);
  });
  return { batched, attrs: { ...attrs, size: out } };
};
