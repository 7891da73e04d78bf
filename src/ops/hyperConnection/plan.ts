import * as shaders from "../../generated/hyperConnection.ts";
import { type BufferRef, type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import { type BackwardAttrs, type HyperConnectionAttrs, outputsOf, positionsOf, type Sizes, sizesOf } from "./reference.ts";

/** A thread holds 4 × 4 numbers, or 8 × 8: half of what many GPUs have in registers. */
export const NARROW = 4;
const WIDE = 8;
/** Words of workgroup memory that every device has. */
const WORDS = 4096;
/** Words of workgroup memory for `numbers` numbers: lib/staging.wgsl leaves one in 33 empty. */
const roomy = (numbers: number): number => numbers + Math.floor(numbers / 32);

/** Forward without streams: threads, and matrices, of a workgroup. 64 matrices of 8 × 8 do not fit its memory. */
const FORWARD_THREADS = { [NARROW]: 64, [WIDE]: 32 } as const;
/**
 * Backward without streams: fewer threads keep the divisors of more iterations, so that fewer are computed twice. The first row that
 * costs at most `ENOUGH` times the forward pass is taken, else the last.
 */
const BACKWARD_THREADS = { [NARROW]: [64, 32, 16], [WIDE]: [32, 16] } as const;
const ENOUGH = 2.1;

/** With streams: threads that walk along the features, and the most of them that compute a matrix before. */
const STREAM_THREADS = 128;
const HOLDERS = 16;
/** Their workgroup memory for matrices: what one round of loads fills. */
const STREAM_WORDS = roomy(8 * STREAM_THREADS);
/** Workgroups that keep a large GPU busy: only beyond it does one take several matrices of many features. */
export const ENOUGH_WORKGROUPS = 1024;
/** Features that a thread walks along at least, where there are enough: fewer, and adding up what the threads of a team found costs more. */
export const FEATURES_PER_THREAD = 8;
/** Neighbouring threads that share a matrix of fewer features: what they read is still a piece of memory. */
const LEAST_TEAM = 4;

const tileOf = ({ n, m }: Sizes): typeof NARROW | typeof WIDE => (Math.max(n, m) <= NARROW ? NARROW : WIDE);

/** Iterations that are run to have the divisors of all, `kept` at a time, from the last to the first. */
const iterationsRun = (iterations: number, kept: number): number => {
  let total = 0;
  for (let end = iterations; end > 0; end -= kept) total += end;
  return total;
};

/** Bindings and fields that every pass has; what is absent gets the logits, which nobody reads then. */
const operands = (attrs: HyperConnectionAttrs) => {
  const at = positionsOf(attrs);
  return { logits: input(0), scale: input(at.scale ?? 0), bias: input(at.bias ?? 0) };
};
const fields = (attrs: HyperConnectionAttrs, { count, n, m, scaleStep, biasStep }: Sizes) => ({
  count,
  n,
  m,
  row_step: m,
  column_step: 1,
  iterations: attrs.iterations,
  has_scale: Number(attrs.scale),
  scale_step: scaleStep,
  has_bias: Number(attrs.bias),
  bias_step: biasStep,
});

/** How workgroups share matrices with streams. The threads of a matrix depend on the features alone, and so does the order of sums. */
const division = ({ count, d }: Sizes, limits: Limits) => {
  const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));
  const team = Math.min(STREAM_THREADS, Math.max(powerOfTwo(d / FEATURES_PER_THREAD), Math.min(LEAST_TEAM, powerOfTwo(d))));
  const matrices = Math.min(HOLDERS, Math.max(Math.ceil(count / ENOUGH_WORKGROUPS), STREAM_THREADS / team));
  return { params: { width: d, matrices, team }, workgroups: grid(Math.ceil(count / matrices), limits) };
};

/** `words`: of workgroup memory in all. */
const streamConstants = (tile: number, words: number) => ({
  TILE: tile,
  THREADS: STREAM_THREADS,
  SHARE: STREAM_THREADS / HOLDERS,
  SPARE: words - roomy(HOLDERS * tile ** 2),
});

