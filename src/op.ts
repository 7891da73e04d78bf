/**
 * What an op is: a plain value, handed to the tape, the devices, the tests and the benches.
 * Nothing is registered anywhere; no shared code knows an op by name.
 */
import { type Attributes, checkAttributes } from "./attributes.ts";
import { expected } from "./errors.ts";
import type { Tensor } from "./tensor.ts";

/**
 * PyTorch's names. float16 is for storage: ops that take it compute in float32 and give results and gradients in it. `reference` holds float32 as
 * float64, and float16 as float64 that was rounded to it.
 */
export type DType = "float32" | "float16" | "int32" | "uint32";

/** Bytes of an element on the GPU and in native code. */
export const ELEMENT_BYTES: Readonly<Record<DType, number>> = { float32: 4, float16: 2, int32: 4, uint32: 4 };

/** Whether tensors of the dtype can have gradients, which are float32 in any case. */
export const isFloat = (dtype: DType): boolean => dtype === "float32" || dtype === "float16";

/** Sizes per axis, outermost first; tensors are dense and row-major. */
export type Shape = readonly number[];

/** What is known of a tensor without its data. */
export interface Spec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Structure of a call: decides the kernel and is part of every cache key. JSON values only. */
export type Attrs = Readonly<Record<string, number | boolean | string | readonly number[]>>;

/** Numbers that may change with every call (a learning rate, a seed): handed to the kernel, never part of a cache key. */
export type Scalars = Readonly<Record<string, number>>;

/** One op applied to specs: interned (see `apply.ts`), so devices may cache by identity. */
export interface Call<A extends Attrs = Attrs> {
  readonly op: Op<A>;
  readonly inputs: readonly Spec[];
  readonly outputs: readonly Spec[];
  readonly attrs: A;
}

/** Throws unless scalars that an attribute switches off are 0. */
export const checkSwitched = ({ name, switched }: Pick<Op, "name" | "switched">, attrs: Attrs, scalars: Scalars): void => {
  for (const scalar in switched) {
    const flag = switched[scalar];
    if (scalars[scalar] !== 0 && attrs[flag] === false) throw expected(name, `0, since ${flag} is false,`, scalar, scalars[scalar]);
  }
};

/** Elements on the reference device: float32 and float16 tensors are Float64Array there. */
export type Numbers = Float64Array | Int32Array | Uint32Array;

/** What a reference gets: it reads `inputs` and writes every element of `outputs`, all row-major. */
export interface ReferenceRun<A extends Attrs = Attrs> {
  readonly call: Call<A>;
  readonly scalars: Scalars;
  readonly inputs: readonly Numbers[];
  readonly outputs: readonly Numbers[];
  /** Reports that the data broke the precondition named by `op.fault`; `value` is what came. */
  fault(value: number): void;
}

/** Which buffer a shader binding gets: all of it, or the elements [from, from + length), where `from` is a multiple of 256 bytes. */
export type BufferRef = ({ readonly input: number } | { readonly output: number } | { readonly scratch: number }) & {
  readonly window?: { readonly from: number; readonly length: number };
};
/**
 * A call's input, for `Pass.bind`.
 *
 * @example input(0); // => { input: 0 }
 */
export const input = (index: number): BufferRef => ({ input: index });
/**
 * A call's output, for `Pass.bind`.
 *
 * @example output(0); // => { output: 0 }
 */
export const output = (index: number): BufferRef => ({ output: index });
/**
 * A temporary buffer of the plan, for `Pass.bind`.
 *
 * @example scratch(1); // => { scratch: 1 }
 */
export const scratch = (index: number): BufferRef => ({ scratch: index });

