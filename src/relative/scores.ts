/** How well classes were predicted. */
import { checkInteger, checkNames, expected } from "../errors.ts";
import { checkLabels } from "./matrix.ts";

export interface ClassificationScores {
  /** Share of predictions that are right. */
  readonly accuracy: number;
  /** Per class, then averaged with the number of its labels as weight; a class that is never predicted has precision 0. */
  readonly precision: number;
  /** The weighted average is the accuracy. */
  readonly recall: number;
  /** Harmonic mean of precision and recall per class, then the weighted average. */
  readonly f1: number;
  /** Mean |predicted − label| of the class numbers: meaningful where classes are ordered, such as stars. */
  readonly mae: number;
  /** [classes, classes]: how often label i was predicted as class j. */
  readonly confusion: Int32Array;
  readonly classes: number;
}

export interface ClassificationOptions {
  /** Number of classes; labels and predictions beyond it are refused. Default: one more than the largest of both. */
  readonly classes?: number;
}

const checkRange = (where: string, argument: string, values: Int32Array, classes: number): void => {
  const wrong = values.findIndex((value) => value >= classes);
  if (wrong >= 0) throw expected(where, `classes in 0 … ${classes - 1}`, argument, `${values[wrong]} at position ${wrong}`);
};

/**
 * Accuracy, precision, recall and F1 weighted by support (scikit-learn's `average="weighted"`), the mean absolute error of the class numbers and the confusion matrix.
 *
 * @param labels whole numbers from 0
 * @param predictions as many of the same kind
 * @throws ArgumentError for no or different numbers of entries, and classes out of range.
 * @example
 * ```ts
 * const { accuracy, f1, mae, confusion } = classificationScores([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1]);
 * accuracy; // => 0.3333
 * f1; // => 0.2667
 * mae; // => 0.6667
 * confusion; // => [2, 0, 0, 1, 0, 1, 0, 2, 0]
 * ```
 */
export const classificationScores = (
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
  options: ClassificationOptions = {},
): ClassificationScores => {
  const where = "classificationScores";
  const truth = checkLabels(where, "labels", labels);
  const guess = checkLabels(where, "predictions", predictions, truth.length);
  const n = truth.length;
  if (n === 0) throw expected(where, "at least one label", "labels", labels);
  const largest = [truth, guess].reduce((most, list) => list.reduce((a, b) => Math.max(a, b), most), 0);
  const { classes = largest + 1 } = checkNames(where, options, ["classes"]);
  checkInteger(where, "classes", classes, 1, 2 ** 14);
  checkRange(where, "labels", truth, classes);
  checkRange(where, "predictions", guess, classes);

  const confusion = new Int32Array(classes * classes);
  const [support, predicted] = [new Int32Array(classes), new Int32Array(classes)];
  let distance = 0;
  for (let i = 0; i < n; i++) {
    confusion[truth[i] * classes + guess[i]]++;
    support[truth[i]]++;
    predicted[guess[i]]++;
    distance += Math.abs(truth[i] - guess[i]);
  }
  let [hits, precision, f1] = [0, 0, 0];
  for (let c = 0; c < classes; c++) {
    const right = confusion[c * (classes + 1)];
    hits += right;
    if (right === 0) continue;
    precision += (support[c] / n) * (right / predicted[c]);
    f1 += (support[c] / n) * ((2 * right) / (support[c] + predicted[c]));
  }
  return { accuracy: hits / n, precision, recall: hits / n, f1, mae: distance / n, confusion, classes };
};
