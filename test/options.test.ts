/** Whatever takes options refuses names that it does not know: a misspelt one would be ignored. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import * as files from "../src/files.ts";
import * as birkhoff from "../src/index.ts";
import * as symmetry from "../src/symmetry/index.ts";
import * as testing from "../src/testing/index.ts";
import { temporaryFolder } from "./support/folder.ts";

const { AdamW, DigitNetwork, FactorisedWeightSharingConv2d, initializer, LearnedMatrices, openDevice, ResidualNetwork, SGD, sinkhorn, TiedMatrices } =
  birkhoff;

const device = await openDevice({ device: "reference" });
afterAll(() => device.close());

const init = initializer(device, 1);
const ones = (...shape: number[]) => device.ones(shape);
const rows = { shape: [4, 2], data: Float32Array.of(1, 0, 0, 1, 1, 1, 2, 1) };
const labels = [0, 1, 0, 1];
const swap = [Int32Array.of(0, 1), Int32Array.of(1, 0)];
const pixels = birkhoff.rotationGroup(3).elements;
const parameter = birkhoff.parameter(ones(2));
const sizes = { inChannels: 1, outChannels: 1, kernelSize: 2 };
const space = new LearnedMatrices(init, { elements: 2, side: 4 });
const network = new DigitNetwork(init, { kind: "none" }, { width: 1, kernelSize: 3, layers: 1 });
const adamw = new AdamW([parameter]);
const [entry] = testing.rooms[0].cases;

/** Calls with options that are right, and with `more` among them. */
type Call = (more: object) => unknown;

// biome-ignore lint/suspicious/noExplicitAny: calls as JavaScript makes them
const api = { ...testing, ...files, ...birkhoff, ...symmetry } as Readonly<Record<string, any>>;
const functions = (names: string, call: (fn: (...args: unknown[]) => unknown, more: object) => unknown): Record<string, Call> =>
  Object.fromEntries(names.split(" ").map((name) => [name, (more) => call(api[name], more)]));
const layers = (names: string, options: object): Record<string, Call> =>
  Object.fromEntries(names.split(" ").map((name) => [name, (more) => new api[name](init, { ...options, ...more })]));

