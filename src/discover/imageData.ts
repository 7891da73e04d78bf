/** Which images train a network and which are held out, and how it sees them. */
import { type Batch, type Examples, type Split, splitIndices } from "../data/batches.ts";
import { isCifar10, loadCifar10Folder } from "../data/cifar.ts";
import { type LabelledImages, namesIn } from "../data/folder.ts";
import { generatedImages, type ImageFormat } from "../data/generatedImages.ts";
import { loadIdxFolder } from "../data/idx.ts";
import { createRandom, range, shuffle } from "../data/random.ts";
import { randomTransform, transformPlanes } from "../data/transforms.ts";
import { expected } from "../errors.ts";
import type { ImageSettings } from "./configuration.ts";

const WHERE = "birkhoff discover";

/** Which of the four turns comes first, then which class. */
export const TURNS = 4;

/** First stream of the transformations that are drawn step by step. */
const REDRAWN = 1 << 24;

/** Mean and deviation of the pixels of each channel, of MNIST's training images as in the paper's code, and of CIFAR-10's. */
const NORMALISATION: Readonly<Record<ImageFormat, readonly (readonly [mean: number, deviation: number])[]>> = {
  idx: [[0.1307, 0.3081]],
  cifar10: [
    [0.4914, 0.247],
    [0.4822, 0.2435],
    [0.4465, 0.2616],
  ],
};

export interface ImageData {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Of what is in the images, whichever way they are turned. */
  readonly classes: number;
  /** What trains, as networks see it, or, where transformations are drawn anew, as it is. */
  readonly train: Examples;
  /** As networks see it, in random order. */
  readonly heldOut: Examples;
  /** Draws the transformations of the batch of a step anew; undefined where they stay. */
  readonly redraw: ((batch: Batch, step: number) => void) | undefined;
}

type Source = LabelledImages & { readonly format: ImageFormat };

const sourceOf = ({ folder, format, generated, train, heldOut }: ImageSettings): Source => {
  if (generated) {
    const kind = format ?? "idx";
    const count = typeof heldOut === "number" && train !== undefined ? train + heldOut : undefined;
    return { format: kind, ...generatedImages(kind, count) };
  }
  const kind = format ?? (isCifar10(namesIn(WHERE, folder)) ? "cifar10" : "idx");
  return { format: kind, ...(kind === "cifar10" ? loadCifar10Folder(folder) : loadIdxFolder(folder)) };
};

/** Square images, each pixel the mean of the square of pixels that it stands for. */
const averagedDown = (source: Source, side: number): Source => {
  const { images, count, channels, height, width } = source;
  const window = height / side;
  if (height !== width || !Number.isInteger(window)) throw expected(WHERE, `a divisor of ${height}, the side of square images,`, "data.side", side);
  const small = new Float32Array(count * channels * side * side);
  for (let i = 0; i < images.length; i++) {
    const row = Math.floor(i / width); // of all planes, one below the other
    small[Math.floor(row / window) * side + Math.floor((i % width) / window)] += images[i] / window ** 2;
  }
  return { ...source, images: small, height: side, width: side };
};

const splitOf = ({ count, training }: Source, { train, heldOut = Math.min(2000, Math.floor(count / 5)) }: ImageSettings, seed: number): Split => {
  const random = createRandom(seed, 1000);
  if (heldOut === "test") {
    if (training === 0 || training === count)
      throw expected(WHERE, "a number, where there are not both training and test files,", "data.heldOut", heldOut);
    const shuffled = (from: number, to: number): Int32Array => shuffle(range(to - from), random).map((i) => from + i);
    return { train: shuffled(0, training).slice(0, train), heldOut: shuffled(training, count) };
  }
  if (heldOut >= count) throw expected(WHERE, `fewer than the ${count} images of the folder`, "data.heldOut", heldOut);
  return splitIndices(count, heldOut, random, Math.min(train ?? count - heldOut, count - heldOut));
};

/** Puts an image as a network sees it into `out`, transformed by a parameter. */
type Show = (image: Float32Array, parameter: number, out: Float32Array) => void;
/** What is to be told of an image that was transformed by a parameter. */
type LabelOf = (label: number, parameter: number) => number;

// Made apart from the images as they were read, which need not stay.

const showing = ({ format, height, width }: Source, { transform }: ImageSettings): Show => {
  const plane = height * width;
  return (image, parameter, out) => {
    transformPlanes(image, height, width, transform, parameter, out);
    for (const [channel, [mean, deviation]] of NORMALISATION[format].entries())
      for (let i = channel * plane; i < (channel + 1) * plane; i++) out[i] = (out[i] - mean) / deviation;
  };
};

const labelling = ({ classes }: Source, { target = "class" }: ImageSettings): LabelOf =>
  target === "classAndTurn" ? (label, parameter) => parameter * classes + label : (label) => label;

const redrawing = (size: number, { transform, maximum }: ImageSettings, seed: number, show: Show, labelOf: LabelOf): ImageData["redraw"] => {
  const seen = new Float32Array(size);
  return ({ inputs, labels }, step) => {
    const random = createRandom(seed, REDRAWN + step);
    for (let row = 0; row < labels.length; row++) {
      const image = inputs.subarray(row * size, (row + 1) * size);
      const parameter = randomTransform(transform, random, maximum);
      show(image, parameter, seen);
      image.set(seen);
      labels[row] = labelOf(labels[row], parameter);
    }
  };
};

/** Reads or makes the images of an experiment. What is random is a function of the seed. */
export const imageData = (settings: ImageSettings, seed: number): ImageData => {
  const { transform, maximum, redraw = false, side, target = "class" } = settings;
  const read = sourceOf(settings);
  const source = side === undefined ? read : averagedDown(read, side);
  if (target === "classAndTurn" && transform !== "rot90") throw expected(WHERE, '"class" unless quarter turns are planted', "data.target", target);
  const { images, labels, channels, height, width, classes, count } = source;
  const size = channels * height * width;
  const split = splitOf(source, settings, seed);
  const draws = createRandom(seed, 1001);
  // float32, so that the parameter that labels tell is the one that was used.
  const parameters = Float32Array.from({ length: count }, () => randomTransform(transform, draws, maximum));
  const [show, labelOf] = [showing(source, settings), labelling(source, settings)];

  const examples = (indices: Int32Array, put: Show, labelled: LabelOf): Examples => {
    const inputs = new Float32Array(indices.length * size);
    for (const [row, i] of indices.entries())
      put(images.subarray(i * size, (i + 1) * size), parameters[i], inputs.subarray(row * size, (row + 1) * size));
    return { inputs, labels: indices.map((i) => labelled(labels[i], parameters[i])), size };
  };
  return {
    channels,
    height,
    width,
    classes,
    train: redraw
      ? examples(
          split.train,
          (image, _, out) => out.set(image),
          (label) => label,
        )
      : examples(split.train, show, labelOf),
    heldOut: examples(split.heldOut, show, labelOf),
    redraw: redraw ? redrawing(size, settings, seed, show, labelOf) : undefined,
  };
};
