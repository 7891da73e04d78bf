/** Images that nobody took, in the sizes of data sets that everybody has: to run what the data set would be run with where it is not there. */
import type { LabelledImages } from "./folder.ts";
import { createRandom } from "./random.ts";

/** Formats of folders of images, with the sizes of what comes in them: MNIST's and CIFAR-10's. */
export const IMAGE_FORMATS = {
  idx: { channels: 1, height: 28, width: 28, classes: 10, count: 70_000, training: 60_000 },
  cifar10: { channels: 3, height: 32, width: 32, classes: 10, count: 60_000, training: 50_000 },
} as const satisfies Readonly<Record<string, Omit<LabelledImages, "images" | "labels">>>;

export type ImageFormat = keyof typeof IMAGE_FORMATS;

/** Of random numbers; the first ones are the classes' pictures. */
const NOISE = 1;

/**
 * Random images, the same ones every time: each is the mean of its class's picture and noise, both uniform in [0, 1) in every pixel, so that there is something to learn. Classes come
 * by turns.
 *
 * @param count how many in all; beyond the format's own number of training images they are there to test with
 */
export const generatedImages = (format: ImageFormat, count: number = IMAGE_FORMATS[format].count): LabelledImages => {
  const { channels, height, width, classes, training } = IMAGE_FORMATS[format];
  const size = channels * height * width;
  const pictures = Float32Array.from({ length: classes * size }, createRandom(0).uniform);
  const { uniform } = createRandom(0, NOISE);
  const images = new Float32Array(count * size);
  for (let i = 0; i < images.length; i++) images[i] = (pictures[i % pictures.length] + uniform()) / 2;
  const labels = Int32Array.from({ length: count }, (_, i) => i % classes);
  return { images, labels, count, channels, height, width, classes, training: Math.min(count, training) };
};
