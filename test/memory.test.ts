/** Memory limits: what does not fit is a typed error on every device, holds nothing, and the device goes on. */
import { afterEach, describe, expect, test } from "vitest";
import type { Device } from "../src/device.ts";
import { ArgumentError, DeviceError, OutOfMemoryError } from "../src/errors.ts";
import { valueAndGrad } from "../src/grad.ts";
import { openDevice } from "../src/open.ts";
import { add, mul } from "../src/ops/elementwise/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { concat } from "../src/ops/shape/index.ts";
import { scope } from "../src/scope.ts";
import { KINDS } from "./support/devices.ts";

const LIMIT = 1 << 18;

describe.each(KINDS)("%s", (kind) => {
  let device: Device;
  const open = async (memoryLimit = LIMIT): Promise<Device> => {
    device = await openDevice({ device: kind, memoryLimit });
    return device;
  };
  afterEach(() => device.close());
  const held = (): number => device.counters.liveBytes + device.counters.pooledBytes;

  test("a tensor, a result, a loop: an error beyond the limit, nothing held, and the next call works", async () => {
    await open();
    using row = device.ones([1, 1024]);
    using column = device.ones([1024, 1]);
    const before = device.counters;
    for (const call of [() => device.ones([LIMIT]), () => add(row, column), () => matmul(column, row)]) {
      expect(call).toThrow(OutOfMemoryError);
      expect(call).toThrow(DeviceError);
      expect(call).toThrow(`device holds ${before.liveBytes} of at most ${LIMIT}`);
      expect(device.counters).toMatchObject({ liveBuffers: before.liveBuffers, liveBytes: before.liveBytes });
    }
    const filling = (): void =>
      scope(() => {
        for (;;) mul(row, 2);
      });
    expect(filling).toThrow(OutOfMemoryError);
    expect(device.counters.liveBuffers).toBe(2);
    expect(held()).toBeLessThanOrEqual(LIMIT);
    using next = add(row, 1);
    expect((await next.read())[1023]).toBe(2);
  });

  test("what is kept for reuse, and what queued calls still need, makes room", async () => {
    await open();
    // Seven eighths of the limit in one piece, of ever other sizes, never read in between.
    for (let i = 0; i < 8; i++) {
      const length = LIMIT / 8 / 2 - 1000 * i;
      using x = device.full([length], i);
      using y = add(x, 1);
      if (i === 7) expect((await y.read())[0]).toBe(8);
      expect(device.counters.liveBytes).toBeLessThanOrEqual(LIMIT);
    }
    expect(device.counters.liveBuffers).toBe(0);
    expect(held()).toBeLessThanOrEqual(LIMIT);
  });

  test("a gradient that does not fit leaves nothing behind, wherever memory runs out", async () => {
    await open(1 << 22);
    const step = (): Promise<number> => {
      using x = device.ones([64, 64]);
      x.requiresGrad = true;
      const { value, gradients } = valueAndGrad(() => sum(mul(matmul(concat([x, x], 1), concat([x, x], 0)), 2)), [x]);
      gradients[0].dispose();
      const answer = value.item();
      value.dispose();
      return answer;
    };
    const want = await step();
    await device.close();
    let refused = 0;
    for (let kilobytes = 16; kilobytes <= 1024; kilobytes *= 2) {
      await open(kilobytes << 10);
      const outcome = await (async () => step())().catch((error: unknown) => error);
      if (outcome instanceof OutOfMemoryError) refused++;
      else expect(outcome).toBe(want);
      // Calls that were enqueued before may have found no room for their work areas.
      await device.synchronize().catch((error: unknown) => expect(error).toBeInstanceOf(OutOfMemoryError));
      expect(device.counters.liveBuffers).toBe(0);
      expect(await scope(() => device.ones([2])).read()).toEqual(Float32Array.of(1, 1));
      await device.close();
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(7);
  });

  test("a limit that is no number of bytes is refused", async () => {
    await open();
    for (const memoryLimit of [-1, 1.5, Number.NaN, "1" as never]) {
      await expect(openDevice({ device: kind, memoryLimit })).rejects.toThrow(ArgumentError);
    }
  });
});
