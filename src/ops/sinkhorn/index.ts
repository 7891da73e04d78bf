import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { isGradEnabled, noGrad } from "../../gradMode.ts";
import { scope } from "../../scope.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { cast } from "../cast/index.ts";
import { add, div, exp, mul } from "../elementwise/index.ts";
import { composed } from "../hyperConnection/composed.ts";
import { hyperConnection } from "../hyperConnection/index.ts";
import { MAX_SIDE as TINY_SIDE } from "../hyperConnection/op.ts";
import { matmul } from "../matmul/index.ts";
import { gumbel } from "../random/index.ts";
import { sum } from "../reduce/index.ts";
import { concat, expand, reshape, slice } from "../shape/index.ts";
import { transport } from "../transport/op.ts";
import { type ForwardAttrs, isTiny, orient, recordLayout } from "./geometry.ts";
import { plain, recorded, rerun, tiny } from "./op.ts";
import { checkOptions, type SinkhornOptions, type SinkhornOutput } from "./options.ts";

export type { SinkhornAnnealing, SinkhornNoise, SinkhornOptions, SinkhornOutput } from "./options.ts";

/** The logits as the iterations see them, but for a temperature that is a number; and the masses, where a slack side changes them. */
const prepare = (
  logits: Tensor,
  options: SinkhornOptions,
): { readonly z: Tensor; readonly a?: Tensor; readonly b?: Tensor; readonly mask?: Tensor } => {
  const { scale, bias, noise, temperature, slack } = options;
  let { a, b, mask } = options;
  const changed = scale || bias || noise || slack !== undefined || typeof temperature === "object";
  let z = changed ? cast(logits, "float32") : logits;
  if (scale) z = mul(z, scale);
  if (bias) z = add(z, bias);
  if (noise) {
    const draws = gumbel(logits.device, z.shape, { seed: noise.seed, stream: noise.stream ?? 0 });
    z = add(z, noise.scale === undefined ? draws : mul(draws, noise.scale));
  }
  if (slack !== undefined) {
    const batch = z.shape.slice(0, -2);
    const [n, m] = z.shape.slice(-2);
    const score = typeof slack === "number" ? z.device.full([], slack) : reshape(slack, []);
    z = concat([concat([z, expand(score, [...batch, n, 1])], -1), expand(score, [...batch, 1, m + 1])], -2);
    // A slack row takes at most everything that the columns have, and the reverse (Sarlin et al. 2020, eq. 8).
    const all = (own: Tensor | undefined, other: Tensor | undefined, size: number, total: number): Tensor => {
      if (own && other && own.shape.length !== other.shape.length)
        throw expected("sinkhorn", "masses of one rank where slack is given", "a", own.shape);
      return own && other ? concat([own, sum(other, -1, { keepDims: true })], -1) : concat([z.device.ones([size]), z.device.full([1], total)]);
    };
    [a, b] = [all(a, b, n, m), all(b, a, m, n)];
    if (mask) {
      const before = mask.shape.slice(0, -2);
      const open = (shape: number[]): Tensor => z.device.ones(shape, mask?.dtype);
      mask = concat([concat([mask, open([...before, n, 1])], -1), open([...before, 1, m + 1])], -2);
    }
  }
  if (typeof temperature === "object") z = div(z, temperature.shape.length === 0 ? temperature : reshape(temperature, [...temperature.shape, 1, 1]));
  return { z, ...(a && { a }), ...(b && { b }), ...(mask && { mask }) };
};

/** Iterations that the schedule takes before the temperature is reached. */
const annealedOf = ({ annealing, temperature = 1, iterations = 20 }: SinkhornOptions): number => {
  if (!annealing || typeof temperature !== "number") return 0;
  let annealed = 0;
  for (let hot = annealing.from; hot > temperature * (1 + 1e-9) && annealed < iterations; hot *= annealing.factor) annealed++;
  if (annealed >= iterations) throw expected("sinkhorn", `more iterations than annealing takes to reach ${temperature}`, "iterations", iterations);
  return annealed;
};

