/** The weight-sharing layer as one call: what it computes, its gradients, and that a kept kernel is never that of other parameters. */
import { describe, expect, test } from "vitest";
import type { Device } from "../src/device.ts";
import { zeroGrad } from "../src/grad.ts";
import { noGrad } from "../src/gradMode.ts";
import { initializer } from "../src/nn/init.ts";
import { DigitNetwork } from "../src/nn/networks.ts";
import { normRegularizer } from "../src/nn/regularizers.ts";
import { FactorisedWeightSharingConv2d, WeightSharingConv2d } from "../src/nn/weightSharing.ts";
import { KernelCache, type Sharing, weightSharingConv } from "../src/nn/weightSharingConv.ts";
import type { Shape } from "../src/op.ts";
import { conv2d } from "../src/ops/conv/index.ts";
import { add, mul } from "../src/ops/elementwise/index.ts";
import { expandKernel } from "../src/ops/expandKernel/index.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { reshape } from "../src/ops/shape/index.ts";
import { sinkhorn } from "../src/ops/sinkhorn/index.ts";
import { AdamW } from "../src/optim/adamw.ts";
import { SGD } from "../src/optim/sgd.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";
import { gradcheck } from "../src/testing/gradcheck.ts";
import { testRandom } from "../src/testing/random.ts";
import { KINDS, withDevice } from "./support/devices.ts";

const random = testRandom(7);
const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal());
const filled = (device: Device, shape: Shape): Tensor => device.tensor(numbers(shape.reduce((a, b) => a * b, 1)), shape);
const values = async (make: () => Tensor): Promise<number[]> => {
  using y = scope(make);
  return [...(await y.read())];
};

interface Setting {
  readonly name: string;
  readonly x: Shape;
  readonly w: Shape;
  /** Shapes of the logits: one for dense matrices, two for factors. */
  readonly logits: readonly Shape[];
  readonly identity?: boolean;
}

const settings: readonly Setting[] = [
  { name: "lifting", x: [2, 2, 5, 6], w: [3, 2, 3, 3], logits: [[3, 9, 9]] },
  { name: "lifting, one element", x: [1, 1, 4, 4], w: [2, 1, 2, 2], logits: [[0, 4, 4]] },
  { name: "lifting, one pixel, no identity", x: [2, 2, 3, 3], w: [2, 2, 1, 1], logits: [[2, 1, 1]], identity: false },
  { name: "lifting, no images", x: [0, 2, 4, 4], w: [2, 2, 2, 2], logits: [[2, 4, 4]] },
  { name: "group", x: [1, 2, 3, 5, 5], w: [2, 2, 3, 2, 2], logits: [[2, 12, 12]] },
  { name: "group, no images", x: [0, 2, 2, 4, 4], w: [1, 2, 2, 2, 2], logits: [[1, 8, 8]] },
  {
    name: "group, factorised",
    x: [2, 2, 3, 5, 5],
    w: [2, 2, 3, 2, 2],
    logits: [
      [2, 3, 3],
      [2, 4, 4],
    ],
  },
  {
    name: "group of one, factorised",
    x: [1, 2, 1, 4, 4],
    w: [2, 2, 1, 3, 3],
    logits: [
      [1, 1, 1],
      [1, 9, 9],
    ],
    identity: false,
  },
];

const sharingOf = (logits: readonly Tensor[]): Sharing => (logits.length === 1 ? logits[0] : { group: logits[0], space: logits[1] });

