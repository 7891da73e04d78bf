/** How far layers and networks are from turning with their input: on the grid, where pixels move exactly, and off it, by interpolation. */
import {
  cayleyTable,
  checkPermutation,
  checkPermutations,
  equalPermutations,
  inverse,
  isPermutation,
  type Permutation,
  rotationGroup,
} from "../data/permutations.ts";
import { transformImage } from "../data/transforms.ts";
import { checkFinite, checkNames, expected } from "../errors.ts";
import { noGrad } from "../gradMode.ts";
import { SymmetricNetwork } from "../nn/convolutions.ts";
import { elements, type Shape } from "../op.ts";
import { checkFunction, scope } from "../scope.ts";
import { checkTensor, checkTensors, type Tensor } from "../tensor.ts";

/** A rotation of images, and what it does to a group axis. */
export interface ImageAction {
  /** Counter-clockwise about the centre. Multiples of 90° move pixels of square images exactly; others interpolate between four pixels. */
  readonly degrees: number;
  /** Position a of the group axis takes what stands at group[a]; without it, outputs are compared in the mean over their group axis. */
  readonly group?: Permutation;
}

interface Host {
  readonly values: Float32Array;
  readonly shape: Shape;
}

const isExact = (degrees: number): boolean => Number.isInteger(degrees / 90);

/** The images of [..., H, W], turned; with a group axis at 2 that moves along. */
const act = ({ values, shape }: Host, { degrees, group }: ImageAction): Host => {
  const [h, w] = shape.slice(-2);
  const size = h * w;
  const result = new Float32Array(values.length);
  const g = shape.length === 5 ? shape[2] : 1;
  for (let i = 0; i < values.length / size; i++) {
    const source = group && shape.length === 5 ? i - (i % g) + group[i % g] : i;
    transformImage(values.subarray(source * size, (source + 1) * size), h, w, "rotate", degrees, result.subarray(i * size, (i + 1) * size));
  }
  return { values: result, shape };
};

const groupMean = ({ values, shape }: Host): Host => {
  if (shape.length !== 5) return { values, shape };
  const [b, c, g, h, w] = shape;
  const size = h * w;
  const result = new Float32Array(b * c * size);
  for (let i = 0; i < values.length; i++) result[Math.floor(i / (g * size)) * size + (i % size)] += values[i] / g;
  return { values: result, shape: [b, c, h, w] };
};

/** Zero outside of the largest disc about the centre: what rotations do not push over the edge. */
const disc = ({ values, shape }: Host): Host => {
  const [h, w] = shape.slice(-2);
  const radius = Math.min(h, w) / 2;
  const inside = (row: number, column: number): boolean => Math.hypot(row - (h - 1) / 2, column - (w - 1) / 2) <= radius;
  return { values: values.map((value, i) => (inside(Math.floor(i / w) % h, i % w) ? value : 0)), shape };
};

const relative = (a: Float32Array, b: Float32Array): number => {
  let [difference, total] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    total += b[i] ** 2;
  }
  return total > 0 ? Math.sqrt(difference / total) : Math.sqrt(difference) > 0 ? Number.POSITIVE_INFINITY : 0;
};

/** ‖f(ρx) − ρf(x)‖ / ‖f(x)‖ of one output; answers without images should not change at all. */
const compare = (turned: Host, plain: Host, action: ImageAction): number => {
  if (plain.shape.length < 4) return relative(turned.values, plain.values);
  const [a, b] = action.group ? [turned, plain] : [groupMean(turned), groupMean(plain)];
  const moved = act(b, action);
  return isExact(action.degrees) ? relative(a.values, moved.values) : relative(disc(a).values, disc(moved).values);
};

/** What a function of tensors gives for numbers of the host. */
const evaluate = async (where: string, forward: (x: Tensor) => readonly Tensor[], x: Tensor, { values, shape }: Host): Promise<Host[]> => {
  const outputs = noGrad(() =>
    scope(() => {
      const given = forward(x.device.tensor(values, shape));
      checkTensors(where, "the result of forward", given);
      return given.map((output) => output.detach());
    }),
  );
  try {
    return await Promise.all(outputs.map(async (output) => ({ values: Float32Array.from(await output.read()), shape: output.shape })));
  } finally {
    for (const output of outputs) output.dispose();
  }
};

const measure = async (where: string, forward: (x: Tensor) => readonly Tensor[], x: Tensor, action: ImageAction): Promise<number[]> => {
  checkTensor(where, "x", x);
  checkNames(where, action, ["degrees", "group"], "action");
  const { shape } = x;
  checkFinite(where, "degrees", action.degrees);
  if (shape.length !== 4 && shape.length !== 5) throw expected(where, "shape [B, C, H, W] or [B, C, g, H, W]", "x", shape);
  if (elements(shape) === 0) throw expected(where, "at least one image", "x", shape);
  if (isExact(action.degrees) && shape[shape.length - 1] !== shape[shape.length - 2]) throw expected(where, "square images", "x", shape);
  const { group } = action;
  if (group !== undefined || shape.length === 5) checkPermutation(where, "group", group, shape.length === 5 ? shape[2] : undefined);
  const read = { values: Float32Array.from(await x.read()), shape };
  const input = isExact(action.degrees) ? read : disc(read);
  const [plain, turned] = [await evaluate(where, forward, x, input), await evaluate(where, forward, x, act(input, action))];
  for (const [i, output] of plain.entries()) {
    if (String(turned[i]?.shape) !== String(output.shape))
      throw expected(where, `the shape [${output.shape.join(", ")}] for turned images too`, "the result of forward", turned[i]?.shape);
    if (group && output.shape.length === 5 && output.shape[2] !== group.length)
      throw expected(where, `a permutation of the ${output.shape[2]} positions of the output's group axis`, "group", group);
  }
  return plain.map((output, i) => compare(turned[i], output, action));
};

