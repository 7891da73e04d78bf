/** A training loop in steady state allocates nothing and does not grow. */
import { expect, test } from "vitest";
import type { Device } from "../src/device.ts";
import { initializer } from "../src/nn/init.ts";
import { Linear } from "../src/nn/layers.ts";
import { Module } from "../src/nn/module.ts";
import { openDevice } from "../src/open.ts";
import { softmaxCrossEntropy } from "../src/ops/crossEntropy/index.ts";
import { relu } from "../src/ops/elementwise/index.ts";
import { AdamW } from "../src/optim.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";

class Small extends Module {
  readonly first: Linear;
  readonly second: Linear;
  constructor(device: Device) {
    super();
    const init = initializer(device, 1);
    this.first = new Linear(init, 8, 16);
    this.second = new Linear(init, 16, 3);
  }
  forward(x: Tensor): Tensor {
    return this.second.forward(relu(this.first.forward(x)));
  }
}

const steps = async (device: Device, count: number): Promise<void> => {
  using network = new Small(device);
  const optimizer = new AdamW(network.parameters(), { lr: 1e-2 });
  using x = device.zeros([4, 8]);
  using labels = device.zeros([4], "int32");
  const inputs = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
  const classes = Int32Array.of(0, 1, 2, 1);
  let settled = { allocations: 0, live: 0, rss: 0 };
  let first = 0;
  let last = 0;
  for (let step = 0; step < count; step++) {
    if (step === Math.floor(count / 5)) {
      settled = { allocations: device.counters.allocations, live: device.counters.liveBuffers, rss: process.memoryUsage().rss };
    }
    device.write(x, inputs);
    device.write(labels, classes);
    using loss = scope(() => {
      const value = softmaxCrossEntropy(network.forward(x), labels);
      value.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return value.detach();
    });
    if (step % 50 === 0 || step === count - 1) last = await loss.item();
    if (step === 0) first = last;
  }
  expect(last).toBeLessThan(first / 10);
  expect(device.counters.allocations, "allocations after the first fifth").toBe(settled.allocations);
  expect(device.counters.liveBuffers).toBe(settled.live);
  expect(process.memoryUsage().rss - settled.rss, "growth of the process in bytes").toBeLessThan(64 * 2 ** 20);
  optimizer.dispose();
};

test("10,000 steps on native", async () => {
  await using device = await openDevice({ device: "native" });
  await steps(device, 10_000);
  expect(device.counters.liveBuffers).toBe(0);
});

test("500 steps on webgpu", async () => {
  await using device = await openDevice({ device: "webgpu" });
  await steps(device, 500);
  expect(device.counters.liveBuffers).toBe(0);
});
