/** From tensors to a device call and back: the one way in which any op runs. */
import type { Device } from "./device.ts";
import { ArgumentError, expected } from "./errors.ts";
import { isGradEnabled } from "./gradMode.ts";
import { type Attrs, type Call, isFloat, type Op, type Scalars, type Spec } from "./op.ts";
import { frozen, isSame } from "./recall.ts";
import { GraphNode, type Rule } from "./tape.ts";
import { Tensor } from "./tensor.ts";

const INTERNED_PER_OP = 1024;
/** Calls of an op that are compared before a key is written, which takes a microsecond: as long as some kernels. */
const RECENT_PER_OP = 4;
const interned = new WeakMap<Op, { readonly calls: Map<string, Call>; readonly recent: Call[] }>();

const isAttribute = (value: unknown): boolean =>
  Array.isArray(value) ? value.every(isAttribute) : typeof value === "boolean" || typeof value === "string" || Number.isFinite(value);

/** What JSON cannot tell apart is no attribute and never has an entry. */
const keyOf = (where: string, attrs: Attrs): string => {
  try {
    return JSON.stringify(attrs);
  } catch {
    throw expected(where, "numbers, booleans, strings and lists", "attributes", Object.values(attrs));
  }
};

const isCallOf = (call: Call, inputs: readonly Spec[], attrs: Attrs): boolean => {
  if (inputs.length !== call.inputs.length) return false;
  for (let i = 0; i < inputs.length; i++) {
    if (inputs[i].dtype !== call.inputs[i].dtype || !isSame(inputs[i].shape, call.inputs[i].shape)) return false;
  }
  if (attrs === call.attrs) return true;
  const names = Object.keys(attrs);
  for (const name of names) if (!isSame(attrs[name], call.attrs[name])) return false;
  return names.length === Object.keys(call.attrs).length;
};

/** The same call object for the same op, specs and attributes, so that devices can cache by identity. Bounded. */
export const intern = <A extends Attrs>(op: Op<A>, inputs: readonly Spec[], attrs: A): Call<A> => {
  let known = interned.get(op as Op);
  if (!known) {
    known = { calls: new Map(), recent: [] };
    interned.set(op as Op, known);
  }
  const { calls, recent } = known;
  for (const call of recent) if (isCallOf(call, inputs, attrs)) return call as Call<A>;
  let key = keyOf(op.name, attrs);
  for (const { shape, dtype } of inputs) key += `|${dtype}:${shape.join()}`;
  const same = calls.get(key);
  // A key leaves out what JSON does; those attributes are refused.
  const call = same && isCallOf(same, inputs, attrs) ? same : make(op, inputs, attrs);
  if (!same) {
    if (calls.size >= INTERNED_PER_OP) {
      for (const oldest of calls.keys()) {
        calls.delete(oldest);
        break;
      }
    }
    calls.set(key, call);
  }
  recent.unshift(call);
  recent.length = Math.min(recent.length, RECENT_PER_OP);
  return call as Call<A>;
};

const make = <A extends Attrs>(op: Op<A>, inputs: readonly Spec[], attrs: A): Call => {
  // Frozen: whoever made the attributes may change them, and calls of the same frozen ones are told by identity.
  const kept = frozen(attrs);
  for (const [name, value] of Object.entries(kept))
    if (!isAttribute(value)) throw expected(op.name, "a finite number, true or false, a string or a list of these", name, value);
  const specs = inputs.map(({ shape, dtype }) => ({ shape: [...shape], dtype }));
  const call: Call<A> = { op, inputs: specs, outputs: op.outputs(specs, kept), attrs: kept };
  for (const [i, { dtype }] of specs.entries()) {
    if (dtype === "float16" && !op.alias && !op.halves?.includes(i))
      throw new ArgumentError(`${op.name}: expected another dtype for \`inputs[${i}]\`, but received float16; cast it to float32 first`);
  }
  return call as Call;
};

/**
 * Runs one op: checks, allocates the outputs, enqueues, and records it when an input wants a gradient.
 *
 * @throws ArgumentError for tensors of two devices or specs that the op refuses; StateError for a disposed tensor;
 * DeviceError when the device cannot run the call.
 */
export const apply = <A extends Attrs>(op: Op<A>, inputs: readonly Tensor[], attrs: A, scalars: Scalars = {}): Tensor[] => {
  const [first] = inputs;
  let recording = false;
  // No more is made than is kept: a kernel may take less time than this function.
  for (let i = 0; i < inputs.length; i++) {
    const tensor = inputs[i];
    if (!(tensor instanceof Tensor)) throw expected(op.name, "a tensor", `inputs[${i}]`, tensor);
    tensor.assertLive(op.name);
    recording ||= tensor.requiresGrad;
    if (tensor.device !== first.device) {
      throw new ArgumentError(`${op.name}: expected tensors of one device, but received ${first.device.kind} and ${tensor.device.kind}`);
    }
  }
  const { device } = first;
  const rule = recording && isGradEnabled() ? ruleOf(op as Op) : undefined;
  const call = intern(op, inputs, attrs);
  const storages = device.run(call as Call, scalars, inputs);
  if (op.mutates) for (const i of op.mutates) inputs[i].storage.version++;
  const node = rule && new GraphNode(call as Call, rule, scalars, inputs, storages);
  return storages.map((storage, i) => new Tensor(storage, call.outputs[i], isFloat(call.outputs[i].dtype) ? node : undefined, i));
};

/**
 * Runs an op without inputs, which therefore needs to be told its device: random numbers, for one. Nothing is recorded.
 *
 * @throws ArgumentError for attributes that the op refuses; DeviceError when the device cannot run the call.
 */
export const generate = <A extends Attrs>(device: Device, op: Op<A>, attrs: A, scalars: Scalars = {}): Tensor[] => {
  const call = intern(op, [], attrs);
  return device.run(call as Call, scalars, []).map((storage, i) => new Tensor(storage, call.outputs[i]));
};

const ruleOf = ({ name, gradient }: Op): Rule => {
  if ("none" in gradient)
    throw new ArgumentError(`${name}: expected inputs without requiresGrad, because ${gradient.none}; use detach() or noGrad()`);
  return gradient;
};
