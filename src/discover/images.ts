/** Images from a folder, or generated ones of the same sizes, each transformed at random by a planted symmetry. */
import { batches } from "../data/batches.ts";
import { createRandom, range } from "../data/random.ts";
import { randomTransform, transformPlanes } from "../data/transforms.ts";
import type { Device } from "../device.ts";
import { expected } from "../errors.ts";
import { SymmetricNetwork } from "../nn/convolutions.ts";
import type { Module } from "../nn/module.ts";
import { softmaxCrossEntropy } from "../ops/crossEntropy/index.ts";
import { networkEquivariance } from "../symmetry/equivariance.ts";
import type { ImageSettings } from "./configuration.ts";
import { respond } from "./evaluate.ts";
import type { Experiment } from "./experiment.ts";
import { imageData, TURNS } from "./imageData.ts";
import { imageContender } from "./imageNetworks.ts";

const WHERE = "birkhoff discover";

/** Images that are turned to see whether layers turn with them. */
const TURNED_IMAGES = 8;

/** Examples per forward pass of an evaluation. */
const EVALUATION_BATCH = 200;

export const imageExperiment = (device: Device, settings: ImageSettings, seed: number, batchSize: number): Experiment => {
  const { transform, maximum, generated = false } = settings;
  const data = imageData(settings, seed);
  const { channels, height, width, train, heldOut, redraw } = data;
  const turned = settings.target === "classAndTurn";
  const classes = turned ? TURNS * data.classes : data.classes;
  const { size } = heldOut;
  const [trainCount, heldOutCount] = [train.labels.length, heldOut.labels.length];
  if (trainCount < batchSize) throw expected(WHERE, `at most the ${trainCount} training images`, "training.batchSize", batchSize);

  const x = device.zeros([batchSize, channels, height, width]);
  const y = device.zeros([batchSize], "int32");
  const stepsPerEpoch = Math.floor(trainCount / batchSize);
  const epoch = (n: number): ReturnType<typeof batches> => batches(train, { batchSize, random: createRandom(seed, 2000 + n) });
  let [pass, next] = [epoch(0), 0];

  const logits = (network: Module, inputs: Float32Array, rows: number): Promise<Float32Array> =>
    respond(network, inputs, [rows, channels, height, width]);

  return {
    name: `${transform} images${generated ? " (generated)" : ""}`,
    description: `${trainCount} ${generated ? "random " : ""}images to train on, ${heldOutCount} held out, ${height}×${width}${channels > 1 ? ` in ${channels} channels` : ""}, each transformed at random (${transform})${redraw ? ", anew whenever seen" : ""}${turned ? "; class and turn are to be told" : ""}`,
    stepsPerEpoch,
    contender: (network) => imageContender(device, seed, settings, data, network),
    feed(step) {
      if (step !== next || step % stepsPerEpoch === 0) {
        pass = epoch(Math.floor(step / stepsPerEpoch));
        for (let skipped = 0; skipped < step % stepsPerEpoch; skipped++) pass.next();
      }
      next = step + 1;
      const batch = pass.next().value;
      redraw?.(batch, step);
      device.write(x, batch.inputs);
      device.write(y, batch.labels);
    },
    loss: (network) => softmaxCrossEntropy(network.forward(x), y),
    async heldOutAccuracy({ network }, limit = heldOutCount) {
      const indices = range(Math.min(limit, heldOutCount));
      let right = 0;
      for (const batch of batches(heldOut, { batchSize: Math.min(EVALUATION_BATCH, indices.length), indices, last: "pad" })) {
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
      const rows = Math.min(64, heldOutCount);
      const inputs = heldOut.inputs.subarray(0, rows * size);
      const plain = await logits(network, inputs, rows);
      // Every quarter turn or the mirror image; of the continuous transformations a random one per image, three times.
      const draws = createRandom(seed, 3000);
      const parameters = transform === "flip" ? [1] : [1, 2, 3];
      const drawn = (choice: number): number => (transform === "flip" || transform === "rot90" ? choice : randomTransform(transform, draws, maximum));
      let difference = 0;
      let total = 0;
      for (const parameter of parameters) {
        const images = new Float32Array(inputs.length);
        for (let at = 0; at < images.length; at += size)
          transformPlanes(inputs.subarray(at, at + size), height, width, transform, drawn(parameter), images.subarray(at, at + size));
        const after = await logits(network, images, rows);
        for (let i = 0; i < plain.length; i++) {
          const at = turned ? Math.floor(i / classes) * classes + (((i % classes) + parameter * data.classes) % classes) : i;
          difference += (after[at] - plain[i]) ** 2;
          total += plain[i] ** 2;
        }
      }
      return Math.sqrt(difference / total);
    },
    async layerEquivariance({ network }, [lifting, ...others]) {
      // Answers that tell turns are to move.
      if (!(network instanceof SymmetricNetwork) || height !== width || turned) return [];
      const rows = Math.min(TURNED_IMAGES, heldOutCount);
      const images = device.tensor(heldOut.inputs.subarray(0, rows * size), [rows, channels, height, width]);
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
