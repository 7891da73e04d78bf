/** The norm of gradients and clipping by it: values, what NaN does, messages. The update rules are in test/optim.test.ts. */
import { describe, expect, test } from "vitest";
import type { Device } from "../../src/device.ts";
import { openDevice } from "../../src/open.ts";
import { clipGradNorm, gradNorm } from "../../src/ops/optimizer/index.ts";
import { KINDS, withDevice } from "../support/devices.ts";

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  test("3, 4, 12 have norm 13", async () => {
    using a = device.tensor([3, 4]);
    using b = device.tensor([[12]]);
    const { gradients, norm } = clipGradNorm([a, b], 1.3);
    expect(await norm.item()).toBeCloseTo(13, 5);
    for (const [i, value] of [0.3, 0.4].entries()) expect((await gradients[0].read())[i]).toBeCloseTo(value, 5);
    expect(await gradients[1].item()).toBeCloseTo(1.2, 5);
    expect(gradients[1].shape).toEqual([1, 1]);
    expect([...(await a.read())]).toEqual([3, 4]);
    for (const tensor of [...gradients, norm]) tensor.dispose();
  });

  test("gradients that share memory are each scaled once", async () => {
    using a = device.tensor([3, 4]);
    using b = a.detach();
    const { gradients, norm } = clipGradNorm([a, b], 0.5);
    for (const gradient of gradients) expect((await gradient.read())[1]).toBeCloseTo(4 * (0.5 / Math.sqrt(50)), 6);
    for (const tensor of [...gradients, norm]) tensor.dispose();
  });

  test("a NaN spreads to every gradient, and is an error when asked for", async () => {
    using a = device.tensor([1, Number.NaN]);
    using b = device.tensor([2]);
    const { gradients, norm } = clipGradNorm([a, b], 1);
    expect(await norm.item()).toBeNaN();
    expect(await gradients[1].item()).toBeNaN();
    const checked = gradNorm([a, b], { errorIfNonfinite: true });
    await expect(checked.item()).rejects.toThrow("clipGradNorm: expected a finite norm for `gradients`, but received NaN");
    using fine = gradNorm([b], { errorIfNonfinite: true });
    expect(await fine.item()).toBe(2);
    for (const tensor of [...gradients, norm, checked]) tensor.dispose();
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const g = device.ones([2]);
  expect(() => clipGradNorm([], 1)).toThrow("gradNorm: expected at least one tensor for `gradients`, but received []");
  expect(() => clipGradNorm([g], Number.NaN)).toThrow("clipGradNorm: expected a non-negative number for `maxNorm`, but received NaN");
  expect(() => clipGradNorm([g], -1)).toThrow("for `maxNorm`, but received -1");
  expect(() => gradNorm([device.zeros([2], "int32")])).toThrow("gradNorm: expected dtype float32 for `gradients[0]`, but received");
  await using other = await openDevice({ device: "reference" });
  expect(() => gradNorm([g, other.ones([2])])).toThrow("expected tensors of one device");
});
