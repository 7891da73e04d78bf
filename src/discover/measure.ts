/** Reads the learned matrices and says what they became. */

import type { LayerReport, Snapshot } from "../report/types.ts";
import { closure } from "../symmetry/closure.ts";
import { compareElements, type StackResult } from "../symmetry/elements.ts";
import { identifyGroup } from "../symmetry/identify.ts";
import { evaluate } from "./evaluate.ts";
import type { LearnedLayer } from "./experiment.ts";
import type { CoefficientRecord } from "./results.ts";

/** All matrices of a layer, the identity first: [g, d, d]. */
export const readStack = async ({ layer, d }: LearnedLayer): Promise<Float32Array> => {
  const learned = await evaluate(() => layer.stack());
  const stack = new Float32Array(d * d + learned.length);
  for (let i = 0; i < d; i++) stack[i * d + i] = 1;
  stack.set(learned, d * d);
  return stack;
};

/** Compares the layers' stacks with what was planted, each with its elements in the order found in the layer before. */
export const compareLayers = (layers: readonly LearnedLayer[], stacks: readonly Float32Array[]): StackResult[] => {
  let matched: readonly (number | undefined)[] = [];
  return layers.map((layer, i) => {
    const result = compareElements(stacks[i], layer.d, layer.planted(matched)?.elements, { indexed: layer.indexed });
    matched = result.elements.map(({ planted }) => planted);
    return result;
  });
};

/**
 * Coefficients on the elements of a group, [g, G], beside those that were planted.
 *
 * @param weights what was planted, [g, G]
 */
export const compareCoefficients = (fitted: ArrayLike<number>, weights: ArrayLike<number>, G: number): CoefficientRecord => {
  const g = fitted.length / G;
  const taking = Array.from({ length: G }, (_, k) => Array.from({ length: g }, (_, i) => weights[i * G + k]).some((weight) => weight > 0));
  let [least, own, distance] = [1, 1, 0];
  for (let i = 1; i < g; i++) {
    let [mass, right] = [0, 0];
    for (let k = 0; k < G; k++) {
      const coefficient = fitted[i * G + k];
      if (taking[k]) mass += coefficient;
      if (weights[i * G + k] > 0) right += coefficient;
      distance += Math.abs(coefficient - weights[i * G + k]) / 2 / (g - 1);
    }
    [least, own] = [Math.min(least, mass), Math.min(own, right)];
  }
  return { taking: least, own, distance };
};

/** Kernels shown in the report. */
const SHOWN = 8;

export const layerReports = async (layers: readonly LearnedLayer[], snapshots: readonly (readonly Snapshot[])[]): Promise<LayerReport[]> => {
  const stacks = snapshots.map((series) => series[series.length - 1].matrices);
  const results = compareLayers(layers, stacks);
  let matched: readonly (number | undefined)[] = [];
  const reports: LayerReport[] = [];
  for (const [i, layer] of layers.entries()) {
    const planted = layer.planted(matched);
    matched = results[i].elements.map((element) => element.planted);
    const g = results[i].elements.length;
    let kernels: LayerReport["kernels"];
    if (layer.kernels && layer.layout) {
      const [h, w] = layer.layout;
      const make = layer.kernels.bind(layer);
      const all = await evaluate(make);
      const shown = Math.min(SHOWN, Math.floor(all.length / (g * h * w)));
      kernels = { values: all.slice(0, shown * g * h * w), shape: [shown, g, h, w] };
    }
    reports.push({
      name: layer.name,
      d: layer.d,
      ...(layer.layout && { layout: layer.layout }),
      snapshots: snapshots[i],
      result: results[i],
      closure: closure(stacks[i], layer.d),
      group: identifyGroup(results[i].elements.map(({ nearest }) => nearest)),
      ...(planted && { planted }),
      ...(kernels && { kernels }),
    });
  }
  return reports;
};
