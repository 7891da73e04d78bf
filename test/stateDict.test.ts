/** States of modules and optimisers: training goes on with the same bits, and what does not fit is refused whole. */
import { describe, expect, it } from "vitest";
import type { HostTensor } from "../src/data/safetensors.ts";
import { ArgumentError, StateError } from "../src/errors.ts";
import type { Module, Optimizer, Tensor } from "../src/index.ts";
import * as birkhoff from "../src/index.ts";

const f32 = (shape: readonly number[], ...data: number[]): HostTensor => ({ dtype: "F32", shape, data: Float32Array.from(data) });

describe("training goes on with the same bits", () => {
  const {
    AdamW,
    DigitNetwork,
    SGD,
    decodeSafetensors: decode,
    encodeSafetensors,
    initializer,
    mean,
    openDevice,
    scheduleLr,
    square,
    valueAndGrad,
  } = birkhoff;
  const makers: [string, (network: Module) => Optimizer][] = [
    ["AdamW", (network) => new AdamW(network.parameters(), { lr: 0.01 })],
    [
      "SGD",
      (network) =>
        new SGD([{ parameters: network.parameters().slice(0, 2), lr: 0.02 }, { parameters: network.parameters().slice(2) }], {
          lr: 0.01,
          momentum: 0.9,
        }),
    ],
    ["SGD without momentum", (network) => new SGD(network.parameters(), { lr: 0.01 })],
  ];
  const options = { width: 2, kernelSize: 3, layers: 2 } as const;
  const symmetry = { kind: "learned", elements: 2 } as const;

  for (const kind of ["reference", "native"] as const)
    it.each(makers)(`${kind}: %s`, async (_, make) => {
      await using device = await openDevice({ device: kind });
      const x = device.tensor(
        Float32Array.from({ length: 128 }, (_, i) => Math.sin(i)),
        [2, 1, 8, 8],
      ); // prettier-ignore
      const step = (network: Module, optimizer: Optimizer, skip: boolean): void => {
        const parameters = network.parameters();
        const { gradients } = valueAndGrad(() => mean(square(network.forward(x))), parameters);
        // A parameter that is left out once has another count of steps from then on.
        optimizer.step(gradients.map((gradient: Tensor, i: number) => (skip && i === 0 ? undefined : gradient)));
      };
      const [network, other] = [1, 2].map((seed) => new DigitNetwork(initializer(device, seed), symmetry, options));
      const [optimizer, resumed] = [make(network), make(other)];
      for (let i = 0; i < 3; i++) step(network, optimizer, i === 1);
      scheduleLr(optimizer, () => 0.5)(0);
      const model = encodeSafetensors(await network.stateDict());
      const state = encodeSafetensors(await optimizer.stateDict());
      other.loadStateDict(decode(model).tensors);
      resumed.loadStateDict(decode(state).tensors);
      expect(resumed.groups.map(({ lr }) => lr)).toEqual(optimizer.groups.map(({ lr }) => lr));
      for (let i = 0; i < 3; i++) {
        step(network, optimizer, i === 1);
        step(other, resumed, i === 1);
      }
      expect(encodeSafetensors(await other.stateDict())).toEqual(encodeSafetensors(await network.stateDict()));
      expect(encodeSafetensors(await resumed.stateDict())).toEqual(encodeSafetensors(await optimizer.stateDict()));
    });

  it("webgpu: a linear map and AdamW", async () => {
    await using device = await openDevice({ device: "webgpu" });
    const x = device.tensor([[1, -2, 0.5]]);
    const [layer, other] = [1, 2].map((seed) => new birkhoff.Linear(initializer(device, seed), 3, 2));
    const [optimizer, resumed] = [layer, other].map((module) => new AdamW(module.parameters(), { lr: 0.1 }));
    const step = (network: Module, given: Optimizer): void => {
      given.step(valueAndGrad(() => mean(square(network.forward(x))), network.parameters()).gradients);
    };
    for (let i = 0; i < 3; i++) step(layer, optimizer);
    other.loadStateDict(decode(encodeSafetensors(await layer.stateDict())).tensors);
    resumed.loadStateDict(decode(encodeSafetensors(await optimizer.stateDict())).tensors);
    for (let i = 0; i < 3; i++)
      for (const [network, given] of [
        [layer, optimizer],
        [other, resumed],
      ] as const)
        step(network, given); // prettier-ignore
    expect(encodeSafetensors(await other.stateDict())).toEqual(encodeSafetensors(await layer.stateDict()));
    expect(encodeSafetensors(await resumed.stateDict())).toEqual(encodeSafetensors(await optimizer.stateDict()));
  });

  it("and matrices that are frozen where they started are part of the state", async () => {
    await using device = await openDevice({ device: "reference" });
    const [from, to] = [1, 2].map((seed) => new DigitNetwork(initializer(device, seed), symmetry, { ...options, frozen: true }));
    to.loadStateDict(await from.stateDict());
    expect(await to.stateDict()).toEqual(await from.stateDict());
    const x = device.ones([1, 1, 8, 8]);
    expect(await to.forward(x).read()).toEqual(await from.forward(x).read());
    expect(from.namedState().size).toBe(from.namedParameters().size + 2);
  });

  it("and nothing is written when anything does not fit", async () => {
    await using device = await openDevice({ device: "reference" });
    const network = new DigitNetwork(initializer(device, 1), symmetry, options);
    const optimizer = new AdamW(network.parameters());
    const before = await network.stateDict();
    const state = await new DigitNetwork(initializer(device, 2), symmetry, options).stateDict();
    const without = new Map([...state].filter(([name]) => name !== "head.bias"));
    expect(() => network.loadStateDict(without)).toThrow(
      /loadStateDict: expected the names of its own tensors for `state`, but received one without head\.bias$/,
    );
    expect(() => network.loadStateDict(new Map([...without, ["extra", f32([1], 1)]]))).toThrow(/one without head\.bias and one with extra/);
    const bad: [string, HostTensor][] = [
      ["head.bias", f32([3], 1, 2, 3)],
      ["head.bias", { dtype: "I32", shape: [10], data: new Int32Array(10) }],
      ["head.bias", f32([10], 1)],
      ["head.bias", { ...f32([10]), data: new BigInt64Array(10) }],
      ["head.bias", { ...f32([10]), data: Array.from({ length: 10 }, () => "1") as never }],
    ]; // prettier-ignore
    for (const entry of bad) expect(() => network.loadStateDict(new Map([...without, entry]))).toThrow(ArgumentError);
    expect(await network.stateDict()).toEqual(before);
    expect(network.loadStateDict(new Map([...without, ["extra", f32([1], 1)]]), { strict: false })).toEqual({
      missingKeys: ["head.bias"],
      unexpectedKeys: ["extra"],
    });
    expect((await network.stateDict()).get("head.bias")).toEqual(before.get("head.bias"));

    const saved = await optimizer.stateDict();
    expect(() => new SGD(network.parameters(), { momentum: 0.5 }).loadStateDict(saved)).toThrow(
      /SGD\.loadStateDict.*without state\.0\.momentum_buffer/,
    );
    expect(() => optimizer.loadStateDict(new Map([...saved, ["state.0.step", f32([], 1)]]))).toThrow(/one number of dtype I64/);
    const negative: HostTensor = { dtype: "F64", shape: [], data: Float64Array.of(-1) };
    expect(() => optimizer.loadStateDict(new Map([...saved, ["param_groups.0.lr", negative]]))).toThrow(/a non-negative number/);
    optimizer.dispose();
    expect(() => optimizer.loadStateDict(saved)).toThrow(StateError);
  });
});
