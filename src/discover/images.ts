/** Real images from a folder of IDX files, each transformed at random by a planted symmetry. */
import { type Batch, batches, type Examples, splitIndices } from "../data/batches.ts";
import { loadIdxFolder } from "../data/idx.ts";
import { dihedralGroup, flipGroup, type Permutation, type PermutationSet, rotationGroup } from "../data/permutations.ts";
import { createRandom } from "../data/random.ts";
import { plantedSet, randomTransform, transformImage, transformImages } from "../data/transforms.ts";
import type { Device } from "../device.ts";
import { expected } from "../errors.ts";
import { ExpandedConv } from "../nn/expanded.ts";
import { shiftTwist } from "../nn/group.ts";
import { initializer } from "../nn/init.ts";
import type { Module } from "../nn/module.ts";
import { DigitNetwork } from "../nn/networks.ts";
import { softmaxCrossEntropy } from "../ops/crossEntropy/index.ts";
import { type ImageSettings, type KERNEL_GROUPS, matrixOptions, type NetworkSettings } from "./configuration.ts";
import { respond } from "./evaluate.ts";
import type { Contender, Experiment, LearnedLayer } from "./experiment.ts";

const WHERE = "birkhoff discover";

/** MNIST's mean and deviation of the pixels, as the paper's code normalises. */
const [MEAN, DEVIATION] = [0.1307, 0.3081];

/** Examples per forward pass of an evaluation. */
const EVALUATION_BATCH = 200;

/** The group axis of a layer's input comes in the order in which the layer before matched the planted elements. */
const reorder = (planted: readonly Permutation[], matched: readonly (number | undefined)[], pixels: number): readonly Permutation[] => {
  const g = planted.length;
  if (matched.length !== g || matched.includes(undefined)) return planted;
  const order = matched as readonly number[];
  return planted.map((element) =>
    Int32Array.from({ length: g * pixels }, (_, at) => {
      const source = element[order[Math.floor(at / pixels)] * pixels + (at % pixels)];
      return order.indexOf(Math.floor(source / pixels)) * pixels + (source % pixels);
    }),
  );
};

const GROUPS: Readonly<Record<(typeof KERNEL_GROUPS)[number], (k: number) => PermutationSet>> = {
  rot90: rotationGroup,
  flip: flipGroup,
  dihedral: dihedralGroup,
};

