/** Networks as others read them: expanded into plain layers, as ONNX, as states of `torch.nn.Sequential`; and the paper's weights in our layers. */
import { env, InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import { describe, expect, it } from "vitest";
import { createRandom, range, shuffle } from "../src/data/random.ts";
import {
  ArgumentError,
  Conv2d,
  type Device,
  DigitNetwork,
  decodeSafetensors,
  encodeOnnx,
  encodeSafetensors,
  FactorisedWeightSharingConv2d,
  GroupLift2d,
  type HostTensor,
  initializer,
  Linear,
  loadPaperState,
  openDevice,
  type PlainModule,
  permutationMatrices,
  ResidualNetwork,
  reshape,
  rotationGroup,
  type Symmetry,
  sinkhorn,
  type Tensor,
  toPlain,
  WeightSharingConv1d,
  WeightSharingConv2d,
  WeightSharingLift2d,
} from "../src/index.ts"; // prettier-ignore
import { roundNetwork } from "../src/symmetry/round.ts";
import { evaluate, readModel } from "./support/onnx.ts";

// As WebAssembly: 33 MB to download, where onnxruntime-node takes 113. bench/rivals/export-agreement.mjs asks the latter.
env.wasm.numThreads = 1;

const waves = (device: Device, shape: readonly number[], factor = 1): Tensor =>
  device.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(1 + factor * i * i)),
    shape,
  ); // prettier-ignore
const fill = (device: Device, module: { parameters(): Tensor[] }): void => {
  for (const tensor of module.parameters())
    device.write(
      tensor,
      Float32Array.from({ length: tensor.size }, (_, i) => Math.cos(i * i + tensor.size)),
    );
};
/** Largest difference, over the largest entry. */
const distance = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  expect(got.length).toBe(want.length);
  const scale = Math.max(...Array.from(want, Math.abs));
  return Math.max(...Array.from(want, (value, i) => Math.abs(value - got[i]))) / scale;
};

const symmetries: [string, Symmetry][] = [
  ["no symmetry", { kind: "none" }],
  ["learned", { kind: "learned", elements: 3 }],
  ["learned, factorised", { kind: "learned", elements: 3, factorised: true }],
  ["learned, tied", { kind: "learned", elements: 3, shared: "tied" }],
  ["fixed", { kind: "fixed", group: rotationGroup(3).elements }],
];

/** Parameters and running statistics as training leaves them, matrices as they are. */
const train = (device: Device, network: ResidualNetwork): void => {
  for (const [name, tensor] of network.namedState()) {
    const around = /running/.test(name) ? Number(name.endsWith("Var")) : /weight$/.test(name) && /norm/i.test(name) ? 1 : 0;
    if (around === 0 && !/bias$|running/.test(name)) continue;
    device.write(
      tensor,
      Float32Array.from({ length: tensor.size }, (_, i) => around + 0.5 * Math.cos(i * i + tensor.size)),
    );
  }
};

