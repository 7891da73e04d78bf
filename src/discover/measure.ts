/** Reads the learned matrices and says what they became. */

import { dihedralGroup, type PermutationSet } from "../data/permutations.ts";
import type { LayerReport, Snapshot } from "../report/types.ts";
import { closure } from "../symmetry/closure.ts";
import { fitCoefficients } from "../symmetry/coefficients.ts";
import { compareElements, type StackResult } from "../symmetry/elements.ts";
import { identifyGroup } from "../symmetry/identify.ts";
import { layerConsistency } from "../symmetry/layers.ts";
import { matchGroup } from "../symmetry/relabelling.ts";
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

interface Compared {
  readonly planted: PermutationSet | undefined;
  readonly result: StackResult;
}

/** Compares the layers' stacks with what was planted, each with its elements in the order found in the layer before. */
export const compareLayers = (layers: readonly LearnedLayer[], stacks: readonly Float32Array[]): Compared[] => {
  let matched: readonly (number | undefined)[] = [];
  return layers.map((layer, i) => {
    const planted = layer.planted(matched);
    const result = compareElements(stacks[i], layer.d, planted?.elements, { indexed: layer.indexed });
    matched = result.elements.map((element) => element.planted);
    return { planted, result };
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

const kernelsOf = async ({ kernels, layout }: LearnedLayer, g: number): Promise<LayerReport["kernels"]> => {
  if (!kernels || !layout) return undefined;
  const [h, w] = layout;
  const all = await evaluate(kernels);
  const shown = Math.min(SHOWN, Math.floor(all.length / (g * h * w)));
  return { values: all.slice(0, shown * g * h * w), shape: [shown, g, h, w] };
};

/** What a stack is held against: the planted elements and, where none are known, the symmetries of a square grid. */
const beside = (
  { base, d, layout }: LearnedLayer,
  stack: Float32Array,
  { planted, result }: Compared,
): Pick<LayerReport, "match" | "coefficients"> => {
  const square = layout && layout[0] === layout[1] ? dihedralGroup(layout[0]) : undefined;
  const group = planted ?? (base ? undefined : square);
  const candidate = base?.set ?? group;
  if (!candidate) return {};
  const { name, labels } = candidate;
  const nearest = result.elements.map((element) => element.nearest);
  return {
    coefficients: {
      name,
      labels,
      fit: fitCoefficients(stack, d, "matrices" in candidate ? candidate.matrices : candidate.elements),
      ...(base && !planted && { planted: base.weights }),
    },
    ...(group && { match: { group, symmetries: square, ...matchGroup(nearest, group.elements, square?.elements) } }),
  };
};

/** Layers behind a lifting layer, where their sides are those of its kernels times the elements of the layer before. */
const consistencyOf = (layers: readonly LearnedLayer[], stacks: readonly Float32Array[]): ReturnType<typeof layerConsistency> => {
  const s = layers[0]?.d;
  const count = (i: number): number => stacks[i].length / layers[i].d ** 2;
  if (layers.length < 2 || layers.some(({ d }, i) => i > 0 && d !== count(i - 1) * s)) return [];
  return layerConsistency(stacks[0], s, stacks.slice(1));
};

export const layerReports = async (layers: readonly LearnedLayer[], snapshots: readonly (readonly Snapshot[])[]): Promise<LayerReport[]> => {
  const stacks = snapshots.map((series) => series[series.length - 1].matrices);
  const compared = compareLayers(layers, stacks);
  const consistency = consistencyOf(layers, stacks);
  return Promise.all(
    layers.map(async (layer, i): Promise<LayerReport> => {
      const { planted, result } = compared[i];
      const kernels = await kernelsOf(layer, result.elements.length);
      return {
        name: layer.name,
        d: layer.d,
        ...(layer.layout && { layout: layer.layout }),
        snapshots: snapshots[i],
        result,
        closure: closure(stacks[i], layer.d),
        group: identifyGroup(result.elements.map(({ nearest }) => nearest)),
        ...beside(layer, stacks[i], compared[i]),
        ...(i > 0 && consistency[i - 1] && { consistency: consistency[i - 1] }),
        ...(planted && { planted }),
        ...(kernels && { kernels }),
      };
    }),
  );
};
