/** Layers and networks, and what is done with them. */
import fc from "fast-check";
import type { StateDict } from "../../../src/data/safetensors.ts";
import * as birkhoff from "../../../src/index.ts";
import type { Module } from "../../../src/nn/module.ts";
import type { Tensor } from "../../../src/tensor.ts";
import { type Arguments, among, type Context, device, garbage, options, rarely, real, Sketch, type Subject, tensor, whole } from "./arguments.ts";
import { valuesOf } from "./devices.ts";
import { hostTensor } from "./files.ts";
import { learned } from "./learned.ts";

const init = rarely(
  fc.integer({ min: 0, max: 9 }).map((seed) => new Sketch(`initializer(device, ${seed})`, (context) => birkhoff.initializer(context.device, seed))),
  garbage,
);

const few = fc.integer({ min: 1, max: 3 });
const counts = (number: number, make: (...sizes: number[]) => Arguments): Arguments =>
  fc.array(few, { minLength: number, maxLength: number }).chain((sizes) => make(...sizes));

// biome-ignore lint/suspicious/noExplicitAny: arguments of any kind are what this is about
type Constructor = new (...args: any[]) => Module;

/** A module of the arguments before the last, and what it makes of the last. */
const layer = (Class: Constructor, args: Arguments, apply?: (module: never, x: never) => unknown): Subject => ({
  args,
  run: ({ own }, ...given) => {
    const module = own(new Class(...given.slice(0, -1)));
    const x = given[given.length - 1] as never;
    return [apply ? apply(module as never, x) : module.forward(x), module.parameterCount];
  },
});

const matrixOptions = {
  iterations: among(1, 5, 20),
  temperature: real(0.2, 5),
  constraint: among("doublyStochastic", "rowStochastic", "none"),
  start: fc.oneof(fc.constantFrom<unknown>({ kind: "uniform" }, { kind: "identity", sharpness: 0.9 }, { kind: "permutations" }), garbage),
  frozen: among(true, false),
};
const padding = among(0, 1, "same", "valid");
const required = ["inChannels", "outChannels", "kernelSize"];

/** Images of a kind of layer: channels, the group axis where there is one, and as many axes as the layer has. */
const images = (dimensions: number, batch: number, channels: readonly number[]): fc.Arbitrary<unknown> =>
  tensor([batch, ...channels, ...Array(dimensions).fill(4)]);

const sharing = (Class: Constructor, dimensions: number, lifting: boolean): Subject =>
  layer(
    Class,
    counts(5, (batch, cin, cout, k, g) =>
      fc.tuple(
        init,
        options(
          {
            inChannels: whole(cin, cin),
            outChannels: whole(cout, cout),
            kernelSize: whole(Math.min(k, 4 - dimensions), Math.min(k, 4 - dimensions)),
            elements: whole(g, g),
            ...(lifting ? {} : { inElements: among(g, undefined) }),
            padding,
            matrices: among(undefined),
            ...matrixOptions,
          },
          [...required, "elements"],
        ),
        images(dimensions, batch, lifting ? [cin] : [cin, g]),
      ),
    ),
  );

const groups = (k: number): fc.Arbitrary<unknown> =>
  rarely(
    fc.constantFrom<unknown>(birkhoff.rotationGroup(k).elements, birkhoff.flipGroup(k).elements, birkhoff.rotationGroup(k).elements.slice(0, 2)),
    fc.oneof(garbage, fc.constantFrom<unknown>([Int32Array.of(0, 0)], [birkhoff.rotationGroup(k).elements], [undefined], ["01"])),
  );

const fixed = (Class: Constructor, lifting: boolean, name: "group" | "set"): Subject =>
  layer(
    Class,
    counts(4, (batch, cin, cout, k) =>
      groups(k).chain((group) => {
        const g = (group as { length?: number } | null)?.length ?? 1;
        const inElements = name === "set" && !lifting ? { inElements: whole(1, 1) } : {};
        const entries = { inChannels: whole(cin, cin), outChannels: whole(cout, cout), kernelSize: whole(k, k), padding, ...inElements };
        return fc.tuple(
          init,
          options({ ...entries, [name]: fc.constant(group) }, [...required, name]),
          images(2, batch, lifting || name === "set" ? [cin] : [cin, g]),
        );
      }),
    ),
  );

