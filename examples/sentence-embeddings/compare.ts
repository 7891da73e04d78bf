/** What two spaces of the same texts have in common, and what is left of it after a translation through a few anchors. */
import {
  type AlignmentMethod,
  applyAlignment,
  classificationScores,
  fitAlignment,
  type HostMatrix,
  linearCka,
  meanReciprocalRank,
  neighbourhoodJaccard,
  parallelAnchors,
  stratifiedAnchors,
  takeRows,
} from "birkhoff";

export interface Comparison {
  readonly anchors: number;
  readonly heldOut: number;
  /** Unbiased linear CKA, NaN with fewer than 4 texts held out. */
  readonly cka: number;
  /** Of the 10 nearest neighbours by cosine. */
  readonly jaccard: number;
  /** Accuracy of the nearest class mean of the second space, on its own points. */
  readonly own: number;
  readonly translations: readonly { readonly method: AlignmentMethod; readonly mrr: number; readonly accuracy: number }[];
}

/** Numbers of the classes whose mean over `train` is nearest to each row of `test`. */
const nearestMeans = (train: HostMatrix, labels: Int32Array, test: HostMatrix): Int32Array => {
  const [rows, d] = train.shape;
  const classes = labels.reduce((most, label) => Math.max(most, label), 0) + 1;
  const [means, counts] = [new Float64Array(classes * d), new Float64Array(classes)];
  for (let i = 0; i < rows; i++) {
    counts[labels[i]]++;
    for (let j = 0; j < d; j++) means[labels[i] * d + j] += train.data[i * d + j];
  }
  return Int32Array.from({ length: test.shape[0] }, (_, i) => {
    let [best, least] = [0, Number.POSITIVE_INFINITY];
    for (let c = 0; c < classes; c++) {
      if (counts[c] === 0) continue;
      let distance = 0;
      for (let j = 0; j < d; j++) distance += (test.data[i * d + j] - means[c * d + j] / counts[c]) ** 2;
      if (distance < least) [best, least] = [c, distance];
    }
    return best;
  });
};

/** Anchors are stratified by label; everything is measured on the other rows. */
export const compare = (x: HostMatrix, y: HostMatrix, labels: Int32Array, anchors: number, seed: number): Comparison => {
  const chosen = stratifiedAnchors(labels, anchors, { seed });
  const isAnchor = new Set(chosen);
  const rest = labels.map((_, i) => i).filter((i) => !isAnchor.has(i));
  const [a, b] = [takeRows(x, rest), takeRows(y, rest)];
  const pairs = parallelAnchors(x, y, chosen);
  const [anchorLabels, restLabels] = [chosen, rest].map((indices) => indices.map((i) => labels[i]));
  const accuracy = (points: HostMatrix): number => classificationScores(restLabels, nearestMeans(pairs.y, anchorLabels, points)).accuracy;
  const methods = [{ method: "procrustes" }, { method: "affine", shrinkage: 0.1 }] as const;
  return {
    anchors,
    heldOut: rest.length,
    cka: rest.length < 4 ? Number.NaN : linearCka(a, b, { unbiased: true }),
    jaccard: neighbourhoodJaccard(a, b),
    own: accuracy(b),
    translations: methods.map((options) => {
      const translated = applyAlignment(fitAlignment(pairs.x, pairs.y, options), a);
      return { method: options.method, mrr: meanReciprocalRank(translated, b), accuracy: accuracy(translated) };
    }),
  };
};