/** A reflected `.wgsl` file; written by `scripts/shaders.ts`, or made from a user's text by `reflect()`. */
export interface Shader {
  /** "<room>/<file>", the name in error messages. */
  readonly name: string;
  readonly source: string;
  /** Module constants (`const NAME: u32 = 3u;`), so that codes are never mirrored by hand. */
  readonly consts: Readonly<Record<string, number>>;
  /** Override names with their default, or undefined when the pass must give it. */
  readonly overrides: Readonly<Record<string, number | undefined>>;
  /** Byte layout of `struct Params`, when the file has one. */
  readonly params: ParamsLayout | undefined;
  readonly entries: Readonly<Record<string, { readonly bindings: readonly ShaderBinding[] }>>;
}
export interface ShaderBinding {
  readonly name: string;
  readonly binding: number;
  readonly kind: "read" | "read_write" | "uniform";
  /** As WGSL writes it: `array<f32>`. */
  readonly type: string;
  /** Bytes that must be bound at the least: one element of an array without a size. */
  readonly least: number;
}
export interface ParamsLayout {
  readonly size: number;
  readonly fields: Readonly<
    Record<string, { readonly offset: number; readonly type: "f32" | "i32" | "u32"; readonly count: number; readonly stride: number }>
  >;
}

/** Counts along three axes, as `dispatchWorkgroups` takes them. */
export type Workgroups = readonly [number, number, number];

/**
 * Counts that the device itself works out: the three words from element `offset` of a temporary buffer on, at the time of the dispatch. Passes
 * before it write them; it may read the buffer but not write it. Of more than the device's limit along one axis, none run.
 */
export interface IndirectWorkgroups {
  readonly indirect: { readonly scratch: number };
  readonly offset: number;
}

/**
 * One GPU dispatch as plain data.
 *
 * The uniform binding must be called `params`. Its fields are filled from `params`, then from the call's scalars
 * of the same name, and a field `fault` receives the code of the op's fault. A binding `status`
 * (`array<atomic<u32>, 2>`) receives the device's status words; neither is named in `bind`.
 */
export interface Pass {
  readonly shader: Shader;
  readonly entry: string;
  readonly constants?: Readonly<Record<string, number>>;
  readonly params?: Readonly<Record<string, number | readonly number[]>>;
  readonly bind: Readonly<Record<string, BufferRef>>;
  readonly workgroups: Workgroups | IndirectWorkgroups;
}

/** What the webgpu device does for one call. */
export interface Plan {
  /** Sizes of temporary buffers, in four-byte elements; their contents are undefined at the start. */
  readonly scratch?: readonly number[];
  readonly passes: readonly Pass[];
}

/** Facts about a device that plans may use; never a brand name. */
export interface Limits {
  readonly workgroupBytes: number;
  readonly workgroupThreads: number;
  readonly workgroupsPerDimension: number;
  readonly storageBuffers: number;
  readonly bindingBytes: number;
  readonly f16: boolean;
  /** Threads of a subgroup, at least and at most; 0 where there are no subgroups. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** Whether subgroups have 32 threads and multiply 16 × 16 matrices of float16, with sums in float32; experimental, so only where it was asked for. */
  readonly matrixUnits: boolean;
}

/** WebGPU's guaranteed minimum: every kernel must run on it. */
export const FLOOR_LIMITS: Limits = {
  workgroupBytes: 16384,
  workgroupThreads: 256,
  workgroupsPerDimension: 65535,
  storageBuffers: 8,
  bindingBytes: 134217728,
  f16: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  matrixUnits: false,
};

/** What a backward rule sees. All tensors handed out are freed after the rule returns. */
export interface VjpContext<A extends Attrs = Attrs> {
  readonly call: Call<A>;
  readonly scalars: Scalars;
  /** Cotangent of an output; throws if that output took no part in the loss. */
  gradient(output: number): Tensor;
  hasGradient(output: number): boolean;
  /** Whether input `index` wants a gradient: a rule skips the work for those that do not. */
  needs(index: number): boolean;
  /** A saved input or output; throws unless `saves` lists it. */
  input(index: number): Tensor;
  output(index: number): Tensor;
}

export type Gradient<A extends Attrs = Attrs> =
  /** Not differentiable, with the reason (shown to whoever asks for the gradient). */
  | { readonly none: string }
  | {
      /** What the tape keeps alive until the backward pass, by position. */
      readonly saves: { readonly inputs?: readonly number[]; readonly outputs?: readonly number[] };
      /** One gradient per input (undefined where `needs` is false), built from other ops. */
      vjp(context: VjpContext<A>): readonly (Tensor | undefined)[];
    };

/** A kernel in a shared library of the user's own, with the C interface of native/birkhoff_kernel.h. */
export interface NativeSymbol {
  /** Path of the library. */
  readonly library: string;
  readonly symbol: string;
}

