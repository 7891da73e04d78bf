/** What waits for a GPU: reads alone. On Dawn's null device, which runs nothing and answers all the same. */
import { expect, test, vi } from "vitest";
import { openDawn } from "../src/backends/webgpu/dawn.ts";
import { DataError } from "../src/errors.ts";
import { parameter } from "../src/nn/module.ts";
import { openDevice } from "../src/open.ts";
import { add } from "../src/ops/elementwise/index.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { relativeProjection } from "../src/ops/relativeProjection/index.ts";
import { densificationLoss, prePostDensificationLoss } from "../src/ops/zeroPersistence/index.ts";
import { SGD } from "../src/optim.ts";

const STEPS = 50;

test(`${STEPS} steps through projections and densification are enqueued without a wait, and a read waits once`, async () => {
  const adapter = await (await openDawn(["backend=null"])).requestAdapter();
  if (!adapter) throw new Error("expected Dawn's null adapter, but received none");
  const gpuDevice = await adapter.requestDevice();
  const prototype = (object: object): object => Object.getPrototypeOf(object);
  const mapped = vi.spyOn(prototype(gpuDevice.createBuffer({ size: 4, usage: 1 | 8 })) as GPUBuffer, "mapAsync");
  const finished = vi.spyOn(prototype(gpuDevice.queue) as GPUQueue, "onSubmittedWorkDone");
  try {
    await using device = await openDevice({ gpuDevice });
    mapped.mockClear();
    finished.mockClear();
    const [x, anchors] = [parameter(device.ones([40, 12])), parameter(device.ones([20, 12]))];
    using labels = device.tensor(
      Int32Array.from({ length: 40 }, (_, i) => i % 5),
      [40],
      "int32",
    );
    const optimizer = new SGD([x, anchors], { lr: 0.1 });
    const before = device.counters.dispatches;
    for (let step = 0; step < STEPS; step++) {
      using relative = relativeProjection(x, anchors, { normalise: "standardise", detachAnchors: false, detachStatistics: false });
      using dense = densificationLoss(relative, labels, { beta: 1, classes: 5 });
      using both = prePostDensificationLoss(x, relative, labels, { beta: 1, classes: 5 });
      using mean = sum(relative);
      using some = add(dense, both);
      using loss = add(some, mean);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
    }
    expect(device.counters.dispatches - before).toBeGreaterThan(20 * STEPS);
    expect(device.counters.submits).toBeGreaterThan(0);
    expect(mapped).not.toHaveBeenCalled();
    expect(finished).not.toHaveBeenCalled();
    // Whatever stands in the null device's memory may be a fault's report.
    await x.read().catch((error: unknown) => expect(error).toBeInstanceOf(DataError));
    expect(mapped).toHaveBeenCalledTimes(1);
    optimizer.dispose();
    for (const tensor of [x, anchors]) tensor.dispose();
  } finally {
    mapped.mockRestore();
    finished.mockRestore();
    gpuDevice.destroy();
  }
});