describe.each(KINDS)("%s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  // A software GPU takes seconds to compile what a new shape needs.
  const few = kind === "webgpu";

  test.each(few ? settings.slice(4, 7) : settings)("$name: as its parts", async ({ x: xShape, w: wShape, logits: shapes, identity = true }) => {
    using x = filled(device, xShape);
    using w = filled(device, wShape);
    using bias = filled(device, [wShape[0]]);
    const logits = shapes.map((shape) => filled(device, shape));
    const P = logits.map((one) => sinkhorn(one, { iterations: 7, temperature: 0.5 }));
    const got = await values(() => weightSharingConv(x, sharingOf(logits), w, { bias, identity, iterations: 7, temperature: 0.5, padding: 1 }));
    const want = await values(() => {
      const kernel = expandKernel(sharingOf(P), w, { identity });
      const group = kernel.shape[0] / wShape[0];
      const y = conv2d(reshape(x, [xShape[0], kernel.shape[1], ...xShape.slice(-2)]), kernel, { padding: 1 });
      return add(reshape(y, [xShape[0], wShape[0], group, ...y.shape.slice(2)]), reshape(bias, [wShape[0], 1, 1, 1]));
    });
    expect(got.length).toBe(want.length);
    got.forEach((value, i) => {
      expect(Math.abs(value - want[i])).toBeLessThan(1e-5);
    });
    for (const tensor of [...logits, ...P]) tensor.dispose();
  });

  test("while the parameters stay as they are, a call is a convolution", async () => {
    using x = filled(device, [1, 2, 2, 4, 4]);
    using w = filled(device, [2, 2, 2, 2, 2]);
    using bias = filled(device, [2]);
    using logits = filled(device, [1, 8, 8]);
    using kernel = filled(device, [4, 4, 2, 2]);
    using every = filled(device, [4]);
    using cache = new KernelCache();
    const dispatches = (run: () => Tensor): number => {
      const before = device.counters.dispatches;
      noGrad(() => scope(() => void run()));
      return device.counters.dispatches - before;
    };
    const convolution = dispatches(() => conv2d(reshape(x, [1, 4, 4, 4]), kernel, { bias: every }));
    const call = (): Tensor => weightSharingConv(x, logits, w, { bias, cache });
    // Sinkhorn, expansion, the bias of every element.
    expect(dispatches(call)).toBe(convolution + 3);
    expect(dispatches(call)).toBe(convolution);
    expect(dispatches(call)).toBe(convolution);
    device.write(bias, numbers(2));
    expect(dispatches(call)).toBe(convolution + 1);
    device.write(w, numbers(32));
    expect(dispatches(call)).toBe(convolution + 2);
    await device.synchronize();
  });

  test("what was kept is never that of other parameters", async () => {
    const logits = filled(device, [2, 8, 8]);
    const w = filled(device, [2, 1, 2, 2, 2]);
    const bias = filled(device, [2]);
    using x = filled(device, [1, 1, 2, 3, 3]);
    using other = filled(device, [2, 8, 8]);
    const parameters = [logits, w, bias];
    for (const parameter of parameters) parameter.requiresGrad = true;
    using adam = new AdamW(parameters, { lr: 0.1 });
    using sgd = new SGD(parameters, { lr: 0.1, momentum: 0.5 });
    using cache = new KernelCache();
    let temperature = 1;
    let current = logits;
    const call = (own?: KernelCache): Tensor => weightSharingConv(x, current, w, { bias, temperature, iterations: 5, ...(own && { cache: own }) });
    const train = (optimizer: AdamW | SGD): void => {
      scope(() => {
        const y = call(cache);
        sum(mul(y, y)).backward();
      });
      optimizer.step();
      zeroGrad(parameters);
    };
    const steps: (() => void)[] = [
      () => train(adam),
      () => train(sgd),
      () => device.write(logits, numbers(128)),
      () => device.write(w, numbers(16)),
      () => device.write(bias, numbers(2)),
      () => device.write(logits.detach(), numbers(128)),
      () => {
        temperature = 1.5 - temperature;
      },
      () => {
        current = current === logits ? other : logits;
      },
      () => cache.dispose(),
      () => undefined,
    ];
    let before: number[] = [];
    let changed = 0;
    for (let i = 0; i < (few ? 20 : 60); i++) {
      scope(() => steps[Math.floor(random.uniform() * steps.length)]());
      const got = await values(() => noGrad(() => call(cache)));
      expect(got, `step ${i}`).toEqual(await values(() => noGrad(() => call())));
      if (got.join() !== before.join()) changed++;
      before = got;
    }
    expect(changed).toBeGreaterThan(few ? 6 : 20);
    for (const parameter of parameters) parameter.dispose();
  });

  test("broken logits are told again at every read", async () => {
    using x = device.ones([1, 1, 3, 3]);
    using w = device.ones([1, 1, 2, 2]);
    using logits = device.full([1, 4, 4], Number.NaN);
    using cache = new KernelCache();
    const call = (): Tensor => noGrad(() => weightSharingConv(x, logits, w, { cache }));
    for (let i = 0; i < 3; i++) await expect(values(call)).rejects.toThrow("sinkhorn: expected finite numbers for `logits`");
    device.write(logits, new Float32Array(16));
    expect((await values(call))[0]).toBeCloseTo(4, 5);
  });

  test("frozen parameters: the kept kernel passes gradients on to x", async () => {
    using x = filled(device, [1, 1, 3, 3]);
    using w = filled(device, [1, 1, 2, 2]);
    using logits = filled(device, [1, 4, 4]);
    x.requiresGrad = true;
    using cache = new KernelCache();
    const gradients: number[][] = [];
    for (const options of [{ cache }, { cache }, {}]) {
      scope(() => sum(weightSharingConv(x, logits, w, options)).backward());
      gradients.push([...(await (x.grad as Tensor).read())]);
      zeroGrad([x]);
    }
    expect(gradients[1]).toEqual(gradients[0]);
    expect(gradients[2]).toEqual(gradients[0]);
  });

  test("layers keep their kernel in evaluation, free it in training and with themselves", async () => {
    const init = initializer(device, 3);
    const options = { inChannels: 1, outChannels: 2, kernelSize: 2, elements: 3 };
    using x = device.ones([1, 1, 3, 4, 4]);
    const live = device.counters.liveBuffers;
    for (const Layer of [WeightSharingConv2d, FactorisedWeightSharingConv2d]) {
      const layer = new Layer(init, options);
      const parameters = device.counters.liveBuffers;
      const first = await values(() => noGrad(() => layer.forward(x)));
      // The kernel, and the bias of every element.
      expect(device.counters.liveBuffers).toBe(parameters + 2);
      expect(await values(() => noGrad(() => layer.forward(x)))).toEqual(first);
      expect((await values(() => layer.forward(x))).length).toBe(first.length);
      expect(device.counters.liveBuffers).toBe(parameters);
      await values(() => noGrad(() => layer.forward(x)));
      layer.dispose();
      expect(device.counters.liveBuffers).toBe(live);
      expect(() => noGrad(() => layer.forward(x))).toThrow(/expected a live tensor/);
    }
  });
});