const matrices = (elements: number, side: number, context: Context): birkhoff.LearnedMatrices =>
  context.own(new birkhoff.LearnedMatrices(birkhoff.initializer(context.device, 1), { elements, side }));

const symmetry = fc.oneof(
  fc.constantFrom<unknown>(
    { kind: "none" },
    { kind: "learned", elements: 2 },
    { kind: "learned", elements: 3, factorised: true },
    { kind: "learned", elements: 2, shared: "learned" },
    { kind: "learned", elements: 2, shared: "tied" },
    { kind: "fixed", group: birkhoff.rotationGroup(3).elements },
    { kind: "permuted", sets: [birkhoff.cyclicGroup(9).elements.slice(0, 2)] },
    { kind: "permuted", sets: [9, 18, 18].map((places) => birkhoff.cyclicGroup(places).elements.slice(0, 2)) },
  ),
  fc.record(
    { kind: among("none", "learned", "fixed", "permuted"), elements: whole(1, 3), group: groups(3), sets: garbage, shared: garbage },
    { requiredKeys: ["kind"] },
  ),
  garbage,
);
const networkOptions = options(
  {
    width: whole(1, 2),
    kernelSize: among(3),
    layers: among(1, 1, 2),
    classes: whole(1, 3),
    pool: among(1, 2),
    inChannels: whole(1, 1),
    hidden: whole(0, 2),
    head: among("invariant", "equivariant"),
    ...matrixOptions,
  },
  ["width", "kernelSize", "layers"],
);
const network = fc.tuple(init, symmetry, networkOptions);
const residualOptions = options(
  {
    width: whole(1, 2),
    kernelSize: among(3),
    blocks: among(1, 1, 2),
    inChannels: whole(1, 1),
    classes: whole(1, 3),
    pool: among(1, 2),
    hidden: whole(1, 3),
    dropout: real(0, 0.9),
    ...matrixOptions,
  },
  ["width", "kernelSize", "blocks", "inChannels", "hidden"],
);

/** What comes out in training and afterwards. */
const trained = (module: birkhoff.BatchNorm | birkhoff.Dropout | birkhoff.ResidualNetwork, x: never): unknown =>
  birkhoff.scope(() => [module.forward(x), module.eval().forward(x), ...module.namedState().values()]);

/** Names and values of a module's state, some of them changed. */
const state = (own: Readonly<Record<string, readonly number[]>>): fc.Arbitrary<unknown> =>
  rarely(
    fc
      .tuple(...Object.entries(own).map(([name, shape]) => fc.tuple(rarely(fc.constant(name), fc.string()), rarely(hostTensor(shape), garbage))))
      .map((entries) => new Map(entries)),
    garbage,
  );

