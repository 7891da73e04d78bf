/** Real images from a folder of IDX files, each transformed at random by a planted symmetry. */
import { type Batch, batches, type Examples, splitIndices } from "../data/batches.ts";
import { type IdxFolder, loadIdxFolder } from "../data/idx.ts";
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
import { networkEquivariance } from "../symmetry/equivariance.ts";
import { type ImageSettings, type KERNEL_GROUPS, matrixOptions, type NetworkSettings } from "./configuration.ts";
import { respond } from "./evaluate.ts";
import type { Contender, Experiment, LearnedLayer } from "./experiment.ts";

const WHERE = "birkhoff discover";

/** With MNIST's mean and deviation of the pixels, as in the paper's code. */
const normalise = (pixel: number): number => (pixel - 0.1307) / 0.3081;

const TURNS = 4;

/** First stream of the transformations that are drawn step by step. */
const REDRAWN = 1 << 24;

/** Images that are turned to see whether layers turn with them. */
const TURNED_IMAGES = 8;

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

/** Square images, each pixel the mean of the square of pixels that it stands for. */
const averagedDown = ({ images, count, height, width }: IdxFolder, side: number): Pick<IdxFolder, "images" | "height" | "width"> => {
  const window = height / side;
  if (height !== width || !Number.isInteger(window)) throw expected(WHERE, `a divisor of ${height}, the side of square images,`, "data.side", side);
  const small = new Float32Array(count * side * side);
  for (let i = 0; i < images.length; i++) {
    const row = Math.floor(i / width); // of all images, one below the other
    small[Math.floor(row / window) * side + Math.floor((i % width) / window)] += images[i] / window ** 2;
  }
  return { images: small, height: side, width: side };
};

