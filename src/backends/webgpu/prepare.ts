/** From a call to what each dispatch needs: everything that does not change between calls is worked out here once. */
import { BirkhoffError, DeviceError, StateError } from "../../errors.ts";
import {
  type BufferRef,
  type Call,
  type DType,
  ELEMENT_BYTES,
  elements,
  type Limits,
  type ParamsLayout,
  type Pass,
  type Plan,
  type Scalars,
  type ShaderBinding,
} from "../../op.ts";

type Field = ParamsLayout["fields"][string];

export interface PreparedPass {
  /** "<room>/<file> (<entry>)". */
  readonly label: string;
  readonly pass: Pass;
  /** Storage bindings except `status`, in binding order. */
  readonly storage: readonly { readonly binding: number; readonly ref: BufferRef; readonly writes: boolean; readonly least: number }[];
  readonly status: number | undefined;
  readonly uniform: { readonly binding: number; readonly bytes: Uint8Array; readonly scalars: readonly { name: string; field: Field }[] } | undefined;
}

export interface Prepared {
  readonly scratchBytes: readonly number[];
  readonly passes: readonly PreparedPass[];
  readonly reportsFaults: boolean;
}

/** Bytes of so many elements, in whole words. */
export const wordBytes = (length: number, dtype: DType = "float32"): number => Math.ceil((ELEMENT_BYTES[dtype] * length) / 4) * 4;

/** The bug of a plan, said in the place where it was written. */
const wrong = (label: string, what: string, argument: string, received: string): StateError =>
  new StateError(`${label}: expected ${what} for \`${argument}\`, but received ${received}`);

/**
 * Checks a plan against its shaders and lays out the uniforms.
 *
 * @param faultCode gives the code of a fault message
 * @throws StateError naming shader and field when the plan and its shader do not agree
 */
export const prepare = (call: Call, plan: Plan, faultCode: (message: string) => number): Prepared => {
  const message = call.op.fault?.(call);
  const passes = plan.passes
    .filter(({ workgroups }) => "indirect" in workgroups || workgroups.every((count) => count > 0))
    .map((pass): PreparedPass => {
      const label = passLabel(pass);
      const bindings = entryBindings(pass);
      checkConstants(pass);
      checkBind(call, plan, pass, bindings);
      checkIndirect(plan, pass, bindings);
      const uniform = bindings.find(({ kind }) => kind === "uniform");
      return {
        label,
        pass,
        storage: bindings
          .filter(({ name, kind }) => kind !== "uniform" && name !== "status")
          .map(({ name, binding, kind, least }) => ({ binding, ref: pass.bind[name], writes: kind === "read_write", least })),
        status: bindings.find(({ name }) => name === "status")?.binding,
        uniform: uniform && { binding: uniform.binding, ...layOut(call, pass, message === undefined ? undefined : faultCode(message)) },
      };
    });
  return {
    scratchBytes: (plan.scratch ?? []).map((length) => wordBytes(length)),
    passes,
    reportsFaults: passes.some(({ status }) => status !== undefined),
  };
};

export const passLabel = ({ shader, entry }: Pass): string => `${shader.name} (${entry})`;

const entryBindings = (pass: Pass): readonly ShaderBinding[] => {
  const { shader, entry } = pass;
  if (!Object.hasOwn(shader.entries, entry))
    throw wrong(shader.name, `one of the entry points ${Object.keys(shader.entries).join(", ")}`, "entry", entry);
  return shader.entries[entry].bindings;
};

const checkConstants = (pass: Pass): void => {
  const { shader, constants = {} } = pass;
  for (const [name, value] of Object.entries(constants)) {
    if (!Object.hasOwn(shader.overrides, name))
      throw wrong(passLabel(pass), `an override of ${names(shader.overrides)}`, `constants.${name}`, "an unknown name");
    if (typeof value !== "number" || Number.isNaN(value)) throw wrong(passLabel(pass), "a number", `constants.${name}`, String(value));
  }
  for (const [name, fallback] of Object.entries(shader.overrides)) {
    if (fallback === undefined && !Object.hasOwn(constants, name))
      throw wrong(passLabel(pass), "a value, since the override has no default,", `constants.${name}`, "none");
  }
};

