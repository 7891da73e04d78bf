/** What suites that run on every device share. */
import { afterAll, beforeAll, expect } from "vitest";
import type { DeviceKind } from "../../src/backend.ts";
import type { Device } from "../../src/device.ts";
import { openDevice } from "../../src/open.ts";
import type { Tensor } from "../../src/tensor.ts";

export const KINDS: readonly DeviceKind[] = ["reference", "native", "webgpu"];

/** Opens a device before the tests of the suite and closes it behind them; they must leave no buffer alive. */
export const withDevice = (kind: DeviceKind, use: (device: Device) => void): void => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice({ device: kind });
    use(device);
  });
  afterAll(async () => {
    expect(device.counters.liveBuffers, "buffers left alive").toBe(0);
    await device.close();
  });
};

/** The numbers of a tensor that nobody needs any more. */
export const take = async (y: Tensor): Promise<number[]> => {
  const result = [...(await y.read())];
  y.dispose();
  return result;
};