describe("ONNX", () => {
  const run = async (bytes: Uint8Array, x: Tensor): Promise<Float32Array> => {
    const session = await InferenceSession.create(bytes, { graphOptimizationLevel: "all" });
    const { output } = await session.run({ input: new OrtTensor("float32", (await x.read()) as Float32Array, x.shape) });
    await session.release();
    return output.data as Float32Array;
  };

  it.each(symmetries)("digits, %s", async (_, symmetry) => {
    await using device = await openDevice({ device: "reference" });
    for (const [pool, hidden, head] of [
      [1, 0, "invariant"],
      [2, 3, "invariant"],
      [1, 0, "equivariant"],
      [1, 3, "equivariant"],
    ] as const) {
      const network = new DigitNetwork(initializer(device, 3), symmetry, { width: 2, kernelSize: 3, layers: 3, inChannels: 2, pool, hidden, head });
      const linears = network.hidden ? [network.hidden, network.head] : [network.head];
      fill(device, { parameters: () => [...linears.flatMap(({ weight, bias }) => [weight, bias]), ...network.blocks.map(({ bias }) => bias)] });
      const bytes = encodeOnnx(await toPlain(network));
      const model = readModel(bytes);
      expect([model.irVersion, model.opset]).toEqual([7, 13]);
      expect(model.inputs).toEqual([["input", ["batch", 2, "height", "width"]]]);
      const [{ shape: outputs }] = [network.forward(waves(device, [1, 2, 14, 14]))];
      expect(model.outputs).toEqual([["output", ["batch", outputs[1]]]]);
      for (const side of [14, 16]) {
        const x = waves(device, [3, 2, side, side + 2]);
        const want = await network.forward(x).read();
        // Kernels are float32 in the file.
        expect(distance(await evaluate(device, model, x).read(), want)).toBeLessThan(1e-5);
        expect(distance(await run(bytes, x), want)).toBeLessThan(1e-5);
      }
    }
  });

  it.each(symmetries)("the residual network, %s", async (_, symmetry) => {
    await using device = await openDevice({ device: "reference" });
    for (const [blocks, pool] of [
      [1, 1],
      [2, 2],
    ]) {
      const options = { width: 2, kernelSize: 3, hidden: 3, classes: 4, inChannels: 2, blocks, pool };
      const network = new ResidualNetwork(initializer(device, 3), symmetry, options).eval();
      train(device, network);
      const x = waves(device, [3, 2, 8, 12]);
      const want = await network.forward(x).read();
      // Training goes on as it was: what is exported is the network as it evaluates.
      const bytes = encodeOnnx(await toPlain(network.train()));
      expect(distance(await evaluate(device, readModel(bytes), x).read(), want)).toBeLessThan(1e-5);
      expect(distance(await run(bytes, x), want)).toBeLessThan(1e-5);
    }
  });

  it("networks that were rounded answer as the learned ones did", async () => {
    await using device = await openDevice({ device: "reference" });
    const symmetry = { kind: "learned", elements: 3 } as const;
    const options = { width: 2, kernelSize: 3, pool: 2, hidden: 3, classes: 4 };
    const digits = new DigitNetwork(initializer(device, 3), symmetry, { ...options, layers: 3 });
    const residual = new ResidualNetwork(initializer(device, 3), symmetry, { ...options, inChannels: 1 }).eval();
    train(device, residual);
    for (const network of [digits, residual]) {
      for (const { representations } of network.learnedStacks()) {
        const [count, d] = representations.shape;
        const elements = Array.from({ length: count }, (_, i) => shuffle(range(d), createRandom(i + d)));
        device.write(
          representations,
          permutationMatrices(elements).map((entry) => 40 * entry),
        );
      }
      const { network: rounded } = await roundNetwork<DigitNetwork | ResidualNetwork>(network);
      const x = waves(device, [3, 1, 16, 20]);
      const want = await network.forward(x).read();
      const plain = await toPlain(rounded);
      expect(distance(await run(encodeOnnx(plain), x), want)).toBeLessThan(1e-5);
      const { tensors } = decodeSafetensors(encodeSafetensors(plain.tensors, { architecture: plain.architecture }));
      expect(tensors).toEqual(plain.tensors);
    }
    const { tensors, architecture } = await toPlain(residual);
    expect([...tensors.keys()].slice(0, 14)).toEqual([
      ...["0.weight", "0.bias"],
      ...["weight", "bias", "running_mean", "running_var"].map((name) => `1.${name}`),
      ...["layers.0", "layers.3"].flatMap((name) => [`3.${name}.weight`, `3.${name}.bias`]),
      ...["weight", "bias", "running_mean", "running_var"].map((name) => `4.${name}`),
    ]);
    expect(JSON.parse(architecture).map(({ kind }: { kind: string }) => kind)).toEqual(
      "conv batchNorm relu residual batchNorm maxPool relu residual batchNorm maxPool relu globalMean linear batchNorm relu linear".split(" "),
    );
  });

  it("single layers: padding, kernels of even sides, one axis, features alone", async () => {
    await using device = await openDevice({ device: "reference" });
    const init = initializer(device, 1);
    const sizes = { inChannels: 2, outChannels: 3 };
    const layers: [PlainModule & { forward(x: Tensor): Tensor; parameters(): Tensor[] }, number[], number[]][] = [
      [new Conv2d(init, { ...sizes, kernelSize: 4, padding: "same" }), [2, 2, 6, 7], [2, 2, 6, 7]],
      [new Conv2d(init, { ...sizes, kernelSize: 3, padding: 2 }), [2, 2, 6, 7], [2, 2, 6, 7]],
      [new GroupLift2d(init, { ...sizes, kernelSize: 3, padding: "same", group: rotationGroup(3).elements }), [2, 2, 5, 5], [2, 2, 5, 5]],
      [new FactorisedWeightSharingConv2d(init, { ...sizes, kernelSize: 2, elements: 3 }), [2, 2, 3, 5, 5], [2, 6, 5, 5]],
      [new WeightSharingConv1d(init, { ...sizes, kernelSize: 3, elements: 2, padding: "same" }), [2, 2, 2, 9], [2, 4, 9]],
      [new Linear(init, 4, 3), [5, 4], [5, 4]],
    ];
    for (const [layer, shape, flat] of layers) {
      fill(device, layer);
      const x = waves(device, shape);
      const bytes = encodeOnnx(await toPlain(layer));
      const want = await layer.forward(x).read();
      expect(distance(await evaluate(device, readModel(bytes), reshape(x, flat)).read(), want)).toBeLessThan(1e-5);
      expect(distance(await run(bytes, reshape(x, flat)), want)).toBeLessThan(1e-5);
    }
  });

  it("refuses what is no network", async () => {
    await expect(toPlain({} as never)).rejects.toThrow(/toPlain: expected a module with `plainLayers` for `network`/);
    expect(() => encodeOnnx({ layers: [] } as never)).toThrow(ArgumentError);
    expect(() => encodeOnnx({ layers: [{ kind: "norm", groups: 0, eps: 1 }] } as never)).toThrow("a positive integer for `network.layers[0].groups`");
    expect(() => encodeOnnx({ layers: [{ kind: "residual", layers: [{}], shortcut: [] }] } as never)).toThrow("`network.layers[0].layers[0].kind`");
    expect(() => encodeOnnx({ layers: [{ kind: "batchNorm", eps: 1 }] } as never)).toThrow("`network.layers[0].weight`");
    expect(() => encodeOnnx(undefined as never)).toThrow(ArgumentError);
  });
});