const CALLS: Readonly<Record<string, Call>> = {
  ...functions("conv1d convTranspose1d", (fn, more) => fn(ones(1, 1, 3), ones(1, 1, 2), more)),
  ...functions("conv2d convTranspose2d", (fn, more) => fn(ones(1, 1, 3, 3), ones(1, 1, 2, 2), more)),
  ...functions("conv3d convTranspose3d", (fn, more) => fn(ones(1, 1, 3, 3, 3), ones(1, 1, 2, 2, 2), more)),
  ...functions("maxPool2d avgPool2d", (fn, more) => fn(ones(1, 1, 2, 2), 2, more)),
  ...functions("sum mean max min logsumexp", (fn, more) => fn(ones(2), 0, more)),
  ...functions("argmax", (fn, more) => fn(ones(2), 0, more)),
  ...functions("uniform normal gumbel randomBits", (fn, more) => fn(device, [2], { seed: 1, ...more })),
  ...functions("sinkhorn hyperConnection", (fn, more) => fn(ones(2, 2), more)),
  "sinkhorn: annealing": (more) => sinkhorn(ones(2, 2), { annealing: { from: 2, factor: 0.5, ...more } }),
  "sinkhorn: noise": (more) => sinkhorn(ones(2, 2), { noise: { seed: 1, ...more } }),
  ...functions("applyPlan", (fn, more) => fn(ones(2, 2), ones(2), ones(2), ones(2, 1), more)),
  ...functions("matmul", (fn, more) => fn(ones(2, 2), ones(2, 2), more)),
  ...functions("linear", (fn, more) => fn(ones(2, 2), ones(2, 2), undefined, more)),
  ...functions("layerNorm", (fn, more) => fn(ones(2, 2), 2, more)),
  ...functions("instanceNorm", (fn, more) => fn(ones(1, 1, 2), more)),
  ...functions("batchNorm", (fn, more) => fn(ones(2, 2), { training: true, ...more })),
  ...functions("softmaxCrossEntropy", (fn, more) => fn(ones(2, 2), [0, 1], more)),
  ...functions("expandKernel", (fn, more) => fn(ones(1, 4, 4), ones(1, 1, 4), more)),
  ...functions("slice", (fn, more) => fn(ones(2), more)),
  ...functions("relativeProjection", (fn, more) => fn(ones(2, 2), ones(2, 2), more)),
  ...functions("relativeTopK relativeRange", (fn, more) => fn(ones(2, 2), ones(2, 2), 1, more)),
  ...functions("featureStatistics", (fn, more) => fn(ones(2, 2), more)),
  RunningStatistics: (more) => new birkhoff.RunningStatistics(more),
  ...functions("zeroPersistence", (fn, more) => fn(ones(2, 2), [0, 1], more)),
  ...functions("densificationLoss", (fn, more) => fn(ones(2, 2), [0, 0], { beta: 1, ...more })),
  ...functions("prePostDensificationLoss", (fn, more) => fn(ones(2, 2), ones(2, 2), [0, 0], { beta: 1, ...more })),
  ...functions("weightSharingConv", (fn, more) => fn(ones(1, 1, 3, 3), ones(1, 4, 4), ones(1, 1, 2, 2), more)),

  ...layers("Conv2d", sizes),
  ...layers("WeightSharingLift1d WeightSharingLift2d WeightSharingLift3d", { ...sizes, elements: 2 }),
  ...layers("WeightSharingConv1d WeightSharingConv2d WeightSharingConv3d", { ...sizes, elements: 2 }),
  ...layers("FactorisedWeightSharingConv1d FactorisedWeightSharingConv2d FactorisedWeightSharingConv3d", { ...sizes, elements: 2 }),
  ...layers("WeightSharingLinear", { features: 2, kernels: 1, elements: 2 }),
  ...layers("GroupLift2d GroupConv2d", { ...sizes, kernelSize: 3, group: pixels }),
  ...layers("PermutedConv", { ...sizes, dimensions: 1, set: swap }),
  ...layers("GroupLinear", { kernels: 1, set: swap }),
  ...layers("LearnedMatrices", { elements: 2, side: 2 }),
  ...layers("LearnedAnchors", { anchors: 1, points: 2 }),
  ...layers("ProductOfInvariances", { spaces: 1, anchors: 2 }),
  "a start": (more) => new LearnedMatrices(init, { elements: 2, side: 2, start: { kind: "uniform", ...more } }),
  "matrices of a layer": (more) => {
    const matrices = { space, group: new TiedMatrices(space), ...more };
    return new FactorisedWeightSharingConv2d(init, { ...sizes, elements: 2, matrices });
  },
  TiedMatrices: (more) => new TiedMatrices(space, more),
  DigitNetwork: (more) => new DigitNetwork(init, { kind: "learned", elements: 2 }, { width: 1, kernelSize: 2, layers: 2, temperature: 1, ...more }),
  ResidualNetwork: (more) => new ResidualNetwork(init, { kind: "none" }, { width: 1, blocks: 1, ...more }),
  ...Object.fromEntries(
    [{ kind: "none" }, { kind: "learned", elements: 2 }, { kind: "fixed", group: pixels }, { kind: "permuted", sets: [pixels] }].map((given) => [
      `a symmetry, ${given.kind}`,
      (more: object) => new DigitNetwork(init, { ...given, ...more } as birkhoff.Symmetry, { width: 1, kernelSize: 3, layers: 1 }),
    ]),
  ),
  ...functions("closureRegularizer identityRegularizer", (fn, more) => fn([space], more)),
  ...functions("matrixGroups", (fn, more) => fn(network, [], { lr: 1, matrixLr: 1, ...more })),
  AdamW: (more) => new AdamW([parameter], more),
  SGD: (more) => new SGD([parameter], more),
  "a group of parameters": (more) => new SGD([{ parameters: [parameter], ...more }]),
  "a step": (more) => adamw.step(undefined, more),
  "a module's state": async (more) => network.loadStateDict(await network.stateDict(), more),

  openDevice: async (more) => (await openDevice({ device: "reference", ...more })).close(),
  customOp: (more) => {
    const wgsl = "@compute @workgroup_size(1) fn main() {}";
    return birkhoff.customOp({ name: "own", wgsl, outputs: (x) => x, plan: () => ({ passes: [] }), gradient: { none: "a test" }, ...more });
  },
  prepareKernel: (more) => birkhoff.prepareKernel({} as GPUDevice, () => undefined, [], more),
  "memory of the program": (more) => device.fromBuffer({} as GPUBuffer, [4], more),
  "a tensor's buffer": (more) => parameter.buffer(more),
  "a case": (more) => testing.caseInputs({ ...entry, ...more }),
  "a case's input": (more) => testing.caseInputs({ ...entry, inputs: entry.inputs.map((input) => ({ ...input, ...more })) }),
  "a case's tolerance": (more) => testing.caseInputs({ ...entry, forward: { ...entry.forward, ...more } }),
  "a case's differences": (more) => testing.caseInputs({ ...entry, finiteDifferences: { step: 1e-5, ...more } }),
  "a case's result": async (more) => {
    const result = await testing.runCase(device, entry);
    return testing.compareCase(entry, { ...result, ...more }, result, device);
  },
  gradcheck: (more) => birkhoff.gradcheck((x) => birkhoff.square(x), [birkhoff.parameter(ones(1))], more),

  ...functions("fitAlignment neighbourhoodJaccard meanReciprocalRank linearCka rbfCka linearHsic svcca", (fn, more) => fn(rows, rows, more)),
  ...functions("fitInverseProjection", (fn, more) => fn(rows, more)),
  ...functions("farthestPointAnchors kMeansAnchors coverageAnchors", (fn, more) => fn(rows, 2, more)),
  ...functions("uniformAnchors", (fn, more) => fn(4, 2, more)),
  ...functions("stratifiedAnchors", (fn, more) => fn(labels, 2, more)),
  ...functions("classificationScores", (fn, more) => fn(labels, labels, more)),
  ...functions("pairedTTest", (fn, more) => fn([1, 2], [2, 4], more)),
  ...functions("minimumDetectableEffect", (fn, more) => fn(1, 4, more)),
  classBalancedBatches: (more) => birkhoff.classBalancedBatches(labels, { samples: 1, ...more }).next(),
  ...functions("encodeNpy", (fn, more) => fn(rows, more)),
  ...functions("writeNpy", (fn, more) => fn(join(temporaryFolder(), "x.npy"), rows, more)),

  ...functions("compareElements", (fn, more) => fn(Float32Array.of(1, 0, 0, 1), 2, undefined, more)),
  ...functions("analyzeStack", (fn, more) => fn(Float32Array.of(1, 0, 0, 1), 2, more)),
  ...functions("networkEquivariance", (fn, more) => fn(network, ones(1, 1, 4, 4), { degrees: [90], ...more })),
  ...functions("equivarianceError", (fn, more) => fn((x: unknown) => x, ones(1, 1, 2, 2), { degrees: 90, ...more })),
};

