/** Ops with the kernels of native/test/kernels.cc, for what rooms cannot show: slowness, faults, exhaustion. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { intern } from "../../src/apply.ts";
import type { Backend, Buffer } from "../../src/backend.ts";
import type { Attrs, Call, Op, Scalars, Spec } from "../../src/op.ts";

/** Unless a caller names another build, the addon that has those kernels. */
process.env.BIRKHOFF_ADDON ??= join(fileURLToPath(new URL("../..", import.meta.url)), "build/Release/birkhoff_test.node");

const testOp = <A extends Attrs>(
  name: string,
  outputs: (inputs: readonly Spec[], attrs: A) => readonly Spec[],
  rest: Partial<Op<A>> = {},
): Op<A> => ({
  name,
  outputs,
  reference: () => {
    throw new Error(`${name} has no reference`);
  },
  plan: () => ({ passes: [] }),
  gradient: { none: "it is a test" },
  ...rest,
});

/** y = value everywhere. */
export const fill = testOp<{ size: number; grain: number }>("test.fill", (_, { size }) => [{ shape: [size], dtype: "float32" }], {
  scalars: ["value"],
});
/** x = x · factor + term, in place. */
export const update = testOp("test.update", () => [], { scalars: ["factor", "term"], mutates: [0] });
/** y = x, after some time. */
export const slow = testOp<{ milliseconds: number }>("test.slow", (inputs) => inputs);
/** y = x; a negative element is a fault. */
export const positive = testOp("test.positive", (inputs) => inputs, { fault: () => "positive: expected elements of at least 0 for `x`" });
/** y[i] = address modulo 64 of a work area. */
export const areas = testOp<{ floats: number }>("test.areas", () => [{ shape: [3], dtype: "float32" }]);
/** Throws in the middle of a parallel loop. */
export const broken = testOp("test.broken", () => []);
/** Has no kernel anywhere. */
export const absent = testOp("test.absent", (inputs) => inputs);

/** Runs an op on plain buffers and gives the outputs' buffers. */
export const enqueue = <A extends Attrs>(backend: Backend, op: Op<A>, inputs: readonly Buffer[], attrs: A, scalars: Scalars = {}): Buffer[] => {
  const specs = inputs.map(({ dtype, length }) => ({ shape: [length], dtype }));
  const call = intern(op, specs, attrs) as unknown as Call;
  const outputs = call.outputs.map(({ dtype, shape }) => backend.alloc(dtype, shape[0]));
  backend.run(call, scalars, inputs, outputs);
  return outputs;
};

/** A buffer with the given values. */
export const upload = (backend: Backend, values: readonly number[]): Buffer => {
  const buffer = backend.alloc("float32", values.length);
  backend.write(buffer, Float32Array.from(values));
  return buffer;
};