/**
 * Equivariance error of a layer or network f under one rotation ρ, ‖f(ρx) − ρf(x)‖ / ‖f(x)‖ over all images; for answers without image axes ‖f(ρx) − f(x)‖ / ‖f(x)‖.
 *
 * Off the grid (degrees that are no multiple of 90) input and output are looked at inside the largest disc, and the error has interpolation's own in it: compare with that of a
 * network whose group is given.
 *
 * @param forward from [B, C, H, W] or [B, C, g, H, W] to such a shape, or to [B, …] without images
 * @param x images, or features with a group axis, for which `action.group` says how ρ moves it
 * @throws ArgumentError for other shapes, no images, a group axis without its permutation, and a `forward` that gives no tensor; rejects as `read`.
 * @example
 * ```ts
 * const layer = new GroupLift2d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, group: rotationGroup(3).elements });
 * const x = device.tensor(Float32Array.from({ length: 49 }, (_, i) => Math.sin(i * i)), [1, 1, 7, 7]);
 * const shift = Int32Array.of(3, 0, 1, 2); // a quarter turn: element a has what a − 1 had
 * await equivarianceError((image) => layer.forward(image), x, { degrees: 90, group: shift }); // => 0.000
 * ```
 */
export const equivarianceError = async (forward: (x: Tensor) => Tensor, x: Tensor, action: ImageAction): Promise<number> => {
  checkFunction("equivarianceError", forward, "forward");
  return (await measure("equivarianceError", (images) => [forward(images)], x, action))[0];
};

export interface EquivarianceRow {
  readonly degrees: number;
  /** Whether the group axis was seen to move as the group says; otherwise layers are compared in the mean over it. */
  readonly onGroup: boolean;
  /** From the image to behind each layer. */
  readonly layers: readonly number[];
  /** Of the answers, which should not change. */
  readonly network: number;
}

/**
 * Equivariance errors of a `DigitNetwork` or `ResidualNetwork` from the image to behind each of its layers, or blocks, and of its answers, for several rotations.
 *
 * @param x [B, C, H, W]
 * @param options `degrees`: default 45, 90, 135, …, 315; `group`: what the elements of the group axis do to a k × k kernel, in their order and the same in all layers, such as the
 * nearest permutations of the lifting layer. Under quarter turns that are among them, group axes are compared element by element
 * @throws ArgumentError for another network, no angle, a group that is no permutations of k × k positions, and as `equivarianceError`.
 * @example
 * ```ts
 * const group = rotationGroup(3).elements;
 * const network = new DigitNetwork(initializer(device, 1), { kind: "fixed", group }, { width: 2, kernelSize: 3, layers: 2 });
 * const x = device.tensor(Float32Array.from({ length: 49 }, (_, i) => Math.sin(i * i)), [1, 1, 7, 7]);
 * const [row] = await networkEquivariance(network, x, { degrees: [90], group });
 * row.onGroup; // => true
 * [...row.layers, row.network]; // => [0.000, 0.000, 0.000]
 * ```
 */
export const networkEquivariance = async (
  network: SymmetricNetwork,
  x: Tensor,
  options: { readonly degrees?: readonly number[]; readonly group?: readonly Permutation[] } = {},
): Promise<EquivarianceRow[]> => {
  const where = "networkEquivariance";
  const { degrees = [45, 90, 135, 180, 225, 270, 315], group } = checkNames(where, options, ["degrees", "group"]);
  if (!(network instanceof SymmetricNetwork)) throw expected(where, "a DigitNetwork or ResidualNetwork", "network", network);
  if (!Array.isArray(degrees) || degrees.length === 0) throw expected(where, "at least one angle", "degrees", degrees);
  if (group !== undefined && !Number.isInteger(Math.sqrt(checkPermutations(where, "group", group)[0].length)))
    throw expected(where, "permutations of k × k positions", "group", group);
  const rows: EquivarianceRow[] = [];
  for (const angle of degrees) {
    checkFinite(where, "degrees", angle);
    const axis = group && axisPermutation(group, angle);
    const forward = (images: Tensor): Tensor[] => [...network.activations(images), network.forward(images)];
    const errors = await measure(where, forward, x, { degrees: angle, ...(axis && { group: axis }) });
    rows.push({ degrees: angle, onGroup: axis !== undefined, layers: errors.slice(0, -1), network: errors[errors.length - 1] });
  }
  return rows;
};

/** What a quarter turn b does to the group axis, F(ρx)[a] = ρ F(x)[b⁻¹a]; undefined for other angles, where b or a product is not among the elements, and where elements are repeated. */
const axisPermutation = (group: readonly Permutation[], degrees: number): Permutation | undefined => {
  if (!isExact(degrees)) return undefined;
  const back = inverse(rotationGroup(Math.sqrt(group[0].length)).elements[(((degrees / 90) % 4) + 4) % 4]);
  const b = group.findIndex((element) => equalPermutations(element, back));
  if (b < 0) return undefined;
  const axis = cayleyTable(group).subarray(b * group.length, (b + 1) * group.length);
  return isPermutation(axis) ? axis : undefined;
};
