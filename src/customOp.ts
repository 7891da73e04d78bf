import { apply } from "./apply.ts";
import { checkSpec } from "./device.ts";
import { ArgumentError, checkNames, checkObject, expected } from "./errors.ts";
import type { Attrs, Call, Gradient, Limits, NativeSymbol, Op, Pass, ReferenceRun, Scalars, Spec } from "./op.ts";
import { reflect } from "./reflect.ts";
import { refusePromise } from "./scope.ts";
import type { Tensor } from "./tensor.ts";

/** A GPU dispatch of a custom op: a `Pass` without its shader, which is the op's own text. */
export type CustomPass = Omit<Pass, "shader">;

export interface CustomOpDefinition<A extends Attrs> {
  /** In messages; no other meaning. */
  readonly name: string;
  /** Names of the numbers that may change with every call; uniform fields of the same name receive them. */
  readonly scalars?: readonly string[];
  /** Specs of the outputs; throws ArgumentError for inputs it refuses. */
  outputs(inputs: readonly Spec[], attrs: A): readonly Spec[];
  /** WGSL text; what it may contain stands at `reflect`. Sizes come from `params`: buffers may be longer than the tensor. */
  readonly wgsl: string;
  /** The dispatches of a call, and the sizes of temporary buffers in elements. Pure. */
  plan(call: Call<A>, limits: Limits): { readonly scratch?: readonly number[]; readonly passes: readonly CustomPass[] };
  /** The definition in float64 loops; without it the op does not run on `reference` and cannot be checked against it. */
  reference?(run: ReferenceRun<A>): void;
  /** A compiled kernel for the `native` device: see native/birkhoff_kernel.h. */
  readonly native?: NativeSymbol;
  /** The backward rule, or the reason why there is none. */
  readonly gradient: Gradient<A>;
}

/** A custom op: call it with tensors of one device. `op` is the value for `birkhoff/testing`. */
export interface CustomOp<A extends Attrs> {
  (inputs: readonly Tensor[], attrs: A, scalars?: Scalars): Tensor[];
  readonly op: Op<A>;
}

/**
 * Puts your own kernel on the tape. Its callbacks are synchronous.
 *
 * @throws ArgumentError for WGSL that does not parse, callbacks that are no functions, and callbacks that return promises or not what they should; DeviceError when called on a
 * device for which no kernel was given.
 * @example
 * ```ts
 * const scale: CustomOp<Attrs> = customOp({
 *   name: "scale",
 *   scalars: ["factor"],
 *   outputs: ([x]) => [x],
 *   wgsl: `
 *     struct Params { count: u32, factor: f32 }
 *     @group(0) @binding(0) var<uniform> params: Params;
 *     @group(0) @binding(1) var<storage, read> x: array<f32>;
 *     @group(0) @binding(2) var<storage, read_write> y: array<f32>;
 *     @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
 *       if (id.x < params.count) { y[id.x] = params.factor * x[id.x]; }
 *     }`,
 *   plan: ({ outputs: [{ shape }] }) => {
 *     const count = elements(shape);
 *     return { passes: [{ entry: "main", params: { count }, bind: { x: input(0), y: output(0) }, workgroups: [Math.ceil(count / 64), 1, 1] }] };
 *   },
 *   reference: ({ scalars: { factor }, inputs: [x], outputs: [y] }) => x.forEach((value, i) => { y[i] = factor * value; }),
 *   gradient: { saves: {}, vjp: ({ gradient, scalars }) => scale([gradient(0)], {}, scalars) },
 * });
 * const x = device.tensor([1, 2]);
 * x.requiresGrad = true;
 * const [y] = scale([x], {}, { factor: 3 });
 * await y.read(); // => [3, 6]
 * y.backward(device.ones([2]));
 * await x.grad?.read(); // => [3, 3]
 * ```
 */
export const customOp = <A extends Attrs = Attrs>(definition: CustomOpDefinition<A>): CustomOp<A> => {
  const {
    name,
    gradient,
    native,
    reference,
    scalars = [],
  } = checkNames("customOp", definition, ["name", "scalars", "outputs", "wgsl", "plan", "reference", "native", "gradient"], "definition");
  if (typeof name !== "string" || name === "") throw expected("customOp", "a non-empty string", "name", name);
  if (typeof definition.wgsl !== "string") throw expected("customOp", "WGSL text", "wgsl", definition.wgsl);
  for (const key of ["outputs", "plan"] as const) {
    if (typeof definition[key] !== "function") throw expected("customOp", "a function", key, definition[key]);
  }
  if (reference !== undefined && typeof reference !== "function") throw expected("customOp", "a function", "reference", reference);
  if (!gradient || typeof gradient !== "object" || !("none" in gradient || typeof gradient.vjp === "function"))
    throw expected("customOp", "a rule, or { none: reason },", "gradient", gradient);
  if (!Array.isArray(scalars) || !scalars.every((scalar) => typeof scalar === "string")) throw expected("customOp", "names", "scalars", scalars);
  const shader = reflect(name, definition.wgsl);
  const synchronous = <T>(callback: string, result: T): T => {
    refusePromise(`${name}.${callback}`, result);
    return result;
  };
  const list = <T extends readonly unknown[]>(callback: string, result: T): T => {
    if (!Array.isArray(synchronous(callback, result))) throw expected(`${name}.${callback}`, "an array", "the result", result);
    return result;
  };
  const op: Op<A> = {
    name,
    scalars,
    ...(native && { native }),
    outputs: (inputs, attrs) => {
      const specs = list("outputs", definition.outputs(inputs, attrs));
      for (const [i, spec] of specs.entries()) checkSpec(`${name}.outputs`, spec, `result[${i}]`);
      return specs;
    },
    reference: (run) => {
      if (!reference) throw new ArgumentError(`${name}: expected a \`reference\` to run on the reference device, but none was given`);
      synchronous("reference", reference(run));
    },
    plan: (call, limits) => {
      const { passes, ...rest } = checkObject(`${name}.plan`, synchronous("plan", definition.plan(call, limits)), "result");
      if (!Array.isArray(passes)) throw expected(`${name}.plan`, "an array", "result.passes", passes);
      return { ...rest, passes: passes.map((pass) => ({ ...pass, shader })) };
    },
    unsupported: (_, device) => {
      if (device === "reference" && !reference) return "the custom op has no `reference`";
      return device === "native" && !native ? "the custom op has no `native` kernel" : undefined;
    },
    gradient: "none" in gradient ? gradient : { saves: gradient.saves, vjp: (context) => list("vjp", gradient.vjp(context)) },
  };
  const call = (inputs: readonly Tensor[], attrs: A, scalars: Scalars = {}): Tensor[] => {
    if (!Array.isArray(inputs) || inputs.length === 0) throw expected(name, "at least one tensor", "inputs", inputs);
    return apply(op, inputs, checkObject(name, attrs, "attrs"), checkObject(name, scalars, "scalars"));
  };
  return Object.assign(call, { op });
};