const run = (logits: Tensor, options: SinkhornOptions, wanted: readonly SinkhornOutput[]): Partial<Record<SinkhornOutput, Tensor>> => {
  const {
    iterations = 20,
    temperature = 1,
    order = "row",
    marginals = "doublyStochastic",
    sizes,
    start,
    tolerance,
    checkEvery = 10,
    rho = [],
  } = options;
  const { z, a, b, mask } = prepare(logits, options);
  const [rows, columns] = order === "row" ? [a, b] : [b, a];
  const operands = Object.entries({ rows, columns, start, mask, sizes }).flatMap(([name, tensor]) => (tensor ? [{ name, tensor }] : []));
  const inputs = [z, ...operands.map(({ tensor }) => tensor)];
  const backward = options.backward ?? "exact";
  const recording = backward !== "none" && isGradEnabled() && inputs.some((tensor) => tensor.requiresGrad);
  const both = wanted.includes("P") && wanted.includes("logP");
  const plan = wanted.includes("logP") ? "logP" : wanted.includes("P") ? "P" : "none";
  const needsPlan = wanted.some((name) => name === "cost" || name === "PV" || name === "PTV");
  const head = wanted.some((name) => ["f", "g", "error", "iterations"].includes(name)) || (needsPlan && plan !== "P");
  const leaks = (typeof rho === "number" ? [rho, rho] : rho).map((value) => 1 / value);
  const [leakA = 0, leakB = 0] = leaks;
  const [leak_rows, leak_columns] = order === "row" ? [leakA, leakB] : [leakB, leakA];
  const annealed = annealedOf(options);
  const exact = recording && backward === "exact";
  const unrecorded: ForwardAttrs = {
    iterations,
    order,
    plan,
    record: head || (recording && !exact) ? "head" : "none",
    error: tolerance !== undefined || wanted.includes("error"),
    checkEvery: tolerance === undefined ? 0 : checkEvery,
    annealed,
    unbalanced: leak_rows > 0 || leak_columns > 0,
    uniform: marginals === "uniform",
    backward: backward === "implicit" ? "implicit" : "exact",
    operands: operands.map(({ name }) => name).join(" "),
  };
  const runsAgain = exact && isTiny(z.shape, unrecorded);
  const attrs: ForwardAttrs = exact && !runsAgain ? { ...unrecorded, record: "history" } : unrecorded;
  const scalars = {
    temperature: typeof temperature === "number" ? temperature : 1,
    hot: options.annealing?.from ?? 1,
    cooling: options.annealing?.factor ?? 1,
    leak_rows,
    leak_columns,
    tolerance: tolerance ?? 0,
  };
  const [matrix, record] = recording
    ? apply(runsAgain ? tiny : annealed > 0 || plan === "none" ? rerun : recorded, inputs, attrs, scalars)
    : noGrad(() => apply(plain, inputs, attrs, scalars));
  const { n, m } = orient(z.shape, order);
  const layout = recordLayout(n, m, attrs);
  const part = (from: number, size: number): Tensor => slice(record, { axis: -1, start: from, end: from + size });
  const single = (from: number): Tensor => reshape(part(from, 1), z.shape.slice(0, -2)).detach();
  const potential = (first: boolean): Tensor => (first ? part(layout.f, n) : part(layout.g, m));
  const [rowOffset, columnOffset] = order === "row" ? [layout.f, layout.g] : [layout.g, layout.f];
  const applied = (kind: "rows" | "columns" | "cost", x: Tensor): Tensor =>
    apply(
      transport,
      [z, record, x, ...(mask ? [mask] : [])],
      { kind, rowOffset, columnOffset, masked: mask !== undefined },
      { temperature: scalars.temperature },
    )[0];
  const stored = plan === "P";
  const [V, C] = [options.V as Tensor, options.C as Tensor];
  const make: Record<SinkhornOutput, () => Tensor> = {
    P: () => (both ? exp(matrix) : matrix),
    logP: () => matrix,
    f: () => potential(order === "row"),
    g: () => potential(order === "column"),
    error: () => single(layout.error),
    iterations: () => single(layout.iterations),
    cost: () => (stored ? sum(mul(matrix, C), [-2, -1]) : sum(applied("cost", C), -1)),
    PV: () => (stored ? matmul(matrix, V) : applied("rows", V)),
    PTV: () => (stored ? matmul(matrix, V, { transposeA: true }) : applied("columns", V)),
  };
  return Object.fromEntries(wanted.map((name) => [name, make[name]()]));
};