describe("on the reference", () => {
  let device: Device;
  withDevice("reference", (opened) => {
    device = opened;
  });

  test.each(settings.filter(({ x, logits }) => x[0] > 0 && logits[0][0] > 0))("$name: gradients by finite differences", async (setting) => {
    const { x, w, logits, identity = true } = setting;
    const inputs = [x, w, [w[0]], ...logits].map((shape) => filled(device, shape));
    for (const input of inputs) input.requiresGrad = true;
    const run = (image: Tensor, kernel: Tensor, bias: Tensor, ...rest: Tensor[]): Tensor =>
      weightSharingConv(image, sharingOf(rest), kernel, { bias, identity, iterations: 4, padding: "same" });
    const check = await gradcheck(run, inputs, { samples: 16 });
    expect(check.passed, JSON.stringify(check)).toBe(true);
    for (const input of inputs) input.dispose();
  });

  test("a network with factorised group layers learns both factors", async () => {
    using network = new DigitNetwork(
      initializer(device, 4),
      { kind: "learned", elements: 3, factorised: true },
      { width: 2, kernelSize: 2, layers: 3 },
    );
    expect(network.learnedStacks().length).toBe(1 + 2 * 2);
    expect(network.parameterCount).toBe(3 * 2 + 2 * 4 + 2 * (4 * 3 * 4) + 2 * 16 + 2 * 2 * (9 + 16) + 2 * 10 + 10);
    using x = filled(device, [2, 1, 6, 6]);
    scope(() => {
      const y = network.forward(x);
      add(sum(mul(y, y)), normRegularizer(network.learnedStacks())).backward();
    });
    for (const [name, parameter] of network.namedParameters()) {
      const gradient = await (parameter.grad as Tensor).read();
      expect(
        gradient.some((value) => value !== 0),
        name,
      ).toBe(true);
    }
  });

  const z = (...shape: number[]): Tensor => device.zeros(shape);
  const where = "weightSharingConv: expected";
  test.each([
    [() => weightSharingConv(1 as never, z(1, 4, 4), z(1, 1, 2, 2)), "a tensor for `x`, but received 1"],
    [
      () => weightSharingConv(z(1, 1, 3, 3), z(1, 4, 4), z(1, 1, 4)),
      "shape [Cout, Cin, k, k] or [Cout, Cin, g_in, k, k] for `w`, but received [1, 1, 4]",
    ],
    [() => weightSharingConv(z(1, 2, 3, 3), z(1, 4, 4), z(1, 1, 2, 2)), "shape [B, 1, H, W] for `x`, but received [1, 2, 3, 3]"],
    [() => weightSharingConv(z(1, 1, 3, 3), z(1, 8, 8), z(1, 1, 2, 2, 2)), "shape [B, 1, 2, H, W] for `x`, but received [1, 1, 3, 3]"],
    [() => weightSharingConv(z(1, 1, 3, 3), z(1, 4, 5), z(1, 1, 2, 2)), "shape [matrices, 4, 4] for `logits`, but received [1, 4, 5]"],
    [
      () => weightSharingConv(z(1, 1, 3, 3), 2 as never, z(1, 1, 2, 2)),
      "a tensor, or an object with `group` and `space`, for `logits`, but received 2",
    ],
    [
      () => weightSharingConv(z(1, 1, 2, 3, 3), { group: z(1, 4, 4), space: z(1, 2, 2) }, z(1, 1, 2, 2, 2)),
      "shape [matrices, 2, 2] for `logits.group`, but received [1, 4, 4]",
    ],
    [
      () => weightSharingConv(z(1, 1, 2, 3, 3), { group: z(1, 2, 2), space: z(1, 2, 2) }, z(1, 1, 2, 2, 2)),
      "shape [matrices, 4, 4] for `logits.space`, but received [1, 2, 2]",
    ],
    [() => weightSharingConv(z(1, 1, 3, 3), z(1, 4, 4), z(1, 1, 2, 2), { bias: z(2) }), "shape [1] for `bias`, but received [2]"],
    [
      () => weightSharingConv(z(1, 1, 3, 3), z(1, 4, 4), z(1, 1, 2, 2), { iterations: 0 }),
      "an integer of at least 1 for `iterations`, but received 0",
    ],
    [() => weightSharingConv(z(1, 1, 3, 3), z(1, 4, 4), z(1, 1, 2, 2), { cache: {} as never }), "a KernelCache for `cache`"],
  ] as const)("wrong call %#", (run, message) => {
    scope(() => {
      expect(run).toThrow(`${where} ${message}`);
    });
  });

  test("options that are no object are refused by name", () => {
    scope(() => {
      const call = (): unknown => weightSharingConv(z(1, 1, 8, 8), z(1, 9, 9), z(1, 1, 3, 3), null as never);
      expect(call).toThrow("weightSharingConv: expected an object for `options`");
    });
  });

  test("a call that throws leaves nothing behind", () => {
    const before = device.counters.liveBuffers;
    scope(() => {
      expect(() => noGrad(() => weightSharingConv(z(1, 1, 2, 2), z(1, 9, 9), z(1, 1, 3, 3)))).toThrow(/kernel whose dilated/);
    });
    expect(device.counters.liveBuffers).toBe(before);
  });
});