export interface Op<A extends Attrs = Attrs> {
  /** "<room>" or "<room>.<part>": the name in messages and of the native kernel. */
  readonly name: string;
  /** How many inputs there are, or how many at least and, if there is a limit, at most: `outputs` of an op made by `defineOp` sees no other number. */
  readonly arity?: number | readonly [least: number, most?: number];
  /** What the attributes may be, one kind for each: `outputs` of an op made by `defineOp` refuses others. */
  readonly attributes?: Attributes<A>;
  /** Names of the scalars that the kernel reads, in the order that native code receives them. */
  readonly scalars?: readonly string[];
  /** Scalars that are 0 unless an attribute, a flag, is true: kernels that go without the flag need not read them. */
  readonly switched?: Readonly<Record<string, string>>;
  /** Positions of inputs that the kernel changes in place (optimisers). */
  readonly mutates?: readonly number[];
  /** Positions of inputs that may be float16: its kernels read two numbers in a word there. Others are refused that dtype. */
  readonly halves?: readonly number[];
  /** Output 0 is input 0 under another shape: it shares the storage, and no kernel runs. */
  readonly alias?: true;
  /** Checks the inputs' specs, and that the attributes fit them, and gives the outputs' specs. Throws ArgumentError. */
  outputs(inputs: readonly Spec[], attrs: A): readonly Spec[];
  /** The definition, in plain float64 loops. */
  reference(run: ReferenceRun<A>): void;
  /** The GPU passes. Pure: depends on the call and the limits alone. */
  plan(call: Call<A>, limits: Limits): Plan;
  /** Where the native device finds the kernel, when it is not one of its own. */
  readonly native?: NativeSymbol;
  /** Why this call cannot run on a device of this kind, when it cannot for a reason the limits do not show. */
  unsupported?(call: Call<A>, device: "webgpu" | "native" | "reference"): string | undefined;
  /** The message of the DataError that device data can raise; states what was expected of which argument. */
  fault?(call: Call<A>): string;
  readonly gradient: Gradient<A>;
}

/** The op, whose number of inputs and whose attributes are looked at first: nothing behind that sees any that are not as declared. */
export const defineOp = <A extends Attrs>(op: Op<A> & Required<Pick<Op<A>, "arity" | "attributes">>): Op<A> => ({
  ...op,
  outputs: (inputs, attrs) => {
    const { name, arity } = op;
    const [least, most = Number.POSITIVE_INFINITY] = typeof arity === "number" ? [arity, arity] : arity;
    if (inputs.length < least || inputs.length > most)
      throw expected(
        name,
        typeof arity === "number" ? `${arity} tensors` : `at least ${least}${Number.isFinite(most) ? ` and at most ${most}` : ""} tensors`,
        "inputs",
        inputs.length,
      );
    checkAttributes(name, op.attributes, attrs);
    return op.outputs(inputs, attrs);
  },
});

/**
 * Number of elements of a shape; 1 for a scalar.
 *
 * @throws ArgumentError for what is no array
 * @example elements([2, 3]); // => 6
 */
export const elements = (shape: Shape): number => {
  if (!Array.isArray(shape)) throw expected("elements", "an array of sizes", "shape", shape);
  return shape.reduce((product: number, size: number) => product * size, 1);
};

/** Row-major strides in elements. */
export const strides = (shape: Shape): number[] => {
  const result = new Array<number>(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) {
    result[axis] = step;
    step *= shape[axis];
  }
  return result;
};

/**
 * Workgroup counts for `count` workgroups in a row, of which a device has at most 65535 along an axis. A shader undoes it with
 * `workgroup_id.x + num_workgroups.x * workgroup_id.y` (`linear_workgroup()` of `lib/grid.wgsl`); the last ones may be past the end.
 *
 * @example grid(100_000, FLOOR_LIMITS); // => [65535, 2, 1]
 */
export const grid = (count: number, limits: Limits): Workgroups => {
  const x = Math.min(count, limits.workgroupsPerDimension);
  return [x, x === 0 ? 0 : Math.ceil(count / x), 1];
};

/** A shape in messages: `[2, 3]`. */
export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;