export const MODULES: Readonly<Record<string, Subject>> = {
  Linear: layer(
    birkhoff.Linear,
    counts(3, (rows, from, to) => fc.tuple(init, whole(from, from), whole(to, to), tensor([rows, from]))),
  ),
  Conv2d: layer(
    birkhoff.Conv2d,
    counts(4, (batch, cin, cout, k) =>
      fc.tuple(
        init,
        options({ inChannels: whole(cin, cin), outChannels: whole(cout, cout), kernelSize: whole(k, k), padding }, required),
        images(2, batch, [cin]),
      ),
    ),
  ),
  WeightSharingLift1d: sharing(birkhoff.WeightSharingLift1d, 1, true),
  WeightSharingLift2d: sharing(birkhoff.WeightSharingLift2d, 2, true),
  WeightSharingLift3d: sharing(birkhoff.WeightSharingLift3d, 3, true),
  WeightSharingConv1d: sharing(birkhoff.WeightSharingConv1d, 1, false),
  WeightSharingConv2d: sharing(birkhoff.WeightSharingConv2d, 2, false),
  WeightSharingConv3d: sharing(birkhoff.WeightSharingConv3d, 3, false),
  FactorisedWeightSharingConv1d: sharing(birkhoff.FactorisedWeightSharingConv1d, 1, false),
  FactorisedWeightSharingConv2d: sharing(birkhoff.FactorisedWeightSharingConv2d, 2, false),
  FactorisedWeightSharingConv3d: sharing(birkhoff.FactorisedWeightSharingConv3d, 3, false),
  GroupLift2d: fixed(birkhoff.GroupLift2d, true, "group"),
  GroupConv2d: fixed(birkhoff.GroupConv2d, false, "group"),
  PermutedConv: fixed(birkhoff.PermutedConv, true, "set"),
  GroupLinear: layer(
    birkhoff.GroupLinear,
    counts(3, (rows, d, kernels) =>
      fc.tuple(
        init,
        options(
          {
            kernels: whole(kernels, kernels),
            set: rarely(fc.constant(birkhoff.cyclicGroup(d).elements), fc.oneof(garbage, groups(2))),
            deviation: real(0, 1),
          },
          ["kernels", "set"],
        ),
        tensor([rows, d]),
      ),
    ),
  ),
  WeightSharingLinear: layer(
    birkhoff.WeightSharingLinear,
    counts(4, (rows, features, kernels, elements) =>
      fc.tuple(
        init,
        options(
          {
            features: whole(features, features),
            kernels: whole(kernels, kernels),
            elements: whole(elements, elements),
            deviation: real(0, 1),
            matrices: among(undefined),
            ...matrixOptions,
          },
          ["features", "kernels", "elements"],
        ),
        tensor([rows, features]),
      ),
    ),
  ),
  LearnedMatrices: layer(
    birkhoff.LearnedMatrices,
    counts(4, (elements, side, cout, cin) =>
      fc.tuple(
        init,
        options({ elements: whole(elements, elements), side: whole(side, side), ...matrixOptions }, ["elements", "side"]),
        tensor([cout, cin, side]),
      ),
    ),
  ),
  TiedMatrices: {
    args: counts(2, (elements, side) =>
      fc.tuple(
        rarely(fc.constant(new Sketch(`LearnedMatrices(${elements}, ${side})`, (context) => matrices(elements, side, context))), garbage),
        options({ temperature: real(0.01, 1), iterations: among(1, 5, 20) }),
      ),
    ),
    run: (_, space, settings) => new birkhoff.TiedMatrices(space as never, settings as never).stack(),
  },
  LearnedAnchors: layer(
    birkhoff.LearnedAnchors,
    counts(3, (anchors, more, d) => {
      const points = anchors + more;
      const indices = rarely(fc.array(fc.integer({ min: 0, max: points }), { minLength: anchors, maxLength: anchors }), garbage);
      return fc.tuple(
        init,
        options({ anchors: whole(anchors, anchors), points: whole(points, points), temperature: real(0.1, 1), indices }, ["anchors", "points"]),
        tensor([points, d]),
      );
    }),
  ),
  // Three anchors at the least: the layer norm of two numbers is 1 and −1 whatever they are, and of its gradient nothing is left but roundings.
  ProductOfInvariances: layer(
    birkhoff.ProductOfInvariances,
    counts(3, (spaces, rows, anchors) =>
      fc.tuple(
        init,
        options(
          {
            spaces: whole(spaces, spaces),
            anchors: whole(anchors + 2, anchors + 2),
            aggregation: among("concat", "sum", "mlpSum", "weighted", "attention"),
          },
          ["spaces", "anchors"],
        ),
        rarely(fc.array(tensor([rows, anchors + 2]), { minLength: spaces, maxLength: spaces }), garbage),
      ),
    ),
    (module: birkhoff.ProductOfInvariances, x) => module.aggregate(x),
  ),
  BatchNorm: layer(
    birkhoff.BatchNorm,
    counts(3, (rows, channels, places) =>
      fc.tuple(init, whole(channels, channels), fc.oneof(tensor([rows, channels]), tensor([rows + 1, channels, places]))),
    ),
    trained,
  ),
  Dropout: layer(
    birkhoff.Dropout,
    counts(2, (rows, width) => fc.tuple(init, real(0, 0.9), tensor([rows, width]))),
    trained,
  ),
  ResidualNetwork: layer(birkhoff.ResidualNetwork, fc.tuple(init, symmetry, residualOptions, tensor([2, 1, 4, 4])), trained),
  DigitNetwork: layer(
    birkhoff.DigitNetwork,
    fc.tuple(network, tensor([2, 1, 7, 7])).map(([given, x]) => [...given, x]),
  ),
  toPlain: {
    args: network,
    run: async ({ own }, ...args) => {
      const made = own(new birkhoff.DigitNetwork(args[0] as never, args[1] as never, args[2] as never));
      const plain = await birkhoff.toPlain(made);
      return [plain.tensors, birkhoff.encodeOnnx(plain).length];
    },
  },
  toPlainOf: { args: fc.tuple(fc.oneof(garbage, learned)), run: (_, given) => birkhoff.toPlain(given as never) },
  encodeOnnx: {
    args: fc.tuple(
      options({
        layers: rarely(
          fc.array(
            fc.record(
              {
                kind: among("conv", "linear", "norm", "relu", "maxPool", "globalMean"),
                weight: hostTensor([2, 1, 1, 1]),
                bias: hostTensor([2]),
                pads: among([
                  [0, 0],
                  [0, 0],
                ]),
                eps: real(0, 1),
                size: whole(1, 2),
              },
              { requiredKeys: ["kind"] },
            ),
            { maxLength: 3 },
          ),
          garbage,
        ),
      }),
    ),
  },
  loadStateDict: {
    args: fc.tuple(state({ weight: [3, 2], bias: [3] }), options({ strict: among(true, false) })),
    run: async ({ device, own }, given, loading) => {
      const module = own(new birkhoff.Linear(birkhoff.initializer(device, 1), 2, 3));
      const before = await module.stateDict();
      try {
        return [module.loadStateDict(given as StateDict, loading as never), valuesOf(await module.stateDict())];
      } catch (error) {
        const after = await module.stateDict();
        for (const [name, { data }] of before)
          if (String(data) !== String(after.get(name)?.data)) throw new Error(`${name} was written`, { cause: error });
        throw error;
      }
    },
  },
  loadPaperState: {
    args: fc.tuple(learnedConv(), state({ "a.weight": [1, 1, 4], "a.bias": [1, 1, 1, 1], "a.representations": [1, 4, 4] }), among("a.", "", "b.")),
    run: async (_, made, given, prefix) => {
      birkhoff.loadPaperState(made as never, given as never, prefix as never);
      return valuesOf(await (made as Module).stateDict());
    },
  },
  groupPool: { args: fc.tuple(tensor([2, 3, 2, 3, 3])) },
  weightSharingConv: {
    args: counts(5, (batch, cin, cout, k, g) =>
      fc.boolean().chain((lifting) =>
        fc.tuple(
          images(2, batch, lifting ? [cin] : [cin, g]),
          fc.oneof(
            tensor([g, (lifting ? 1 : g) * k * k, (lifting ? 1 : g) * k * k]),
            options({ group: tensor([g, g, g]), space: tensor([g, k * k, k * k]) }, ["group", "space"]),
          ),
          tensor(lifting ? [cout, cin, k, k] : [cout, cin, g, k, k]),
          options({
            bias: tensor([cout]),
            identity: among(true, false),
            dimensions: among(2),
            stride: whole(1, 2),
            padding,
            dilation: whole(1, 2),
            cache: among(undefined),
            iterations: matrixOptions.iterations,
            temperature: matrixOptions.temperature,
            constraint: matrixOptions.constraint,
          }),
        ),
      ),
    ),
  },
  initializer: {
    args: fc.tuple(device, whole(0, 9)),
    run: (_, given, seed) =>
      birkhoff
        .initializer(given as never, seed as never)
        .next()
        .uniform(),
  },
  parameter: { args: fc.tuple(tensor([2])), run: (_, given) => birkhoff.parameter(given as Tensor).requiresGrad },
  shiftTwist: { args: few.chain((k) => fc.tuple(groups(k))) },
};

/** As `loadPaperState` takes it. */
function learnedConv(): fc.Arbitrary<unknown> {
  return rarely(
    fc.constant(
      new Sketch("WeightSharingLift2d", ({ device, own }) =>
        own(new birkhoff.WeightSharingLift2d(birkhoff.initializer(device, 1), { inChannels: 1, outChannels: 1, kernelSize: 2, elements: 2 })),
      ),
    ),
    fc.oneof(garbage, learned),
  );
}