const checkBind = (call: Call, plan: Plan, pass: Pass, bindings: readonly ShaderBinding[]): void => {
  const label = passLabel(pass);
  for (const { name, kind } of bindings) {
    if (kind === "uniform" || name === "status") continue;
    if (!Object.hasOwn(pass.bind, name)) throw wrong(label, "a buffer", `bind.${name}`, "none");
    const ref = pass.bind[name];
    const [index, count, what] =
      "input" in ref
        ? [ref.input, call.inputs.length, "input"]
        : "output" in ref
          ? [ref.output, call.outputs.length, "output"]
          : [ref.scratch, plan.scratch?.length ?? 0, "scratch"];
    if (!(index >= 0 && index < count)) throw wrong(label, `one of ${count} ${what} buffers`, `bind.${name}`, `${what} ${index}`);
    if (what === "input" && kind === "read_write" && !call.op.mutates?.includes(index)) {
      throw wrong(label, "read access (the op does not list the input in `mutates`)", `bind.${name}`, "read_write");
    }
  }
  // A plan may share one `bind` between the entry points of a file.
  const declared = new Set(Object.values(pass.shader.entries).flatMap((entry) => entry.bindings.map(({ name }) => name)));
  for (const name of Object.keys(pass.bind)) {
    if (!declared.has(name)) throw wrong(label, `a binding of ${[...declared].join(", ")}`, `bind.${name}`, "an unknown name");
  }
};

/** A device refuses such counts when the batch is encoded, without a word about which pass; those past the end of a pooled buffer not even then. */
const checkIndirect = (plan: Plan, pass: Pass, bindings: readonly ShaderBinding[]): void => {
  const { workgroups, bind } = pass;
  if (!("indirect" in workgroups)) return;
  const label = passLabel(pass);
  const { indirect, offset } = workgroups;
  const sizes = plan.scratch ?? [];
  const size = sizes[indirect.scratch];
  if (size === undefined) throw wrong(label, `one of ${sizes.length} scratch buffers`, "workgroups.indirect", `scratch ${indirect.scratch}`);
  if (!(Number.isInteger(offset) && offset >= 0 && offset + 3 <= size))
    throw wrong(label, `an element with two more behind it in a buffer of ${size}`, "workgroups.offset", `${offset}`);
  for (const { name, kind } of bindings) {
    const ref = bind[name];
    if (kind === "read_write" && ref && "scratch" in ref && ref.scratch === indirect.scratch)
      throw wrong(label, "a buffer that the pass does not write", "workgroups.indirect", `that of bind.${name}`);
  }
};

const layOut = (call: Call, pass: Pass, fault: number | undefined): { bytes: Uint8Array; scalars: { name: string; field: Field }[] } => {
  const label = passLabel(pass);
  const { fields, size } = pass.shader.params ?? { fields: {}, size: 0 };
  const bytes = new Uint8Array(Math.ceil(size / 16) * 16);
  const view = new DataView(bytes.buffer);
  const given = pass.params ?? {};
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(fields, name)) throw wrong(label, `a field of Params (${names(fields)})`, `params.${name}`, "an unknown name");
  }
  const scalars: { name: string; field: Field }[] = [];
  for (const [name, field] of Object.entries(fields)) {
    const isScalar = call.op.scalars?.includes(name) ?? false;
    if (Object.hasOwn(given, name)) {
      if (isScalar) throw wrong(label, "either a constant or a scalar of the op", `params.${name}`, "both");
      const value = given[name];
      const values = typeof value === "number" ? [value] : value;
      if (values.length > field.count) throw wrong(label, `at most ${field.count} numbers`, `params.${name}`, `${values.length}`);
      values.forEach((item, i) => {
        setField(view, field, i, item, `${label}: params.${name}`);
      });
    } else if (isScalar) {
      scalars.push({ name, field });
    } else if (name === "fault") {
      if (fault === undefined) throw wrong(label, "an op that declares `fault`", "params.fault", `${call.op.name}, which does not`);
      setField(view, field, 0, fault, label);
    } else {
      throw wrong(label, "a value, since Params has the field,", `params.${name}`, "none");
    }
  }
  return { bytes, scalars };
};