it("a plain network's state has the names of torch.nn.Sequential, and leaves nothing on the device", async () => {
  await using device = await openDevice({ device: "native" });
  const network = new DigitNetwork(initializer(device, 3), { kind: "learned", elements: 2 }, { width: 2, kernelSize: 3, layers: 2, pool: 2 });
  await toPlain(network);
  const { liveBuffers } = device.counters;
  const { tensors, architecture } = await toPlain(network);
  expect(device.counters.liveBuffers).toBe(liveBuffers);
  const file = decodeSafetensors(encodeSafetensors(tensors, { architecture }));
  expect([...file.tensors].map(([name, { dtype, shape }]) => `${name} ${dtype} ${shape.join("×")}`)).toEqual([
    "0.bias F32 4",
    "0.weight F32 4×1×3×3",
    "4.bias F32 4",
    "4.weight F32 4×4×3×3",
    "8.bias F32 10",
    "8.weight F32 10×4",
  ]); // prettier-ignore
  expect(JSON.parse(file.metadata.architecture).slice(0, 4)).toEqual([
    {
      kind: "conv",
      inputs: 1,
      outputs: 4,
      bias: true,
      kernelSize: [3, 3],
      pads: [
        [0, 0],
        [0, 0],
      ],
    },
    { kind: "norm", eps: 1e-5 },
    { kind: "relu" },
    { kind: "maxPool", size: 2 },
  ]); // prettier-ignore
});

describe("the paper's weights", () => {
  const tensor = (shape: readonly number[], factor: number): HostTensor => {
    const size = shape.reduce((a, b) => a * b, 1);
    return { dtype: "F32", shape, data: Float32Array.from({ length: size }, (_, i) => Math.sin(1 + factor * i * i)) };
  };
  const values = ({ data }: HostTensor): number[] => Array.from(data as Float32Array);

  /** W[o, g, i, n] = Σₘ R[g, n, m] w[o, i, m], with the identity first: the layer's equation, in plain loops. */
  const expanded = async (device: Device, state: Map<string, HostTensor>, [cout, cin, d, g]: readonly number[]): Promise<number[]> => {
    const logits = device.tensor(values(state.get("representations") as HostTensor), [g - 1, d, d]);
    const R = await sinkhorn(logits, { iterations: 20 }).readFloat64();
    const w = values(state.get("weight") as HostTensor);
    const W: number[] = [];
    for (let o = 0; o < cout; o++)
      for (let e = 0; e < g; e++)
        for (let i = 0; i < cin; i++)
          for (let n = 0; n < d; n++) {
            let sum = e === 0 ? w[(o * cin + i) * d + n] : 0;
            if (e > 0) for (let m = 0; m < d; m++) sum += R[((e - 1) * d + n) * d + m] * w[(o * cin + i) * d + m];
            W.push(sum);
          }
    return W;
  };

  it("make the kernels of its equations", async () => {
    await using device = await openDevice({ device: "reference" });
    const init = initializer(device, 1);
    const sizes = { inChannels: 2, outChannels: 3, kernelSize: 3 };
    const common = { ...sizes, elements: 4 };
    for (const [layer, d] of [
      [new WeightSharingLift2d(init, common), 9],
      [new WeightSharingConv2d(init, common), 36],
    ] as const) {
      // prettier-ignore
      const state = new Map([
        ["weight", tensor([3, 2, d], 0.1)],
        ["bias", tensor([3, 1, 1, 1], 2)],
        ["representations", tensor([3, d, d], 0.3)],
      ]); // prettier-ignore
      loadPaperState(layer, new Map([...state].map(([name, value]) => [`layers.0.${name}`, value])), "layers.0.");
      expect(distance(await layer.expandedKernel().readFloat64(), await expanded(device, state, [3, 2, d, 4]))).toBeLessThan(1e-12);
      expect(await layer.bias.read()).toEqual(state.get("bias")?.data);
      const before = await layer.stateDict();
      const refused: [string, HostTensor, RegExp][] = [
        ["representations", tensor([4, d, d], 1), /whose first element is learned too/],
        ["weight", tensor([3, 2, 3, d / 3], 1), /expected shape \[3, 2, /],
        ["bias", tensor([3], 1), /expected shape \[3, 1, 1, 1\] for `state\["bias"\]`, but received \[3\]/],
        ["weight", { ...tensor([3, 2, d], 1), data: new Float32Array(1) }, /values/],
      ];
      for (const [name, value, message] of refused) expect(() => loadPaperState(layer, new Map([...state, [name, value]]))).toThrow(message);
      expect(() => loadPaperState(layer, state, "none.")).toThrow(/a tensor called "none\.weight"/);
      expect(await layer.stateDict()).toEqual(before);
    }
    expect(() => loadPaperState(new Conv2d(init, sizes) as never, new Map())).toThrow(/a WeightSharingLift2d or WeightSharingConv2d/);
  });
});
