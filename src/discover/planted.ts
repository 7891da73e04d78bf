/** Generated task: a student with learned matrices fits the responses of a teacher whose kernels are permuted prototypes. */
import { compose, equalPermutations, inverse, permute } from "../data/permutations.ts";
import { plantedTask } from "../data/planted.ts";
import { createRandom } from "../data/random.ts";
import type { Device } from "../device.ts";
import { expected } from "../errors.ts";
import { GroupLinear } from "../nn/group.ts";
import { type Initializer, initializer } from "../nn/init.ts";
import { Linear } from "../nn/layers.ts";
import type { Module } from "../nn/module.ts";
import { WeightSharingLinear } from "../nn/weightSharingLinear.ts";
import { add, mul, square, sub } from "../ops/elementwise/index.ts";
import { linear } from "../ops/matmul/index.ts";
import { normal } from "../ops/random/index.ts";
import { mean } from "../ops/reduce/index.ts";
import { reshape } from "../ops/shape/index.ts";
import type { Tensor } from "../tensor.ts";
import { type GeneratedSettings, matrixOptions, type NetworkKind, type NetworkSettings } from "./configuration.ts";
import { respond } from "./evaluate.ts";
import type { Contender, Experiment, LearnedLayer } from "./experiment.ts";

const HELD_OUT = 1000;
/** What only networks for images can be told. */
const IMAGES_ONLY = [
  "elements",
  "group",
  "architecture",
  "dropout",
  "width",
  "kernelSize",
  "layers",
  "pool",
  "hidden",
  "factorised",
  "shared",
] as const;

export const plantedExperiment = (device: Device, settings: GeneratedSettings, seed: number, batchSize: number): Experiment => {
  const { symmetry, size, prototypes, noise } = settings;
  const optional = { ...(size !== undefined && { size }), ...(prototypes !== undefined && { prototypes }) };
  const task = plantedTask(symmetry, { seed, noise, ...optional });
  const { d, prototypeCount: kernels, group, elements, layout } = task;
  const mixed = task.pairs.some(([a, b]) => a !== b);

  const networks: Readonly<Record<NetworkKind, (init: Initializer, settings: NetworkSettings) => Pick<Contender, "network" | "layers" | "stacks">>> =
    {
      learned: (init, network) => {
        const layer = new WeightSharingLinear(init, { features: d, kernels, elements, ...matrixOptions(network) });
        const learned: LearnedLayer = {
          name: "matrices",
          layer: layer.matrices,
          d,
          planted: () => group,
          base: { set: task.base, weights: task.weights },
          indexed: group !== undefined,
          ...(layout && { layout, kernels: () => reshape(layer.matrices.forward(layer.weight), [-1, ...layout]) }),
        };
        return { network: layer, layers: [learned], stacks: layer.stacks };
      },
      plain: (init) => ({ network: new Linear(init, d, kernels * elements), layers: [], stacks: [] }),
      fixed: (init) => {
        if (!group) throw expected("birkhoff discover", "data of a whole group of permutations for a fixed network", "data.symmetry", symmetry);
        return { network: new GroupLinear(init, { kernels, set: group.elements }), layers: [], stacks: [] };
      },
    };

  const x = device.zeros([batchSize, d]);
  const choices = device.zeros([batchSize, 1, elements]);
  const [first, second] = task.kernels.map((values) => device.tensor(values, [kernels * elements, d]));
  const signals = task.signals(batchSize, 0);
  let at = 0;
  const heldOut = task.classification(HELD_OUT);

  /** The teacher's, [B, C·g]. Noise is new in every step. */
  const answers = (): Tensor => {
    const shape = [batchSize, kernels, elements];
    const own = reshape(linear(x, first), shape);
    const mean = mixed ? add(own, mul(choices, sub(reshape(linear(x, second), shape), own))) : own;
    const clean = reshape(mean, [batchSize, kernels * elements]);
    return noise > 0 ? add(clean, normal(device, clean.shape, { seed, stream: at, std: noise })) : clean;
  };

  /** The network's answers to signals [count, d]: [count, C·g]. */
  const responses = (network: Module, signals: Float32Array): Promise<Float32Array> => respond(network, signals, [signals.length / d, d]);

  return {
    name: symmetry,
    description: `${kernels} prototypes of ${d} values, each seen through ${elements} ${mixed ? "mixtures of elements" : "elements"} of ${task.base.name}`,
    stepsPerEpoch: 100,
    contender(network) {
      for (const option of IMAGES_ONLY)
        if (network[option] !== undefined) throw expected("birkhoff discover", "it with images alone", `networks.${option}`, network[option]);
      return { name: network.name, kind: network.kind, ...networks[network.kind](initializer(device, seed), network) };
    },
    feed(step) {
      at = step;
      task.signals(batchSize, step, signals);
      device.write(x, signals.x);
      if (mixed) device.write(choices, signals.choices);
    },
    loss: (network) => mean(square(sub(network.forward(x), answers()))),
    async heldOutAccuracy({ network }, limit = HELD_OUT) {
      // Nearest learned kernel: |x − k|² without the common |x|².
      const unit = new Float32Array(d * d);
      for (let i = 0; i < d; i++) unit[i * d + i] = 1;
      const zero = await responses(network, new Float32Array(d));
      const columns = await responses(network, unit);
      const outputs = kernels * elements;
      const norms = new Float64Array(outputs);
      for (let i = 0; i < d; i++) for (let o = 0; o < outputs; o++) norms[o] += (columns[i * outputs + o] - zero[o]) ** 2;
      const count = Math.min(limit, HELD_OUT);
      // Matrices that stand for several elements have much in common: only the prototype counts.
      const alike = mixed ? elements : 1;
      const scores = await responses(network, heldOut.x.subarray(0, count * d));
      let right = 0;
      for (let row = 0; row < count; row++) {
        let best = 0;
        let bestScore = Number.NEGATIVE_INFINITY;
        for (let o = 0; o < outputs; o++) {
          const score = scores[row * outputs + o] - zero[o] - norms[o] / 2;
          if (score > bestScore) [best, bestScore] = [o, score];
        }
        if (Math.floor(best / alike) === Math.floor(heldOut.labels[row] / alike)) right++;
      }
      return right / count;
    },
    async equivarianceError({ network }) {
      if (!group) return undefined;
      // f(ρ_h x)[c, g] = f(x)[c, h⁻¹g] for every g whose partner is in the set.
      const random = createRandom(seed, 99);
      const count = 64;
      const signals = Float32Array.from({ length: count * d }, () => random.normal());
      const plain = await responses(network, signals);
      let difference = 0;
      let total = 0;
      for (const [h, element] of group.elements.entries()) {
        const back = inverse(element);
        if (h === 0) continue;
        const partners = group.elements.map((g) => group.elements.findIndex((other) => equalPermutations(other, compose(back, g))));
        const moved = new Float32Array(signals.length);
        for (let i = 0; i < count; i++) permute(signals.subarray(i * d, (i + 1) * d), element, moved.subarray(i * d, (i + 1) * d));
        const turned = await responses(network, moved);
        for (let i = 0; i < plain.length; i++) {
          const g = i % elements;
          const partner = partners[g];
          if (partner < 0) continue;
          const expectedValue = plain[i - g + partner];
          difference += (turned[i] - expectedValue) ** 2;
          total += expectedValue ** 2;
        }
      }
      return total > 0 ? Math.sqrt(difference / total) : 0;
    },
    dispose() {
      for (const tensor of [x, choices, first, second]) tensor.dispose();
    },
  };
};
