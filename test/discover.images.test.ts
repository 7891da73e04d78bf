/** Images of `birkhoff discover`: in colour, generated, with their own test images, and what a step of training takes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Device } from "../src/device.ts";
import { checkConfiguration } from "../src/discover/configuration.ts";
import { type DiscoverResult, discover } from "../src/discover/index.ts";
import { openDevice } from "../src/open.ts";
import { temporaryFolder } from "./support/folder.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice({ device: "native" });
});
afterAll(() => device.close());

const go = (value: unknown): Promise<DiscoverResult> =>
  discover(device, checkConfiguration(value, "x.json"), { provenance: { machine: "m", command: "c", device: "native" } });

const colours = {
  name: "colours",
  networks: [{ kind: "learned" }],
  seeds: [3],
  data: { kind: "images", folder: "nowhere", format: "cifar10", generated: true, transform: "none", side: 8, train: 64, heldOut: 12 },
  network: { architecture: "residual", kernelSize: 3, layers: 1, width: 2, hidden: 6, elements: 4, group: "rot90" },
  training: { steps: 60, warmup: 10, batchSize: 8, norm: 0.1 },
};

test("images in the sizes of well-known data sets where there are none; every kind of residual network learns from those in colour", async () => {
  const networks = [{ kind: "plain" }, { kind: "fixed" }, { kind: "learned", layers: 2 }];
  const many = { ...colours, data: { ...colours.data, train: 640, heldOut: 100 }, training: { ...colours.training, steps: 150 } };
  const { records, report } = await go({ ...many, networks, network: { ...colours.network, dropout: 0 } });
  expect(report.task).toEqual({
    name: "none images (generated)",
    description: "640 random images to train on, 100 held out, 8×8 in 3 channels, each transformed at random (none)",
  });
  expect(report.layers.map(({ d }) => d)).toEqual([9, 36, 36, 36, 36]);
  expect(report.layers[0].kernels?.shape).toEqual([2, 4, 3, 3]);
  for (const { loss, heldOutAccuracy, step } of records) {
    expect(loss.tail).toBeLessThan(0.75 * loss.first);
    expect(heldOutAccuracy).toBeGreaterThan(0.25);
    expect(step?.milliseconds).toBeGreaterThan(0);
  }
  const digitsLike = { ...colours.data, format: undefined, side: 7 };
  const grey = { ...colours, data: digitsLike, network: { kernelSize: 3, layers: 2, pool: 1, width: 2 }, training: { steps: 1, batchSize: 8 } };
  expect((await go(grey)).report.task.description).toContain("7×7, each");
  for (const [change, message] of [
    [{ network: { kernelSize: 3, width: 2, dropout: 0.1 } }, "expected it in residual networks alone for `networks.dropout`"],
    [
      { data: { ...colours.data, transform: "rot90", target: "classAndTurn" } },
      'expected "convolutional" where turns are to be told for `networks.architecture`, but received "residual"',
    ],
    [{ data: { ...colours.data, generated: false } }, 'a readable folder in "nowhere"'],
  ] as const)
    await expect(go({ ...colours, ...change })).rejects.toThrow(message);
});

test("held out are a data set's own test images where that is asked for", async () => {
  const folder = temporaryFolder();
  const record = (label: number): Uint8Array => new Uint8Array(3073).fill(20 * label).fill(label, 0, 1);
  const write = (name: string, labels: readonly number[]): void => writeFileSync(join(folder, name), Buffer.concat(labels.map(record)));
  write("data_batch_1.bin", [0, 1, 2, 3, 4, 5, 6, 7]);
  const data = { kind: "images", folder, transform: "none", side: 4, heldOut: "test" };
  const value = {
    ...colours,
    data,
    network: { architecture: "residual", kernelSize: 3, width: 1, hidden: 3 },
    training: { steps: 2, batchSize: 4 },
  };
  await expect(go(value)).rejects.toThrow("expected a number, where there are not both training and test files, for `data.heldOut`");
  write("test_batch.bin", [9, 8, 9]);
  const { report } = await go(value);
  expect(report.task.description).toBe("8 images to train on, 3 held out, 4×4 in 3 channels, each transformed at random (none)");
});

test("what a step asks of the device is counted", async () => {
  const data = { kind: "generated", symmetry: "cyclic", size: 16, noise: 0 };
  const value = { ...colours, data, network: {}, networks: [{ kind: "plain" }], training: { steps: 2, batchSize: 64 } };
  const [plain] = (await go(value)).records;
  // x [64, 16] through [512, 16]: the answer, the teacher's, and the gradient of the map; then what goes number by number.
  const product = 2 * 64 * 16 * 512;
  expect(plain.step?.operations).toBeGreaterThan(3 * product);
  expect(plain.step?.operations).toBeLessThan(4 * product);
  expect(plain.step?.memory).toBeGreaterThan(4 * 3 * plain.parameters);
  expect(plain.step?.bytes).toBeGreaterThan(4 * 3 * plain.parameters);
});