const forwardWhole = (call: Call<HyperConnectionAttrs>, limits: Limits): Plan => {
  const { attrs } = call;
  if (elements(call.outputs[0].shape) === 0) return { passes: [] };
  const sizes = sizesOf(call);
  const tile = tileOf(sizes);
  const { streams } = positionsOf(attrs);
  if (streams === undefined) {
    const threads = FORWARD_THREADS[tile];
    const pass: Pass = {
      shader: shaders.forward,
      entry: "forward",
      constants: { TILE: tile, THREADS: threads },
      params: fields(attrs, sizes),
      bind: { ...operands(attrs), p: output(0) },
      workgroups: grid(Math.ceil(sizes.count / threads), limits),
    };
    return { passes: [pass] };
  }
  const { params, workgroups } = division(sizes, limits);
  const pass: Pass = {
    shader: shaders.streams,
    entry: "forward",
    constants: streamConstants(tile, STREAM_WORDS),
    params: { ...fields(attrs, sizes), ...params },
    bind: { ...operands(attrs), streams: input(streams), y: output(0) },
    workgroups,
  };
  return { passes: [pass] };
};

const backwardWhole = (call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const { attrs } = call;
  const sizes = sizesOf(call);
  if (sizes.count === 0) return { passes: [] };
  const tile = tileOf(sizes);
  const at = positionsOf(attrs);
  const to = outputsOf(attrs);
  // An output that nobody wants still needs a buffer of its own to be bound.
  const place = (index: number | undefined, spare: number): BufferRef => (index === undefined ? scratch(spare) : output(index));
  const bind: Pass["bind"] = {
    ...operands(attrs),
    gradient: input(at.gradient),
    dlogits: place(to.logits, 0),
    parameters: place(to.parameters, 1),
  };
  const wanted = {
    logits_gradient: Number(attrs.logitsGradient),
    scale_gradient: Number(attrs.scaleGradient),
    bias_gradient: Number(attrs.biasGradient),
  };
  const kept = (words: number, threads: number): number => Math.floor(words / (2 * tile * threads));
  if (at.streams === undefined) {
    const choices = BACKWARD_THREADS[tile].map((threads) => ({ threads, kept: kept(WORDS, threads) }));
    const cheap = choices.find((choice) => iterationsRun(attrs.iterations, choice.kept) <= ENOUGH * attrs.iterations);
    const { threads, kept: most } = cheap ?? choices[choices.length - 1];
    const pass: Pass = {
      shader: shaders.backward,
      entry: "backward",
      constants: { TILE: tile, THREADS: threads, SPARE: WORDS - roomy(threads * tile ** 2) },
      params: { ...fields(attrs, sizes), ...wanted, kept: most, history: 0 },
      bind,
      workgroups: grid(Math.ceil(sizes.count / threads), limits),
    };
    return { scratch: [1, 1], passes: [pass] };
  }
  const { params, workgroups } = division(sizes, limits);
  const pass: Pass = {
    shader: shaders.streamsBackward,
    entry: "backward",
    constants: streamConstants(tile, WORDS),
    params: {
      ...fields(attrs, sizes),
      ...params,
      ...wanted,
      streams_gradient: Number(attrs.streamsGradient && sizes.d > 0),
      kept: kept(WORDS - STREAM_WORDS, HOLDERS),
      history: STREAM_WORDS,
    },
    bind: { ...bind, streams: input(at.streams), dstreams: place(to.streams, 2) },
    workgroups,
  };
  return { scratch: [1, 1, 1], passes: [pass] };
};

/** Axes of an item of each input: logits, scale, bias, streams and, backward, the gradient. */
const inputRanks = ({ scale, bias, streams }: HyperConnectionAttrs): number[] => [
  2,
  ...(scale ? [0] : []),
  ...(bias ? [2] : []),
  ...(streams ? [2] : []),
];

export const forward = (call: Call<HyperConnectionAttrs>, limits: Limits): Plan =>
  inSlices(call, limits, { inputs: inputRanks(call.attrs), outputs: [2] }, forwardWhole);

export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const to = outputsOf(call.attrs);
  const outputs = call.outputs.map((_, place) => (place === to.parameters ? 1 : 2));
  return inSlices(call, limits, { inputs: [...inputRanks(call.attrs), 2], outputs }, backwardWhole);
};