/** DeepSeek's arithmetic: fused up to a side of 8, from elementary ops beyond. */
const runWithEps = (
  logits: Tensor,
  options: SinkhornOptions,
  eps: number,
  wanted: readonly SinkhornOutput[],
): Partial<Record<SinkhornOutput, Tensor>> => {
  const { iterations, temperature, scale, bias, V } = options;
  if (typeof temperature === "object") throw expected("sinkhorn", "a number where eps is given", "temperature", temperature);
  for (const name of wanted) if (name !== "P" && name !== "PV") throw expected("sinkhorn", "only P and PV where eps is given", "outputs", name);
  const settings = {
    eps,
    ...(iterations !== undefined && { iterations }),
    ...(temperature !== undefined && { temperature }),
    ...(scale && { scale }),
    ...(bias && { bias }),
  };
  const fused = logits.shape.slice(-2).every((side) => side <= TINY_SIDE);
  const z = cast(logits, "float32");
  const normalised = (streams?: Tensor): Tensor => (fused ? hyperConnection : composed)(z, { ...settings, ...(streams && { streams }) });
  return Object.fromEntries(wanted.map((name) => [name, name === "PV" ? normalised(V) : normalised()]));
};

/** P alone, or what `outputs` names. */
export interface Sinkhorn {
  (logits: Tensor, options?: Omit<SinkhornOptions, "outputs">): Tensor;
  <K extends SinkhornOutput>(logits: Tensor, options: SinkhornOptions & { readonly outputs: readonly K[] }): Record<K, Tensor>;
}

/**
 * Sinkhorn's iteration: scales the rows, then the columns, of exp(logits / temperature) to their masses, `iterations` times over.
 * With the default masses of 1 a square P becomes doubly stochastic. The result is that of the iterations that ran, and so is its gradient:
 * the side scaled last has exactly its masses, the other one in the limit ("error" says how far off it is).
 *
 * Sinkhorn and Knopp (1967); as optimal transport, Cuturi (2013): logits = −C / ε; as a layer, Mena et al., "Learning latent permutations with
 * Gumbel–Sinkhorn networks" (2018). Stable at any temperature by absorbed scaling (Schmitzer 2019, alg. 2). Gradients reach logits, `a`, `b`, `start`, and tensors given as
 * `temperature`, `slack`, `scale`, `bias`, `V` and `C`. See src/ops/sinkhorn/README.md.
 *
 * @param logits float32 or float16 `[..., n, m]`, n and m from 1 to 4096; leading axes are the batch, of any size
 * @returns P, float32 of the shape of `logits`; with `outputs`, an object of tensors
 * @throws ArgumentError for another shape or dtype, an unknown option or one out of range. The next `read()` throws DataError when a logit that is not masked is
 * NaN or infinite, a mass negative, or a size outside of the matrix.
 * @example
 * ```ts
 * const P = sinkhorn(device.tensor([[0, 2], [1, 0]]), { iterations: 50, temperature: 0.5 });
 * await P.read(); // => [0.0474, 0.9526, 0.9526, 0.0474]
 * await sum(P, 0).read(); // => [1, 1]
 *
 * // Entropic optimal transport between three and two bins.
 * const C = device.tensor([[0, 1], [1, 0], [2, 1]]);
 * const [a, b] = [device.tensor([0.5, 0.25, 0.25]), device.tensor([0.5, 0.5])];
 * const found = sinkhorn(neg(C), { temperature: 0.1, a, b, C, tolerance: 1e-6, iterations: 1000, outputs: ["cost", "error"] });
 * await found.cost.item(); // => 0.25
 * ```
 */
export const sinkhorn = ((logits: Tensor, options: SinkhornOptions = {}): Tensor | Partial<Record<SinkhornOutput, Tensor>> => {
  checkTensor("sinkhorn", "logits", logits);
  checkOptions(options);
  const wanted = options.outputs ?? ["P"];
  const results = scope(() => (options.eps === undefined ? run(logits, options, wanted) : runWithEps(logits, options, options.eps, wanted)));
  return options.outputs === undefined ? (results.P as Tensor) : results;
}) as Sinkhorn;
