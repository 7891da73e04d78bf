/** Kernels on the program's own device, and tensors of its own buffers. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Device } from "../src/device.ts";
import { ArgumentError, DataError, DeviceError, StateError } from "../src/errors.ts";
import { valueAndGrad } from "../src/grad.ts";
import { add, cumsum, mul, reshape, sum } from "../src/index.ts";
import { type Kernel, prepareKernel } from "../src/kernel/index.ts";
import { openDevice } from "../src/open.ts";
import type { Tensor } from "../src/tensor.ts";
import { atMost, axpy, foreignDevice } from "./support/webgpu.ts";

const STORAGE = 128 | 4 | 8;
let gpu: GPUDevice;
let other: GPUDevice;
beforeAll(async () => {
  [gpu, other] = await Promise.all([foreignDevice(), foreignDevice()]);
});
afterAll(() => {
  gpu.destroy();
  other.destroy();
});

const buffer = (size: number, usage = STORAGE, on = gpu): GPUBuffer => on.createBuffer({ size, usage });
const filled = (values: readonly number[], room = 4 * values.length, offset = 0): GPUBuffer => {
  const made = buffer(room);
  gpu.queue.writeBuffer(made, offset, Float32Array.from(values));
  return made;
};
const values = async (from: GPUBuffer, length: number, offset = 0): Promise<number[]> => {
  const staging = buffer(4 * length, 1 | 8);
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(from, offset, staging, 0, 4 * length);
  gpu.queue.submit([encoder.finish()]);
  await staging.mapAsync(1);
  const result = [...new Float32Array(staging.getMappedRange())];
  staging.destroy();
  return result;
};
const submit = (use: (encoder: GPUCommandEncoder) => void): void => {
  const encoder = gpu.createCommandEncoder();
  use(encoder);
  gpu.queue.submit([encoder.finish()]);
};

describe("a kernel", () => {
  test("of a function: states what it wants, encodes into passes and encoders, submits nothing", async () => {
    const kernel = await prepareKernel(gpu, (x, y) => [add(cumsum(mul(x, 2), 1), y), mul(x, 3)], [[2, 3], { shape: [3], dtype: "float32" }]);
    expect(kernel.inputs).toEqual([
      { shape: [2, 3], dtype: "float32", bytes: 24, usage: 128, written: false },
      { shape: [3], dtype: "float32", bytes: 12, usage: 128, written: false },
    ]);
    expect(kernel.outputs.map(({ shape, bytes, written }) => ({ shape, bytes, written }))).toEqual([
      { shape: [2, 3], bytes: 24, written: true },
      { shape: [2, 3], bytes: 24, written: true },
    ]);
    expect(kernel.calls.map(({ op, dispatches }) => [op, dispatches])).toEqual([
      ["elementwise.affine", 1],
      ["cumsum", 1],
      ["elementwise.binary", 1],
      ["elementwise.affine", 1],
    ]);
    expect({ scratch: kernel.scratch.map(({ bytes }) => bytes), total: kernel.scratchBytes }).toEqual({ scratch: [24, 24], total: 48 });
    expect([kernel.dispatches, kernel.indirect, kernel.reportsFaults]).toEqual([4, false, false]);
    const [x, y] = [filled([1, 2, 3, 4, 5, 6], 1024, 256), filled([10, 20, 30])];
    const [z, total] = [buffer(24), buffer(24)];
    const inputs = [{ buffer: x, offset: 256, size: 24 }, y];
    const scratch = kernel.createScratch();
    const bound = await kernel.bind({ inputs, outputs: [z, total], scratch });
    submit((encoder) => bound.encode(encoder));
    expect(await values(z, 6)).toEqual([12, 26, 42, 18, 38, 60]);
    expect(await values(total, 6)).toEqual([3, 6, 9, 12, 15, 18]);
    gpu.queue.writeBuffer(y, 0, new Float32Array(3));
    submit((encoder) => {
      const pass = encoder.beginComputePass();
      kernel.encode(pass, { inputs, outputs: [z, total], scratch });
      pass.end();
    });
    expect(await values(z, 6)).toEqual([2, 6, 12, 8, 18, 30]);
    kernel.setScalars({ scale: -1 });
    submit((encoder) => bound.encode(encoder));
    expect(await values(z, 6)).toEqual([-1, -3, -6, -4, -9, -15]);
    kernel.destroy();
    kernel.destroy();
    expect(() => bound.encode(gpu.createCommandEncoder())).toThrow(StateError);
  });

  test("of a gradient, whose unneeded calls are left out", async () => {
    const kernel = await prepareKernel(
      gpu,
      (x) => {
        x.requiresGrad = true;
        const { gradients } = valueAndGrad(() => sum(mul(x, x)), [x]);
        return gradients;
      },
      [[3]],
    );
    expect(kernel.calls.some(({ op }) => op === "reduce")).toBe(false);
    const [x, dx] = [filled([1, -2, 3]), buffer(12)];
    submit((encoder) => kernel.encode(encoder, { inputs: [x], outputs: [dx], scratch: kernel.createScratch() }));
    expect(await values(dx, 3)).toEqual([2, -4, 6]);
  });

  test("of an op's value, with its attributes, scalars, temporary memory and faults", async () => {
    const kernel = await prepareKernel(gpu, axpy, [[4]], { scalars: { scale: 3 } });
    expect(kernel.scratch).toEqual([{ bytes: 16, usage: 128, written: true }]);
    const [x, y] = [filled([1, 2, 3, 4]), buffer(16)];
    submit((encoder) => kernel.encode(encoder, { inputs: [x], outputs: [y], scratch: kernel.createScratch() }));
    expect(await values(y, 4)).toEqual([10, 19, 28, 37]);
    const checked = await prepareKernel(gpu, atMost, [[4]], { attrs: { limit: 3 } });
    expect(checked.reportsFaults).toBe(true);
    const status = buffer(8);
    submit((encoder) => checked.encode(encoder, { inputs: [x], outputs: [y], status }));
    const fault = checked.fault(Float32Array.from(await values(status, 2)).buffer);
    expect(fault).toBeInstanceOf(DataError);
    expect(fault?.message).toBe("atMost: expected values of at most 3 for `x`, but received 4");
    expect(checked.fault(new ArrayBuffer(8))).toBeUndefined();
  });

  describe("refuses", () => {
    let kernel: Kernel;
    let [x, y, scratch]: (GPUBuffer | undefined)[] = [];
    beforeAll(async () => {
      kernel = await prepareKernel(gpu, axpy, [[64]], { scalars: { scale: 1 } });
      [x, y, scratch] = [buffer(2048), buffer(2048), buffer(256)];
    });
    const encode = (change: object, target: unknown = gpu.createCommandEncoder()): void =>
      kernel.encode(target as GPUCommandEncoder, { inputs: [x as GPUBuffer], outputs: [y as GPUBuffer], scratch: [scratch as GPUBuffer], ...change });
    test.each<[string, () => object, string]>([
      ["another number of buffers", () => ({ inputs: [] }), 'encode: expected 1 buffers for `inputs`, but received "0 buffers"'],
      ["what is no buffer", () => ({ inputs: [new Float32Array(4)] }), "expected a GPUBuffer, or { buffer, offset, size }, for `inputs[0]`"],
      ["other usages", () => ({ inputs: [buffer(256, 4)] }), 'expected a buffer with usage STORAGE for `inputs[0]`, but received "usage 4"'],
      ["short buffers", () => ({ outputs: [buffer(128)] }), 'expected at least 256 bytes for `outputs[0]`, but received "128 bytes"'],
      ["short ranges", () => ({ outputs: [{ buffer: y, offset: 1792, size: 128 }] }), "expected at least 256 bytes"],
      [
        "offsets between alignments",
        () => ({ outputs: [{ buffer: y, offset: 4 }] }),
        "expected a multiple of the device's 256 bytes for `outputs[0].offset`",
      ],
      ["ranges past the end", () => ({ outputs: [{ buffer: y, size: 4096 }] }), "expected bytes within the buffer's 2048 for `outputs[0].size`"],
      [
        "mapped buffers",
        () => ({ scratch: [gpu.createBuffer({ size: 256, usage: 128, mappedAtCreation: true })] }),
        "expected a buffer that is not mapped",
      ],
      ["a result over an input", () => ({ outputs: [x] }), "expected memory of its own for `outputs[0]`, but received bytes of `inputs[0]`"],
      [
        "a dispatch that reads and writes one buffer",
        () => ({ scratch: [{ buffer: x, offset: 1024 }] }),
        "expected a GPUBuffer of its own for `scratch[0]`",
      ],
    ])("%s", (_, change, message) => {
      expect(() => encode(change())).toThrow(ArgumentError);
      expect(() => encode(change())).toThrow(message);
    });
    test("what is no pass", () => expect(() => encode({}, gpu)).toThrow("expected a GPUComputePassEncoder or a GPUCommandEncoder for `target`"));
    test("buffers of another device", async () => {
      const foreign = buffer(256, STORAGE, other);
      await expect(kernel.bind({ inputs: [foreign], outputs: [y as GPUBuffer], scratch: [scratch as GPUBuffer] })).rejects.toThrow(ArgumentError);
    });
    test("scalars that are not there", () => {
      expect(() => kernel.setScalars({ shift: 1 })).toThrow("expected one of scale");
      expect(() => kernel.setScalars({ scale: 1 }, 1)).toThrow(ArgumentError);
    });
  });

  test.each<[string, (x: Tensor, device: Device) => unknown, string]>([
    ["an input", (x) => reshape(x, [4]), "but received input 0 itself"],
    ["one result twice", (x) => [add(x, 1)].flatMap((y) => [y, reshape(y, [4])]), "but received result 0 again"],
    ["constants", (_, device) => device.ones([2]), "but received constant numbers"],
    ["no tensor", () => [1], "expected a tensor made of the inputs for `result 0`"],
    ["a promise", async (x) => add(x, 1), "it returned a promise"],
    ["wrong options", (x) => cumsum(x, 5), "cumsum"],
  ])("is not made of a function that gives %s", async (_, fn, message) => {
    const made = prepareKernel(gpu, fn as (x: Tensor) => Tensor, [[2, 2]]);
    await expect(made).rejects.toThrow(ArgumentError);
    await expect(made).rejects.toThrow(message);
  });

  test("is not made of what the device cannot run, nor of other things", async () => {
    await expect(prepareKernel(gpu, (x) => cumsum(x, 0), [[2 ** 28]])).rejects.toThrow(DeviceError);
    await expect(prepareKernel({} as GPUDevice, (x) => add(x, 1), [[1]])).rejects.toThrow("expected a GPUDevice for `device`");
    await expect(prepareKernel(gpu, (x) => add(x, 1), [[-1]])).rejects.toThrow(ArgumentError);
  });
});

describe("tensors of the program's own buffers", () => {
  test("are read and written in place, in the order of the queue", async () => {
    await using device = await openDevice({ gpuDevice: gpu });
    const memory = filled([1, 2, 3, 4], 1024, 512);
    using x = device.fromBuffer(memory, [2, 2], { offset: 512, byteLength: 16 });
    using y = add(x, 1);
    const { buffer: result, offset, size } = y.buffer();
    expect([offset, size]).toEqual([0, 16]);
    expect(await values(result, 4)).toEqual([2, 3, 4, 5]);
    const { version } = x.storage;
    const range = x.buffer({ write: true });
    expect([range.buffer === memory, range.offset, x.storage.version]).toEqual([true, 512, version + 1]);
    gpu.queue.writeBuffer(memory, 512, Float32Array.of(5, 5, 5, 5));
    using z = add(x, y);
    expect([...(await z.read())]).toEqual([7, 8, 9, 10]);
    device.write(x, [0, 0, 0, 1]);
    expect([...(await x.read())]).toEqual([0, 0, 0, 1]);
    await device.flush();
    x.dispose();
    expect(await values(memory, 4, 512)).toEqual([0, 0, 0, 1]);
  });

  test("are destroyed with their last tensor where that was said", async () => {
    await using device = await openDevice({ gpuDevice: gpu });
    const [kept, given] = [buffer(16), buffer(16)];
    const destroyed: GPUBuffer[] = [];
    for (const each of [kept, given]) {
      const destroy = each.destroy.bind(each);
      each.destroy = () => {
        destroyed.push(each);
        return destroy();
      };
    }
    const [a, b] = [device.fromBuffer(kept, [4]), device.fromBuffer(given, [4], { ownership: "owned" })];
    using c = add(a, b);
    a.dispose();
    b.dispose();
    expect(destroyed).toEqual([]);
    expect([...(await c.read())]).toEqual([0, 0, 0, 0]);
    expect(destroyed).toEqual([given]);
  });

  test("are refused where they do not fit", async () => {
    await using device = await openDevice({ gpuDevice: gpu });
    expect(() => device.fromBuffer(buffer(16), [5])).toThrow("fromBuffer: expected at least 20 bytes for `buffer`");
    expect(() => device.fromBuffer(buffer(16), [2], { offset: 8 })).toThrow("expected a multiple of the device's 256 bytes for `buffer.offset`");
    expect(() => device.fromBuffer(buffer(16, 4), [2])).toThrow("usage STORAGE");
    expect(() => device.fromBuffer(buffer(16), [2], { ownership: "shared" as "owned" })).toThrow("expected borrowed or owned for `ownership`");
    using x = device.fromBuffer(buffer(16, 128), [4]);
    await expect(x.read()).rejects.toThrow("usage COPY_SRC");
    expect(() => device.write(x, [1, 2, 3, 4])).toThrow("usage COPY_DST");
    using y = device.ones([1]);
    y.requiresGrad = true;
    using z = add(y, 1);
    expect(() => z.buffer({ write: true })).toThrow(StateError);
    await using reference = await openDevice({ device: "reference" });
    using one = reference.ones([1]);
    expect(() => one.buffer()).toThrow(DeviceError);
    await reference.flush();
  });
});
