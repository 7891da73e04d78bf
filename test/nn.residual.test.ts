/** The residual network: published counts, shapes, the same losses and gradients on native as in float64, invariance, and what training changes beside parameters. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rotationGroup } from "../src/data/permutations.ts";
import { createRandom } from "../src/data/random.ts";
import type { Device } from "../src/device.ts";
import { ArgumentError } from "../src/errors.ts";
import { noGrad } from "../src/gradMode.ts";
import type { Symmetry } from "../src/nn/convolutions.ts";
import { initializer } from "../src/nn/init.ts";
import { BatchNorm, Dropout } from "../src/nn/layers.ts";
import { ResidualNetwork, type ResidualNetworkOptions } from "../src/nn/residual.ts";
import { openDevice } from "../src/open.ts";
import { softmaxCrossEntropy } from "../src/ops/crossEntropy/index.ts";
import { reshape, take } from "../src/ops/shape/index.ts";
import { AdamW } from "../src/optim.ts";
import { scope } from "../src/scope.ts";

let reference: Device;
let native: Device;
beforeAll(async () => {
  [reference, native] = await Promise.all([openDevice({ device: "reference" }), openDevice({ device: "native" })]);
});
afterAll(() => Promise.all([reference.close(), native.close()]));

const C4 = rotationGroup(3).elements;
const SYMMETRIES: readonly Symmetry[] = [
  { kind: "none" },
  { kind: "fixed", group: C4 },
  { kind: "learned", elements: 4 },
  { kind: "learned", elements: 3, factorised: true },
  { kind: "learned", elements: 2, shared: "tied" },
];
const TINY: ResidualNetworkOptions = { width: 2, kernelSize: 3, hidden: 5, classes: 4 };

const pixels = (count: number, seed = 3): Float32Array => {
  const random = createRandom(seed);
  return Float32Array.from({ length: count }, () => random.normal());
};
const tiny = (device: Device, symmetry: Symmetry, options: Partial<ResidualNetworkOptions> = {}): ResidualNetwork =>
  new ResidualNetwork(initializer(device, 1), symmetry, { ...TINY, ...options });

describe("parameter counts of the paper's networks for CIFAR-10", () => {
  test.each<[string, Symmetry, number]>([
    ["CNN-32", { kind: "none" }, 428_170],
    ["learned", { kind: "learned", elements: 4 }, 1_632_394 + 468_195],
  ])("%s", (_, symmetry, count) => {
    using network = new ResidualNetwork(initializer(native, 0), symmetry, { width: 32 });
    expect(network.parameterCount).toBe(count);
  });
});

describe.each(SYMMETRIES)("%j", (symmetry) => {
  test("shapes of every stage, and a gradient for every parameter, as in float64", async () => {
    const outcomes = await Promise.all(
      [reference, native].map(async (device) => {
        using network = tiny(device, symmetry);
        using x = device.tensor(pixels(3 * 3 * 64), [3, 3, 8, 8]);
        using y = device.tensor(Int32Array.of(0, 1, 3));
        const stages = noGrad(() => scope(() => network.activations(x).map(({ shape }) => shape)));
        const group = symmetry.kind === "none" ? [] : [symmetry.kind === "fixed" ? 4 : (symmetry as { elements: number }).elements];
        expect(stages).toEqual([
          [3, 2, ...group, 8, 8],
          [3, 2, ...group, 4, 4],
          [3, 4, ...group, 2, 2],
        ]);
        network.dropout.stream = 7;
        const value = scope(() => {
          const loss = softmaxCrossEntropy(network.forward(x), y);
          loss.backward();
          return loss.detach();
        });
        const loss = await value.item();
        value.dispose();
        const gradients = await Promise.all(
          [...network.namedParameters()].map(async ([name, parameter]) => {
            const gradient = parameter.grad;
            if (!gradient) throw new Error(`no gradient for ${name}`);
            return [name, Float64Array.from(await gradient.read())] as const;
          }),
        );
        return { loss, gradients };
      }),
    );
    const [truth, got] = outcomes;
    expect(got.loss).toBeCloseTo(truth.loss, 5);
    for (const [i, [name, values]] of truth.gradients.entries()) {
      const largest = Math.max(...values.map(Math.abs));
      // In front of a norm a constant is taken off again: biases there have no effect.
      const idle = /(first|second|lift|shortcut)\.bias$/.test(name);
      expect([name, largest > 1e-7]).toEqual([name, !idle]);
      for (const [at, value] of values.entries()) expect(Math.abs(got.gradients[i][1][at] - value), name).toBeLessThan(2e-5 + 2e-4 * largest);
    }
  });
});

test("with true permutations answers do not change when images are turned", async () => {
  using network = tiny(reference, { kind: "fixed", group: C4 }).eval();
  const answers = async (turn: number): Promise<ArrayLike<number>> => {
    const output = noGrad(() =>
      scope(() => {
        const x = reshape(reference.tensor(pixels(2 * 3 * 64)), [6, 64]);
        return network.forward(reshape(take(x, rotationGroup(8).elements[turn], 1), [2, 3, 8, 8]));
      }),
    );
    const values = await output.read();
    output.dispose();
    return values;
  };
  const upright = await answers(0);
  expect(Math.max(...Array.from(upright, Math.abs))).toBeGreaterThan(1e-2);
  for (const turn of [1, 2, 3]) for (const [i, value] of Array.from(await answers(turn)).entries()) expect(value).toBeCloseTo(upright[i], 9);
});

describe("training and evaluation", () => {
  const step = (network: ResidualNetwork, optimizer: AdamW, at: number): void => {
    network.dropout.stream = at;
    scope(() => {
      const x = network.head.weight.device.tensor(pixels(4 * 3 * 64, at), [4, 3, 8, 8]);
      softmaxCrossEntropy(network.forward(x), network.head.weight.device.tensor(Int32Array.of(0, 1, 2, 3))).backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
  };
  const bits = async (network: ResidualNetwork): Promise<string> =>
    JSON.stringify([...(await network.stateDict())].map(([name, { data }]) => [name, Array.from(data as Float32Array)]));

  test("running statistics are saved and loaded, and training goes on with the same bits", async () => {
    using network = tiny(native, { kind: "learned", elements: 4 });
    const names = [...network.namedState().keys()].filter((name) => name.includes("running"));
    expect(names).toEqual(
      ["norm", "blocks.0.norm", "blocks.1.norm", "projectionNorm"].flatMap((norm) => [`${norm}.runningMean`, `${norm}.runningVar`]),
    );
    expect([...network.namedParameters().keys()].some((name) => name.includes("running"))).toBe(false);
    using optimizer = new AdamW(network.parameters(), { lr: 1e-2 });
    for (let at = 0; at < 3; at++) step(network, optimizer, at);
    const [saved, moments] = [await network.stateDict(), await optimizer.stateDict()];
    using other = tiny(native, { kind: "learned", elements: 4 });
    using again = new AdamW(other.parameters(), { lr: 1e-2 });
    other.loadStateDict(saved);
    again.loadStateDict(moments);
    for (let at = 3; at < 6; at++) {
      step(network, optimizer, at);
      step(other, again, at);
    }
    expect(await bits(other)).toBe(await bits(network));
  });

  test("evaluation changes nothing, takes single images, and gives the same answers whatever is beside them", async () => {
    using network = tiny(native, { kind: "none" });
    using optimizer = new AdamW(network.parameters(), { lr: 1e-2 });
    for (let at = 0; at < 3; at++) step(network, optimizer, at);
    const before = await bits(network);
    expect(network.modules().every(({ training }) => training)).toBe(true);
    network.eval();
    expect(network.modules().some(({ training }) => training)).toBe(false);
    const answers = async (count: number): Promise<ArrayLike<number>> => {
      const output = noGrad(() => scope(() => network.forward(native.tensor(pixels(4 * 3 * 64).subarray(0, count * 192), [count, 3, 8, 8]))));
      const values = await output.read();
      output.dispose();
      return values;
    };
    const [all, one] = [await answers(4), await answers(1)];
    for (let i = 0; i < 4; i++) expect(one[i]).toBeCloseTo(all[i], 5);
    expect(await bits(network)).toBe(before);
    expect(() => network.train(1 as never)).toThrow(ArgumentError);
  });

  test("what is dropped is a function of seed and number of the pass, the same on every device", async () => {
    const masks = async (device: Device): Promise<number[][]> => {
      const layer = new Dropout(initializer(device, 5), 0.3);
      using ones = device.ones([4, 250]);
      return Promise.all(
        [0, 1, 0].map(async (stream) => {
          layer.stream = stream;
          using y = noGrad(() => layer.forward(ones));
          return Array.from(await y.read());
        }),
      );
    };
    const [first, second, again] = await masks(native);
    expect(again).toEqual(first);
    expect(second).not.toEqual(first);
    expect(new Set(first)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
    const zeros = first.filter((value) => value === 0).length;
    expect(Math.abs(zeros - 300)).toBeLessThan(60); // four deviations
    const exact = await masks(reference);
    expect(exact[0].map((value) => value > 0)).toEqual(first.map((value) => value > 0));
  });
});

test.each<[Partial<ResidualNetworkOptions>, string]>([
  [{ width: 0 }, "an integer of at least 1 for `width`"],
  [{ blocks: 0 }, "an integer of at least 1 for `blocks`"],
  [{ pool: 1.5 }, "an integer of at least 1 for `pool`"],
  [{ hidden: 0 }, "an integer of at least 1 for `hidden`"],
  [{ dropout: 1 }, "a number in [0, 1) for `p`"],
])("%j is refused", (options, message) => {
  expect(() => tiny(reference, { kind: "none" }, options)).toThrow(ArgumentError);
  expect(() => tiny(reference, { kind: "none" }, options)).toThrow(message);
});

test("images that are too small or have other channels are refused, and a norm without channels", () => {
  using network = tiny(reference, { kind: "none" });
  expect(() => network.forward(reference.ones([1, 3, 3, 8]))).toThrow("ResidualNetwork: expected images of at least 4×4");
  expect(() => network.forward(reference.ones([1, 1, 8, 8]))).toThrow(ArgumentError);
  expect(() => new BatchNorm(initializer(reference, 1), 0)).toThrow("BatchNorm: expected an integer of at least 1 for `channels`");
});
