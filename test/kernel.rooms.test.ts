/** Every op as a kernel without tensors: what it states of itself is what its plan asks for. On a device that compiles and computes nothing. */
import { describe, expect, test } from "vitest";
import { traceRoom } from "../scripts/trace.ts";
import { prepareKernel } from "../src/kernel/index.ts";
import { type BufferRef, type Call, ELEMENT_BYTES, elements, FLOOR_LIMITS, type Plan, type Spec } from "../src/op.ts";
import { rooms } from "../src/ops/index.ts";

/** Cases of more elements take long to fill, and plan nothing else. */
const MOST = 3_000;

const buffer = ({ size, usage }: GPUBufferDescriptor): GPUBuffer =>
  ({
    size,
    usage,
    mapState: "unmapped",
    mapAsync: async () => {},
    getMappedRange: () => new ArrayBuffer(size),
    unmap() {},
    destroy() {},
  }) as unknown as GPUBuffer;

/** Notes bind groups; a bound range past the end of its buffer is an error, as in WebGPU. */
const device = {
  limits: {
    maxComputeWorkgroupStorageSize: FLOOR_LIMITS.workgroupBytes,
    maxComputeInvocationsPerWorkgroup: FLOOR_LIMITS.workgroupThreads,
    maxComputeWorkgroupSizeX: FLOOR_LIMITS.workgroupThreads,
    maxComputeWorkgroupsPerDimension: FLOOR_LIMITS.workgroupsPerDimension,
    maxStorageBuffersPerShaderStage: FLOOR_LIMITS.storageBuffers,
    maxStorageBufferBindingSize: FLOOR_LIMITS.bindingBytes,
    maxBufferSize: 2 * FLOOR_LIMITS.bindingBytes,
    minStorageBufferOffsetAlignment: 256,
  },
  features: new Set<string>(),
  pushErrorScope: () => {},
  popErrorScope: async () => null,
  createShaderModule: () => ({}),
  createBindGroupLayout: () => ({}),
  createPipelineLayout: () => ({}),
  createComputePipeline: () => ({}),
  createComputePipelineAsync: async () => ({}),
  createBuffer: buffer,
  createBindGroup: ({ entries }: { entries: readonly { resource: Required<GPUBufferBinding> }[] }) => {
    for (const { resource } of entries) expect((resource.offset ?? 0) + resource.size).toBeLessThanOrEqual(resource.buffer.size);
    return {};
  },
} as unknown as GPUDevice;

const words = (length: number, bytes = 4): number => Math.ceil((length * bytes) / 4) * 4;

/** What a call's passes bind of an operand, read off the plan. */
const bound = ({ passes }: Plan, is: (ref: BufferRef) => boolean, whole: number, bytes: number): { bytes: number; written: boolean } => {
  const ranges = passes
    .filter(({ workgroups }) => "indirect" in workgroups || workgroups.every((count) => count > 0))
    .flatMap(({ shader, entry, bind }) =>
      shader.entries[entry].bindings
        .filter(({ name }) => bind[name] && is(bind[name]))
        .map(({ name, kind, least }) => {
          const { window } = bind[name];
          const size = window ? words(window.length, bytes) : whole;
          return { end: (window?.from ?? 0) * bytes + Math.max(least, size), written: kind === "read_write" };
        }),
    );
  return { bytes: Math.max(0, ...ranges.map(({ end }) => end)), written: ranges.some(({ written }) => written) };
};

const verify = async (call: Call): Promise<void> => {
  const { op, inputs, outputs, attrs } = call;
  const scalars = Object.fromEntries((op.scalars ?? []).map((name) => [name, name in (op.switched ?? {}) ? 0 : 1]));
  const kernel = await prepareKernel(device, op, inputs, { attrs, scalars });
  const plan = op.plan(call, FLOOR_LIMITS);
  const launched = plan.passes.filter(({ workgroups }) => "indirect" in workgroups || workgroups.every((count) => count > 0));
  const operands = (specs: readonly Spec[], key: "input" | "output"): object[] =>
    specs.map(({ shape, dtype }, i) => ({
      shape,
      dtype,
      ...bound(
        plan,
        (ref) => key in ref && (ref as Record<string, unknown>)[key] === i,
        words(elements(shape), ELEMENT_BYTES[dtype]),
        ELEMENT_BYTES[dtype],
      ),
    }));
  const stated = (list: readonly { readonly usage: number }[]): object[] => list.map(({ usage: _, ...rest }) => rest);
  expect(stated(kernel.inputs)).toEqual(operands(inputs, "input"));
  expect(stated(kernel.outputs)).toEqual(operands(outputs, "output"));
  const scratch = plan.scratch ?? [];
  expect(kernel.scratch.map(({ bytes }) => bytes)).toEqual(
    scratch.map((length, i) => Math.max(4 * length, bound(plan, (ref) => "scratch" in ref && ref.scratch === i, 4 * length, 4).bytes)),
  );
  expect(kernel.scratchBytes).toBe(kernel.scratch.reduce((total, { bytes }) => total + bytes, 0));
  expect(kernel.dispatches).toBe(launched.length);
  expect(kernel.indirect).toBe(launched.some(({ workgroups }) => "indirect" in workgroups));
  expect(kernel.reportsFaults).toBe(launched.some(({ shader, entry }) => shader.entries[entry].bindings.some(({ name }) => name === "status")));

  // Buffers of just the bytes and usages that were stated.
  const make = ({ bytes, usage }: { readonly bytes: number; readonly usage: number }): GPUBuffer => buffer({ size: bytes, usage });
  const counts: (readonly number[] | "indirect")[] = [];
  const pass = {
    setPipeline() {},
    setBindGroup() {},
    dispatchWorkgroups: (...count: number[]) => counts.push(count),
    dispatchWorkgroupsIndirect: () => counts.push("indirect"),
  } as unknown as GPUComputePassEncoder;
  kernel.encode(pass, { inputs: kernel.inputs.map(make), outputs: kernel.outputs.map(make), scratch: kernel.scratch.map(make) });
  expect(counts).toEqual(launched.map(({ workgroups }) => ("indirect" in workgroups ? "indirect" : [...workgroups])));
  kernel.destroy();
};

describe("states what its plan asks for", () => {
  test.each(rooms.map((room) => [room.name, room] as const))("%s", async (_, room) => {
    const cases = room.cases.filter(({ inputs }) => inputs.reduce((sum, { shape }) => sum + elements(shape), 0) <= MOST);
    const { calls } = await traceRoom({ ...room, cases }, FLOOR_LIMITS);
    const own = calls.filter(({ op }) => room.ops.includes(op));
    expect(new Set(own.map(({ op }) => op.name))).toEqual(new Set(room.ops.filter(({ alias }) => !alias).map(({ name }) => name)));
    for (const call of own) await verify(call);
  });

  test("an op that only renames its input is no kernel", async () => {
    const aliases = rooms.flatMap(({ ops }) => ops.filter(({ alias }) => alias));
    expect(aliases.length).toBeGreaterThan(0);
    for (const op of aliases) await expect(prepareKernel(device, op, [[2, 3]], { attrs: { shape: [6] } })).rejects.toThrow("input 0 itself");
  });
});
