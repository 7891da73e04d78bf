/** Tensors of a device under names, as values on the host, and back: what modules and optimisers save and load. */
import { ArgumentError, checkFlags, checkNames, expected } from "../errors.ts";
import { type DType, isFloat, showShape } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import type { HostTensor, SafetensorsDType, StateDict } from "./safetensors.ts";

export interface LoadOptions {
  /** Whether names that are missing or too many are errors. Default true. */
  readonly strict?: boolean;
}

/** Names that did not meet. */
export interface LoadResult {
  /** Those that were asked for and are not in the state. */
  readonly missingKeys: readonly string[];
  /** Those of the state that nothing asked for. */
  readonly unexpectedKeys: readonly string[];
}

const STORED: Readonly<Record<DType, SafetensorsDType>> = { float32: "F32", float16: "F16", int32: "I32", uint32: "U32" };
/** Of which a float tensor takes values; those of F64 are rounded by the device. */
const FLOATS: readonly SafetensorsDType[] = ["F16", "BF16", "F32", "F64"];

/** The values of one tensor, with every bit that its device keeps. */
export const toHost = async (tensor: Tensor): Promise<HostTensor> => {
  const shape = [...tensor.shape];
  // The reference device computes in float64, whatever the dtype is called.
  if (tensor.device.kind === "reference" && tensor.dtype === "float32") return { dtype: "F64", shape, data: await tensor.readFloat64() };
  return { dtype: STORED[tensor.dtype], shape, data: await tensor.read() };
};

/** `toHost` of many. */
export const saveState = async (tensors: ReadonlyMap<string, Tensor>): Promise<StateDict> => {
  const values = await Promise.all([...tensors].map(async ([name, tensor]) => [name, await toHost(tensor)] as const));
  return new Map(values);
};

/** Throws unless the values can be written into a tensor of this dtype and shape. */
export const checkStored = (
  where: string,
  name: string,
  { dtype, shape }: { readonly dtype: DType; readonly shape: readonly number[] },
  value: HostTensor,
): void => {
  const label = `state[${JSON.stringify(name)}]`;
  const wanted = isFloat(dtype) ? FLOATS : [STORED[dtype]];
  if (!wanted.includes(value?.dtype)) throw expected(where, `dtype ${wanted.join(", ")}`, label, value?.dtype);
  if (!Array.isArray(value.shape) || showShape(value.shape) !== showShape(shape))
    throw expected(where, `shape ${showShape(shape)}`, label, value.shape);
  const size = shape.reduce((product, length) => product * length, 1);
  const arrays = isFloat(dtype) ? [Float32Array, Float64Array] : [Int32Array, Uint32Array];
  if (!arrays.some((array) => value.data instanceof array) || value.data.length !== size)
    throw expected(where, `${size} values in a ${arrays.map(({ name }) => name).join(" or ")}`, label, value.data);
};

/** Throws unless the state is one; gives the names that do not meet, which are an error when `strict`. */
export const matchKeys = (where: string, wanted: Iterable<string>, state: ReadonlyMap<string, HostTensor>, options: LoadOptions = {}): LoadResult => {
  const { strict = true } = checkNames(where, options, ["strict"]);
  checkFlags(where, { strict });
  if (!(state instanceof Map)) throw expected(where, "a Map of tensors by name", "state", state);
  const names = new Set(wanted);
  const missingKeys = [...names].filter((name) => !state.has(name));
  const unexpectedKeys = [...state.keys()].filter((name) => !names.has(name));
  if (strict && missingKeys.length + unexpectedKeys.length > 0) {
    const list = (keys: readonly string[]): string => `${keys.slice(0, 8).join(", ")}${keys.length > 8 ? `, … ${keys.length} in all` : ""}`;
    const problems = [missingKeys.length > 0 && `one without ${list(missingKeys)}`, unexpectedKeys.length > 0 && `one with ${list(unexpectedKeys)}`];
    throw new ArgumentError(`${where}: expected the names of its own tensors for \`state\`, but received ${problems.filter(Boolean).join(" and ")}`);
  }
  return { missingKeys, unexpectedKeys };
};

/** Writes values into tensors of the same names; checks all of them first. */
export const loadState = (
  where: string,
  tensors: ReadonlyMap<string, Tensor>,
  state: ReadonlyMap<string, HostTensor>,
  options?: LoadOptions,
): LoadResult => {
  const result = matchKeys(where, tensors.keys(), state, options);
  const found = [...tensors].flatMap(([name, tensor]) => {
    const value = state.get(name);
    return value ? [{ name, tensor, value }] : [];
  });
  for (const { name, tensor, value } of found) {
    tensor.assertLive(where);
    checkStored(where, name, tensor, value);
  }
  for (const { tensor, value } of found) tensor.device.write(tensor, value.data as Float32Array);
  return result;
};
