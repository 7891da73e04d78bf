/** One encoder with its decoder, trained together on one rung of the ladder. */
import { classBalancedBatches } from "../data/balanced.ts";
import type { Device } from "../device.ts";
import { noGrad } from "../gradMode.ts";
import type { Module } from "../nn/module.ts";
import { softmaxCrossEntropy } from "../ops/crossEntropy/index.ts";
import { add, mul } from "../ops/elementwise/index.ts";
import { prePostDensificationLoss } from "../ops/zeroPersistence/index.ts";
import { cosine, cyclicLinear } from "../optim/schedule.ts";
import { AdamW } from "../optim.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { rowsOf, type StitchData, type View } from "./data.ts";
import { described, type Rung } from "./ladder.ts";

export interface Pair {
  readonly encoder: Module;
  readonly decoder: Module;
  readonly view: View;
  /** [K, size]: what the encoder is shown to make its anchors. */
  readonly anchorRows: Tensor;
}

/** Death times that densification draws to, before and after the projection, and its weight. */
export interface Densification {
  readonly preBeta: number;
  readonly beta: number;
  readonly weight: number;
}

export interface PairSettings {
  readonly steps: number;
  /** Examples of each class in a batch. */
  readonly samples: number;
  readonly learningRate: number;
  readonly seed: number;
  /** Whether anchors are constants to the gradient. */
  readonly detachAnchors: boolean;
}

/**
 * Trains a pair; batches have as many examples of every class, whichever the rung, and come in the same order for all rungs of a seed. Stops between two steps when `signal` is aborted.
 */
export const trainPair = async (
  device: Device,
  data: StitchData,
  train: Int32Array,
  pair: Pair,
  rung: Rung,
  settings: PairSettings,
  densification: Densification | undefined,
  onStep: (loss: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> => {
  const { encoder, decoder, view, anchorRows } = pair;
  const { steps, samples, learningRate, seed, detachAnchors } = settings;
  const parameters = [...encoder.parameters(), ...decoder.parameters()];
  const optimizer = new AdamW(parameters, { lr: learningRate, weightDecay: 1e-4 });
  const decay = cosine(steps);
  const weight = cyclicLinear(steps);
  const own = Int32Array.from(train, (index) => data.labels[index]);
  const batches = classBalancedBatches(own, { samples, seed });
  const first = batches.next().value;
  const x = device.zeros([first.length, view.size]);
  const y = device.zeros([first.length], "int32");
  const inputs = new Float32Array(first.length * view.size);
  let pending: Promise<number> | undefined;
  try {
    for (let step = 0, batch = first; step < steps && !signal?.aborted; step++, batch = batches.next().value) {
      const rows = batch.map((i) => train[i]);
      device.write(x, rowsOf(view, rows, inputs));
      device.write(
        y,
        rows.map((row) => data.labels[row]),
      );
      for (const group of optimizer.groups) group.lr = learningRate * decay(step);
      const loss = scope(() => {
        const latents = encoder.forward(x);
        const features = described(rung, latents, detachAnchors ? noGrad(() => encoder.forward(anchorRows)) : encoder.forward(anchorRows));
        const task = softmaxCrossEntropy(decoder.forward(features), y);
        if (densification) {
          const { beta, preBeta } = densification;
          const topological = prePostDensificationLoss(latents, features, y, { beta, preBeta, classes: data.classes });
          add(task, mul(topological, densification.weight * weight(step))).backward();
        } else task.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return task.detach();
      });
      // The loss of the step before is awaited while this one runs.
      const value = loss.item();
      loss.dispose();
      if (pending) onStep(await pending);
      pending = value;
    }
    if (pending) onStep(await pending);
  } finally {
    optimizer.dispose();
    x.dispose();
    y.dispose();
  }
};