export const imageExperiment = (device: Device, settings: ImageSettings, seed: number, batchSize: number): Experiment => {
  const { folder, transform, maximum, redraw = false, target = "class" } = settings;
  const whole = loadIdxFolder(folder);
  const { count } = whole;
  const { images, height, width: columns } = settings.side === undefined ? whole : averagedDown(whole, settings.side);
  if (target === "classAndTurn" && transform !== "rot90") throw expected(WHERE, '"class" unless quarter turns are planted', "data.target", target);
  const turned = target === "classAndTurn";
  const classes = turned ? TURNS * whole.classes : whole.classes;
  const labelOf = (label: number, parameter: number): number => (turned ? parameter * whole.classes + label : label);
  const heldOut = settings.heldOut ?? Math.min(2000, Math.floor(count / 5));
  const size = height * columns;
  if (heldOut >= count) throw expected(WHERE, `fewer than the ${count} images of the folder`, "data.heldOut", heldOut);
  const random = createRandom(seed, 1000);
  const split = splitIndices(count, heldOut, random, Math.min(settings.train ?? count - heldOut, count - heldOut));
  const transformed = transformImages(images, height, columns, transform, random.stream(1001), maximum);
  const normalised = transformed.images.map(normalise);
  const examples: Examples = { inputs: normalised, labels: whole.labels.map((label, i) => labelOf(label, transformed.parameters[i])), size };
  const source: Examples = redraw ? { inputs: images, labels: whole.labels, size } : examples;
  if (split.train.length < batchSize) throw expected(WHERE, `at most the ${split.train.length} training images`, "training.batchSize", batchSize);

  const contender = (network: NetworkSettings): Contender => {
    const { name, kind, kernelSize = 5, layers = 3, pool = 2, width = 16, hidden = 0, factorised = false, shared = false } = network;
    const set = network.group ? GROUPS[network.group](kernelSize) : plantedSet(transform, kernelSize);
    const elements = network.elements ?? set?.elements.length ?? 4;
    const init = initializer(device, seed);
    if (turned && elements !== TURNS && kind !== "plain") throw expected(WHERE, `${TURNS}, one of each turn,`, "networks.elements", elements);
    const sizes = { kernelSize, layers, pool, width, hidden, ...matrixOptions(network) };
    const common = { ...sizes, ...(turned ? { classes: whole.classes, head: "equivariant" as const } : { classes }) };
    const unshared = (network: DigitNetwork): Contender => ({ name, kind, network, head: network.head, layers: [], stacks: [] });
    if (kind === "plain") {
      // As many parameters as the group network has without its matrices: g·width² = (√g·width)².
      const wide = network.width ?? Math.max(1, Math.round(width * Math.sqrt(elements)));
      return unshared(new DigitNetwork(init, { kind: "none" }, { ...sizes, classes, width: wide }));
    }
    if (kind === "fixed") {
      if (!set) throw expected(WHERE, `a group, which ${transform} does not plant,`, "networks.group", network.group);
      return unshared(new DigitNetwork(init, { kind: "fixed", group: set.elements }, common));
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
    return { name, kind, network: learned, head: learned.head, layers: described, stacks: learned.learnedStacks() };
  };

  const x = device.zeros([batchSize, 1, height, columns]);
  const y = device.zeros([batchSize], "int32");
  const stepsPerEpoch = Math.floor(split.train.length / batchSize);
  const epoch = (n: number): ReturnType<typeof batches> => batches(source, { batchSize, indices: split.train, random: createRandom(seed, 2000 + n) });
  let [pass, next] = [epoch(0), 0];

  const moved = new Float32Array(size);
  const redrawn = ({ inputs, labels }: Batch, step: number): void => {
    const draws = createRandom(seed, REDRAWN + step);
    for (let row = 0; row < batchSize; row++) {
      const image = inputs.subarray(row * size, (row + 1) * size);
      const parameter = randomTransform(transform, draws, maximum);
      image.set(transformImage(image, height, columns, transform, parameter, moved).map(normalise));
      labels[row] = labelOf(labels[row], parameter);
    }
  };

  const logits = (network: Module, inputs: Float32Array, rows: number): Promise<Float32Array> => respond(network, inputs, [rows, 1, height, columns]);

  return {
    name: `${transform} images`,
    description: `${split.train.length} images to train on, ${heldOut} held out, ${height}×${columns}, each transformed at random (${transform})${redraw ? ", anew whenever seen" : ""}${turned ? "; class and turn are to be told" : ""}`,
    stepsPerEpoch,
    contender,
    feed(step) {
      if (step !== next || step % stepsPerEpoch === 0) {
        pass = epoch(Math.floor(step / stepsPerEpoch));
        for (let skipped = 0; skipped < step % stepsPerEpoch; skipped++) pass.next();
      }
      next = step + 1;
      const batch = pass.next().value as Batch;
      if (redraw) redrawn(batch, step);
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
      // Transformed images should give the same logits, or, where turns are to be told, those of the next turns.
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
        const images = new Float32Array(inputs.length);
        for (let i = 0; i < rows; i++)
          transformImage(
            inputs.subarray(i * size, (i + 1) * size),
            height,
            columns,
            transform,
            drawn(parameter),
            images.subarray(i * size, (i + 1) * size),
          );
        const after = await logits(network, images, rows);
        for (let i = 0; i < plain.length; i++) {
          const at = turned ? Math.floor(i / classes) * classes + (((i % classes) + parameter * whole.classes) % classes) : i;
          difference += (after[at] - plain[i]) ** 2;
          total += plain[i] ** 2;
        }
      }
      return Math.sqrt(difference / total);
    },
    async layerEquivariance({ network }, [lifting, ...others]) {
      // Answers that tell turns are to move.
      if (!(network instanceof DigitNetwork) || height !== columns || turned) return [];
      const rows = Math.min(TURNED_IMAGES, heldOut);
      const seen = new Float32Array(rows * size);
      for (let i = 0; i < rows; i++) seen.set(normalised.subarray(split.heldOut[i] * size, (split.heldOut[i] + 1) * size), i * size);
      const images = device.tensor(seen, [rows, 1, height, columns]);
      try {
        // Group axes can be followed where all layers have their elements in the same order.
        const ordered = others.every(({ consistency }) => consistency?.labels.every((label, i) => label === i));
        const group = lifting.result.elements.map((element) => element.nearest);
        return await networkEquivariance(network, images, { degrees: [45, 90, 135, 180], ...(ordered && { group }) });
      } finally {
        images.dispose();
      }
    },
    dispose() {
      x.dispose();
      y.dispose();
    },
  };
};
