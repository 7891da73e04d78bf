/** What a handful of seeds allow to say: mean and deviation, Student's t, paired tests, the least effect that would have been seen. */
import { checkInteger, checkNames, checkRange, expected } from "../errors.ts";

export interface SampleSummary {
  readonly count: number;
  readonly mean: number;
  /** Of the sample, divisor n − 1; NaN for a single value. */
  readonly deviation: number;
}

export interface PairedTest extends SampleSummary {
  /** Mean difference over its standard error; 0 when all pairs are equal, infinite when all differ by the same. */
  readonly t: number;
  readonly degreesOfFreedom: number;
  /** Two-sided: the probability of a |t| at least as large if there were no difference. */
  readonly p: number;
  /** Of the mean difference. */
  readonly interval: readonly [low: number, high: number];
}

export interface PairedTestOptions {
  /** Of the interval, in (0, 1). Default 0.95. */
  readonly confidence?: number;
}

export interface DetectableEffectOptions {
  /** Two-sided level of the test. Default 0.05. */
  readonly alpha?: number;
  /** Probability with which the effect is to be seen. Default 0.8. */
  readonly power?: number;
}

const checkNumbers = (where: string, argument: string, values: ArrayLike<number>, least: number): Float64Array => {
  if (typeof values?.length !== "number" || typeof values === "string" || values.length < least)
    throw expected(where, `at least ${least} number${least > 1 ? "s" : ""}`, argument, values);
  return Float64Array.from({ length: values.length }, (_, i) => {
    if (!Number.isFinite(values[i])) throw expected(where, "finite numbers", argument, `${String(values[i])} at position ${i}`);
    return values[i];
  });
};

const checkShare = (where: string, argument: string, value: number): void => {
  if (!(typeof value === "number" && value > 0 && value < 1)) throw expected(where, "a number in (0, 1)", argument, value);
};

/** log Γ(x) for x > 0: Stirling's series, whose first term left out is below 1e-17 from 15 on; smaller x go up by the recurrence. */
const logGamma = (x: number): number => {
  let product = 1;
  let z = x;
  for (; z < 15; z++) product *= z;
  const s = 1 / (z * z);
  const series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - (s * 691) / 360360))))) / z;
  return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + series - Math.log(product);
};

/** Iₓ(a, b) by its continued fraction (DLMF 8.17.22) and Lentz's method; converges fast for x below (a + 1)/(a + b + 2). */
const betaFraction = (x: number, rest: number, a: number, b: number): number => {
  const tiny = 1e-300;
  let [c, d, value] = [1, 0, 1];
  for (let i = 1; i < 100_000; i++) {
    const m = i >> 1;
    const numerator = i % 2 === 0 ? m * (b - m) * x : -(a + m) * (a + b + m) * x;
    const term = numerator / ((a + i - 1) * (a + i));
    d = 1 + term * d;
    c = 1 + term / c;
    if (Math.abs(d) < tiny) d = tiny;
    if (Math.abs(c) < tiny) c = tiny;
    d = 1 / d;
    value *= c * d;
    if (Math.abs(c * d - 1) < 1e-16) break;
  }
  const front = Math.exp(a * Math.log(x) + b * Math.log(rest) + logGamma(a + b) - logGamma(a) - logGamma(b));
  return front / (a * value);
};

/** The regularised incomplete beta function Iₓ(a, b), given x and 1 − x, so that neither is lost. */
const incompleteBeta = (x: number, rest: number, a: number, b: number): number => {
  if (x <= 0) return 0;
  if (rest <= 0) return 1;
  return x <= (a + 1) / (a + b + 2) ? betaFraction(x, rest, a, b) : 1 - betaFraction(rest, x, b, a);
};

/** P(T > t) for t ≥ 0, to full relative accuracy far out. */
const upperTail = (t: number, degrees: number): number => {
  if (t === Number.POSITIVE_INFINITY) return 0;
  // t² may overflow where t does not.
  const ratio = t / Math.sqrt(degrees);
  const square = ratio * ratio;
  if (square === Number.POSITIVE_INFINITY) return 0;
  return incompleteBeta(1 / (1 + square), square / (1 + square), degrees / 2, 0.5) / 2;
};

const checkDegrees = (where: string, degrees: number): void => {
  checkRange(where, "degreesOfFreedom", degrees, Number.MIN_VALUE, Number.MAX_VALUE, "a positive number");
};

/**
 * P(T ≤ t) of Student's distribution.
 *
 * @param degreesOfFreedom positive, not necessarily whole
 * @throws ArgumentError for NaN, and degrees of freedom that are not positive.
 * @example
 * ```ts
 * studentCdf(1, 1); // => 0.75000000
 * studentCdf(-2.776445105, 4); // => 0.0250000
 * ```
 */
