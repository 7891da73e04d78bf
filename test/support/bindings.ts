/** Operands that exceed one binding: a device that says so of small ones, beside the float64 reference. */
import { afterAll, beforeAll, expect } from "vitest";
import type { Device } from "../../src/device.ts";
import { elements, type Shape } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import type { Tensor } from "../../src/tensor.ts";
import { testRandom } from "../../src/testing/random.ts";
import { deviceWithBindings } from "./webgpu.ts";

/** 4096 numbers. */
export const BYTES = 16384;

/** Opens both devices, the reference first, before the tests of the file and closes them behind them; they must leave no buffer alive. */
export const withNarrowDevice = (): readonly Device[] => {
  const devices: Device[] = [];
  beforeAll(async () => {
    devices.push(await openDevice({ device: "reference" }), await deviceWithBindings(BYTES));
  });
  afterAll(async () => {
    for (const device of devices) {
      expect(device.counters.liveBuffers, "buffers left alive").toBe(0);
      await device.close();
    }
  });
  return devices;
};

export const numbers = (device: Device, shapes: readonly Shape[]): Tensor[] => {
  const random = testRandom(3);
  return shapes.map((shape) =>
    device.tensor(
      Float32Array.from({ length: elements(shape) }, () => random.normal() + 0.5),
      shape,
    ),
  );
};

/** Compares a function of tensors of these shapes, of which it or one exceeds a binding, and its gradients. */
export const compare = async (
  devices: readonly Device[],
  shapes: readonly Shape[],
  run: (...operands: readonly Tensor[]) => Tensor,
  tolerance = 1e-5,
): Promise<void> => {
  const [want, got] = await Promise.all(
    devices.map(async (device) => {
      const operands = numbers(device, shapes);
      for (const operand of operands) operand.requiresGrad = true;
      const y = run(...operands);
      expect(4 * Math.max(...[y.shape, ...shapes].map(elements))).toBeGreaterThan(BYTES);
      const [g] = numbers(device, [y.shape]);
      y.backward(g);
      const results = await Promise.all([y, ...operands.map(({ grad }) => grad as Tensor)].map(async (tensor) => [...(await tensor.read())]));
      for (const tensor of [y, g, ...operands]) tensor.dispose();
      return results;
    }),
  );
  for (const [i, values] of want.entries()) {
    const most = Math.max(...values.map(Math.abs));
    const worst = values.reduce((before, value, j) => Math.max(before, Math.abs(got[i][j] - value)), 0);
    expect(worst / most, `${JSON.stringify(shapes)}, ${i === 0 ? "result" : `gradient ${i}`}`).toBeLessThan(tolerance);
  }
};