export const imageExperiment = (device: Device, settings: ImageSettings, seed: number, batchSize: number): Experiment => {
  const { folder, transform, maximum } = settings;
  const { images, labels, count, height, width: columns, classes } = loadIdxFolder(folder);
  const heldOut = settings.heldOut ?? Math.min(2000, Math.floor(count / 5));
  const size = height * columns;
  if (heldOut >= count) throw expected(WHERE, `fewer than the ${count} images of the folder`, "data.heldOut", heldOut);
  const random = createRandom(seed, 1000);
  const split = splitIndices(count, heldOut, random, Math.min(settings.train ?? count - heldOut, count - heldOut));
  const transformed = transformImages(images, height, columns, transform, random.stream(1001), maximum).images;
  const normalised = transformed.map((pixel) => (pixel - MEAN) / DEVIATION);
  const examples: Examples = { inputs: normalised, labels, size };
  if (split.train.length < batchSize) throw expected(WHERE, `at most the ${split.train.length} training images`, "training.batchSize", batchSize);

  const contender = (network: NetworkSettings): Contender => {
    const { name, kind, kernelSize = 5, layers = 3, pool = 2, width = 16, factorised = false, shared = false } = network;
    const set = network.group ? GROUPS[network.group](kernelSize) : plantedSet(transform, kernelSize);
    const elements = network.elements ?? set?.elements.length ?? 4;
    const init = initializer(device, seed);
    const common = { kernelSize, layers, pool, classes, width, ...matrixOptions(network) };
    if (kind === "plain") {
      // As many parameters as the group network has without its matrices: g·width² = (√g·width)².
      const wide = network.width ?? Math.max(1, Math.round(width * Math.sqrt(elements)));
      return { name, kind, network: new DigitNetwork(init, { kind: "none" }, { ...common, width: wide }), layers: [], stacks: [] };
    }
    if (kind === "fixed") {
      if (!set) throw expected(WHERE, `a group, which ${transform} does not plant,`, "networks.group", network.group);
      return { name, kind, network: new DigitNetwork(init, { kind: "fixed", group: set.elements }, common), layers: [], stacks: [] };
    }
    const learned = new DigitNetwork(init, { kind: "learned", elements, factorised, shared }, common);
    const pixels = kernelSize ** 2;
    const known = set?.elements.length === elements ? set : undefined;
    const described = learned.blocks
      .filter((block) => block instanceof ExpandedConv)
      .map(
        (block, i): LearnedLayer => ({
          name: i === 0 ? "lifting" : `group convolution ${i}`,
          layer: { stack: () => block.action() },
          d: i === 0 ? pixels : elements * pixels,
          layout: i === 0 ? [kernelSize, kernelSize] : [elements * kernelSize, kernelSize],
          indexed: false,
          planted: (matched) => known && (i === 0 ? known : { ...known, elements: reorder(shiftTwist(known.elements), matched, pixels) }),
          ...(i === 0 && { kernels: () => block.expandedKernel() }),
        }),
      );
    return { name, kind, network: learned, layers: described, stacks: learned.learnedStacks() };
  };

  const x = device.zeros([batchSize, 1, height, columns]);
  const y = device.zeros([batchSize], "int32");
  const stepsPerEpoch = Math.floor(split.train.length / batchSize);
  const epoch = (n: number): ReturnType<typeof batches> =>
    batches(examples, { batchSize, indices: split.train, random: createRandom(seed, 2000 + n) });
  let [pass, next] = [epoch(0), 0];

  const logits = (network: Module, inputs: Float32Array, rows: number): Promise<Float32Array> => respond(network, inputs, [rows, 1, height, columns]);

  return {
    name: `${transform} images`,
    description: `${split.train.length} images to train on, ${heldOut} held out, ${height}×${columns}, each transformed at random (${transform})`,
    stepsPerEpoch,
    contender,
    feed(step) {
      if (step !== next || step % stepsPerEpoch === 0) {
        pass = epoch(Math.floor(step / stepsPerEpoch));
        for (let skipped = 0; skipped < step % stepsPerEpoch; skipped++) pass.next();
      }
      next = step + 1;
      const batch = pass.next().value as Batch;
      device.write(x, batch.inputs);
      device.write(y, batch.labels);
    },
    loss: (network) => softmaxCrossEntropy(network.forward(x), y),
    async heldOutAccuracy({ network }, limit = heldOut) {
      const indices = split.heldOut.slice(0, Math.min(limit, heldOut));
      let right = 0;
      for (const batch of batches(examples, { batchSize: Math.min(EVALUATION_BATCH, indices.length), indices, last: "pad" })) {
        const scores = await logits(network, batch.inputs, batch.labels.length);
        for (let row = 0; row < batch.count; row++) {
          const own = scores.subarray(row * classes, (row + 1) * classes);
          if (own.indexOf(Math.max(...own)) === batch.labels[row]) right++;
        }
      }
      return right / indices.length;
    },
    async equivarianceError({ network }) {
      if (transform === "none") return undefined;
      // The networks pool over group and positions: transformed images should give the same logits.
      const rows = Math.min(64, heldOut);
      const inputs = new Float32Array(rows * size);
      for (let i = 0; i < rows; i++) inputs.set(normalised.subarray(split.heldOut[i] * size, (split.heldOut[i] + 1) * size), i * size);
      const plain = await logits(network, inputs, rows);
      // Every quarter turn or the mirror image; of the continuous transformations a random one per image, three times.
      const draws = createRandom(seed, 3000);
      const parameters = transform === "flip" ? [1] : [1, 2, 3];
      const drawn = (choice: number): number => (transform === "flip" || transform === "rot90" ? choice : randomTransform(transform, draws, maximum));
      let difference = 0;
      let total = 0;
      for (const parameter of parameters) {
        const moved = new Float32Array(inputs.length);
        for (let i = 0; i < rows; i++)
          transformImage(
            inputs.subarray(i * size, (i + 1) * size),
            height,
            columns,
            transform,
            drawn(parameter),
            moved.subarray(i * size, (i + 1) * size),
          );
        const turned = await logits(network, moved, rows);
        for (let i = 0; i < plain.length; i++) {
          difference += (turned[i] - plain[i]) ** 2;
          total += plain[i] ** 2;
        }
      }
      return Math.sqrt(difference / total);
    },
    dispose() {
      x.dispose();
      y.dispose();
    },
  };
};