export const studentCdf = (t: number, degreesOfFreedom: number): number => {
  if (typeof t !== "number" || Number.isNaN(t)) throw expected("studentCdf", "a number", "t", t);
  checkDegrees("studentCdf", degreesOfFreedom);
  const tail = upperTail(Math.abs(t), degreesOfFreedom);
  return t < 0 ? tail : 1 - tail;
};

/**
 * The t with P(T ≤ t) = p: the inverse of `studentCdf`.
 *
 * @param p in (0, 1)
 * @throws ArgumentError for another p, and degrees of freedom that are not positive.
 * @example
 * ```ts
 * studentQuantile(0.975, 4); // => 2.776445
 * studentQuantile(0.025, 4); // => -2.776445
 * ```
 */
export const studentQuantile = (p: number, degreesOfFreedom: number): number => {
  checkShare("studentQuantile", "p", p);
  checkDegrees("studentQuantile", degreesOfFreedom);
  if (p === 0.5) return 0;
  const tail = Math.min(p, 1 - p);
  let [low, high] = [0, 1];
  while (upperTail(high, degreesOfFreedom) > tail && high < 1e300) [low, high] = [high, 2 * high];
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (upperTail(middle, degreesOfFreedom) > tail) low = middle;
    else high = middle;
  }
  return p < 0.5 ? -high : high;
};

/**
 * Mean and sample deviation (divisor n − 1), as "mean ± deviation" over seeds.
 *
 * @throws ArgumentError for no number at all, and numbers that are not finite.
 * @example summarize([1, 2, 3, 4]); // => { count: 4, mean: 2.5, deviation: Math.sqrt(5 / 3) }
 */
export const summarize = (values: ArrayLike<number>): SampleSummary => {
  const list = checkNumbers("summarize", "values", values, 1);
  const count = list.length;
  const mean = list.reduce((sum, value) => sum + value, 0) / count;
  const squares = list.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { count, mean, deviation: count === 1 ? Number.NaN : Math.sqrt(squares / (count - 1)) };
};

/**
 * Student's paired test: whether `a` differs from `b` where entry i of both comes from one seed. Pairing takes out what a seed does to both, which is most of the noise.
 *
 * @param a numbers, at least 2
 * @param b as many numbers
 * @returns mean and deviation of a − b with t, the two-sided p, and the interval of the mean
 * @throws ArgumentError for different lengths, fewer than 2 numbers, numbers that are not finite, and a confidence outside of (0, 1).
 * @example
 * ```ts
 * const { mean, t, p } = pairedTTest([61, 62, 60, 63, 61], [60, 60, 60, 61, 60]);
 * mean; // => 1.2
 * t; // => 3.2071
 * p; // => 0.0327
 * ```
 */
export const pairedTTest = (a: ArrayLike<number>, b: ArrayLike<number>, options: PairedTestOptions = {}): PairedTest => {
  const { confidence = 0.95 } = checkNames("pairedTTest", options, ["confidence"]);
  const where = "pairedTTest";
  const [left, right] = [checkNumbers(where, "a", a, 2), checkNumbers(where, "b", b, 2)];
  if (left.length !== right.length) throw expected(where, `${left.length} numbers like \`a\``, "b", right.length);
  checkShare(where, "confidence", confidence);
  const summary = summarize(left.map((value, i) => value - right[i]));
  const { count, mean, deviation } = summary;
  const error = deviation / Math.sqrt(count);
  const degreesOfFreedom = count - 1;
  const t = mean === 0 ? 0 : mean / error;
  const half = studentQuantile((1 + confidence) / 2, degreesOfFreedom) * error;
  return { ...summary, t, degreesOfFreedom, p: 2 * upperTail(Math.abs(t), degreesOfFreedom), interval: [mean - half, mean + half] };
};

/**
 * The least mean difference that a paired test of so many seeds sees with the given power: (t(1 − α/2) + t(power))·deviation/√count with quantiles of count − 1 degrees
 * of freedom (Bloom 1995). A result "no difference" says that there is none of this size; about smaller ones it says nothing.
 *
 * @param deviation of the differences, as `pairedTTest` gives it
 * @param count seeds, at least 2
 * @throws ArgumentError for a negative deviation, fewer than 2 seeds, and shares outside of (0, 1).
 * @example
 * ```ts
 * minimumDetectableEffect(1, 15); // => 0.777912
 * minimumDetectableEffect(1, 5); // => 1.662476
 * ```
 */
export const minimumDetectableEffect = (deviation: number, count: number, options: DetectableEffectOptions = {}): number => {
  const { alpha = 0.05, power = 0.8 } = checkNames("minimumDetectableEffect", options, ["alpha", "power"]);
  const where = "minimumDetectableEffect";
  checkRange(where, "deviation", deviation, 0, Number.MAX_VALUE, "a number of at least 0");
  checkInteger(where, "count", count, 2, 2 ** 31 - 1);
  checkShare(where, "alpha", alpha);
  checkShare(where, "power", power);
  return ((studentQuantile(1 - alpha / 2, count - 1) + studentQuantile(power, count - 1)) * deviation) / Math.sqrt(count);
};