/** Writes the call's scalars into a copy of the pass's uniforms that starts at `offset`. Throws StateError for a number that the field cannot hold. */
export const fillScalars = (view: DataView, offset: number, pass: PreparedPass, scalars: Scalars): void => {
  for (const { name, field } of pass.uniform?.scalars ?? []) {
    setField(view, { ...field, offset: offset + field.offset }, 0, scalars[name], `${pass.label}: scalar ${name}`);
  }
};

const setField = (view: DataView, field: Field, index: number, value: number, where: string): void => {
  const offset = field.offset + index * field.stride;
  if (field.type === "f32") {
    if (typeof value !== "number") throw wrong(where, "a number", field.type, String(value));
    view.setFloat32(offset, value, true);
    return;
  }
  const [low, high] = field.type === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  if (!Number.isInteger(value) || value < low || value > high) throw wrong(where, `an integer in [${low}, ${high}]`, field.type, String(value));
  if (field.type === "i32") view.setInt32(offset, value, true);
  else view.setUint32(offset, value, true);
};

const names = (record: object): string => Object.keys(record).join(", ") || "none";

/** Why the device cannot run a plan, or undefined. */
export const refusal = (call: Call, plan: Plan, limits: Limits): string | undefined => {
  const tooBig = (bytes: number): boolean => bytes > limits.bindingBytes;
  const limit = `more than the device's limit of ${limits.bindingBytes}`;
  for (const length of plan.scratch ?? []) if (tooBig(4 * length)) return `it needs a temporary buffer of ${4 * length} bytes, ${limit}`;
  for (const pass of plan.passes) {
    for (const ref of Object.values(pass.bind)) {
      if ("scratch" in ref) continue;
      const [what, index, specs] = "input" in ref ? ["input", ref.input, call.inputs] : ["output", ref.output, call.outputs];
      const { shape, dtype } = specs[index];
      const bytes = ELEMENT_BYTES[dtype] * (ref.window?.length ?? elements(shape));
      if (tooBig(bytes)) return `${what} ${index} takes ${bytes} bytes, ${limit}`;
    }
    const storage = entryBindings(pass).filter(({ kind }) => kind !== "uniform").length;
    if (storage > limits.storageBuffers)
      return `${passLabel(pass)} binds ${storage} buffers, more than the device's limit of ${limits.storageBuffers}`;
    const most = "indirect" in pass.workgroups ? 0 : Math.max(...pass.workgroups);
    if (most > limits.workgroupsPerDimension)
      return `${passLabel(pass)} launches ${most} workgroups along one axis, more than the device's limit of ${limits.workgroupsPerDimension}`;
    for (const [feature, present] of [
      ["f16", limits.f16],
      ["subgroups", limits.subgroupMaxSize > 0],
      ["chromium_experimental_subgroup_matrix", limits.matrixUnits],
    ] as const) {
      if (!present && new RegExp(`^\\s*enable\\s[^;]*\\b${feature}\\b`, "m").test(pass.shader.source)) return `${passLabel(pass)} needs ${feature}`;
    }
  }
  return undefined;
};

/** What an op's plan threw, with the op's name; typed errors pass as they are. */
export const planFailure = (call: Call, error: unknown): BirkhoffError =>
  error instanceof BirkhoffError ? error : new DeviceError(`${call.op.name}: its plan threw ${(error as Error).message}`, { cause: error });
