/** Every encoder joined with every decoder, without training, and how spread out classes are. */
import type { Device } from "../device.ts";
import { noGrad } from "../gradMode.ts";
import { matmul } from "../ops/matmul/index.ts";
import { concat, slice } from "../ops/shape/index.ts";
import { zeroPersistence } from "../ops/zeroPersistence/index.ts";
import { fitAlignment } from "../relative/alignment.ts";
import { classificationScores } from "../relative/scores.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { rowsOf, type StitchData } from "./data.ts";
import { described, type Rung } from "./ladder.ts";
import type { Pair } from "./train.ts";

/** Of one encoder with one decoder, on held-out rows. */
export interface Scores {
  readonly accuracy: number;
  readonly f1: number;
  readonly mae: number;
}

/** Rows of latents and of what decoders read, host-side. */
interface Encoded {
  readonly latents: Float32Array;
  readonly width: number;
  readonly features: Float32Array;
  readonly featureWidth: number;
  /** [K, width] */
  readonly anchors: Float32Array;
}

const ROWS = 1024;

/** What an encoder and the rung's projection make of rows, in portions, so that memory does not grow with their number. */
const encode = async (device: Device, pair: Pair, rung: Rung, indices: Int32Array): Promise<Encoded> => {
  const anchors = noGrad(() => scope(() => pair.encoder.forward(pair.anchorRows)));
  try {
    const parts: { latents: Float32Array; features: Float32Array }[] = [];
    let [width, featureWidth] = [0, 0];
    for (let from = 0; from < indices.length; from += ROWS) {
      const rows = indices.subarray(from, from + ROWS);
      const [latents, features] = noGrad(() =>
        scope(() => {
          const x = device.tensor(rowsOf(pair.view, rows), [rows.length, pair.view.size]);
          const z = pair.encoder.forward(x);
          return [z, described(rung, z, anchors)] as const;
        }),
      );
      [width, featureWidth] = [latents.shape[1], features.shape[1]];
      parts.push({ latents: (await latents.read()) as Float32Array, features: (await features.read()) as Float32Array });
      if (features !== latents) features.dispose();
      latents.dispose();
    }
    const joined = (name: "latents" | "features"): Float32Array => {
      const all = new Float32Array(parts.reduce((length, part) => length + part[name].length, 0));
      let at = 0;
      for (const part of parts) {
        all.set(part[name], at);
        at += part[name].length;
      }
      return all;
    };
    return { latents: joined("latents"), width, features: joined("features"), featureWidth, anchors: (await anchors.read()) as Float32Array };
  } finally {
    anchors.dispose();
  }
};

/** Zero columns behind too few of them; those too many are left out. */
const fitted = (x: Tensor, columns: number): Tensor => {
  const [rows, own] = x.shape;
  if (own === columns) return x;
  return own > columns ? slice(x, { axis: -1, start: 0, end: columns }) : concat([x, x.device.zeros([rows, columns - own])], -1);
};

/** The class of the largest score of each row. */
const largest = (scores: ArrayLike<number>, classes: number): Int32Array =>
  Int32Array.from({ length: scores.length / classes }, (_, row) => {
    let best = 0;
    for (let c = 1; c < classes; c++) if (scores[row * classes + c] > scores[row * classes + best]) best = c;
    return best;
  });

/**
 * Scores of encoder e with decoder d in row e and column d; on the diagonal they were trained together. Decoders of another width than the latents get them cut off or
 * filled up with zeros; "procrustes" turns latents by what the anchors say first.
 */
export const stitchAll = async (device: Device, data: StitchData, pairs: readonly Pair[], rung: Rung, indices: Int32Array): Promise<Scores[][]> => {
  const encoded: Encoded[] = [];
  for (const pair of pairs) encoded.push(await encode(device, pair, rung, indices));
  const labels = Int32Array.from(indices, (index) => data.labels[index]);
  const joined = async (e: number, d: number): Promise<Scores> => {
    const { features, featureWidth, anchors, width } = encoded[e];
    const translated = rung.trainedAs !== undefined && e !== d;
    const scores = noGrad(() =>
      scope(() => {
        let x = device.tensor(features, [indices.length, featureWidth]);
        if (translated) {
          const target = encoded[d];
          const count = anchors.length / width;
          const map = fitAlignment({ shape: [count, width], data: anchors }, { shape: [count, target.width], data: target.anchors });
          x = matmul(x, device.tensor(map.weight.data, map.weight.shape), { bias: device.tensor(map.bias) });
        }
        return pairs[d].decoder.forward(fitted(x, encoded[d].featureWidth));
      }),
    );
    const { accuracy, f1, mae } = classificationScores(labels, largest(await scores.read(), data.classes), { classes: data.classes });
    scores.dispose();
    return { accuracy, f1, mae };
  };
  const table: Scores[][] = [];
  for (const e of pairs.keys()) {
    table.push([]);
    for (const d of pairs.keys()) table[e].push(await joined(e, d));
  }
  return table;
};

/** Death times of classes, before and after the projection. */
export interface Deaths {
  readonly pre: Float32Array;
  readonly post: Float32Array;
}

/** Death times in clouds of `samples` rows of each class: rows come class after class. */
export const deathTimes = async (device: Device, pair: Pair, rung: Rung, rows: Int32Array, samples: number): Promise<Deaths> => {
  const { latents, width, features, featureWidth } = await encode(device, pair, rung, rows);
  const clouds = rows.length / samples;
  const deaths = async (values: Float32Array, columns: number): Promise<Float32Array> => {
    const result = noGrad(() =>
      scope(() => {
        const { deaths: times } = zeroPersistence(device.tensor(values, [clouds, samples, columns]));
        return times;
      }),
    );
    const times = (await result.read()) as Float32Array;
    result.dispose();
    return times;
  };
  return { pre: await deaths(latents, width), post: await deaths(features, featureWidth) };
};