/** What comes of it, without what the reference device cannot do and what is no GPUDevice. */
const message = async (call: Call, more: object): Promise<string> => {
  try {
    await call(more);
    return "";
  } catch (error) {
    const { code, message } = error as birkhoff.BirkhoffError;
    return code === "ERR_DEVICE" || /for `device`/.test(message) ? "" : `${code} ${message}`;
  }
};

describe("unknown options", () => {
  it.each(Object.entries(CALLS))("%s", async (_, call) => {
    expect(await message(call, {})).toBe("");
    expect(await message(call, { unheardOf: 1 })).toMatch(/^ERR_ARGUMENT [\w.]+: expected only [\w, ]+ for `[\w.[\]]+`, but received "unheardOf"$/);
  });

  it("are looked for in everything public that takes options", () => {
    const folder = join(import.meta.dirname, "../src");
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts") && !path.startsWith("generated"));
    const text = files.map((path) => readFileSync(join(folder, path), "utf8")).join("\n");
    const declared = /^export (?:const (\w+) = .*?\n(?=\n)|class (\w+).*?(?:super\(|\n}\n)|function\* (\w+)\(.*?\n)/gms;
    const takes = new Set<string>();
    for (const [head, ...names] of text.matchAll(declared))
      if (/\b(?:options|settings|rates|definition|action)\??: (?!ErrorOptions)/.test(head)) takes.add(names.find(Boolean) ?? "");
    const known = new Set(Object.keys(CALLS));
    expect(Object.keys(api).filter((name) => takes.has(name) && !known.has(name))).toEqual([]);
    expect(Object.keys(CALLS).filter((name) => name in api && !takes.has(name))).toEqual([]);
  });

  it("are named, and those of a prototype too", async () => {
    expect(await message(CALLS.conv2d, { strides: 2 })).toBe(
      'ERR_ARGUMENT conv2d: expected only bias, stride, padding, dilation, groups for `options`, but received "strides"',
    );
    expect(await message(CALLS.conv2d, Object.create({ strides: 2 }))).toContain('"strides"');
  });
});
