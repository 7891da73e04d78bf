/** What is done with learned matrices and learned anchors: losses, groups, schedules. */
import fc from "fast-check";
import * as birkhoff from "../../../src/index.ts";
import { Module } from "../../../src/nn/module.ts";
import { garbage, options, rarely, real, Sketch, type Subject, sized, tensor, whole } from "./arguments.ts";

/** A layer with learned matrices, for those that look at such. */
export const learned = rarely(
  fc
    .record({
      elements: fc.integer({ min: 1, max: 3 }),
      constraint: fc.constantFrom("doublyStochastic" as const, "rowStochastic" as const, "none" as const),
    })
    .map(
      ({ elements, constraint }) =>
        new Sketch(`WeightSharingLinear(${elements}, ${constraint})`, ({ device, own }) =>
          own(new birkhoff.WeightSharingLinear(birkhoff.initializer(device, elements), { features: 3, kernels: 2, elements, constraint })),
        ),
    ),
  garbage,
);
const layers = rarely(fc.array(learned, { minLength: 1, maxLength: 2 }), garbage);
const nearest = options({ softness: real(0, 1) });

const schedule = rarely(
  fc.constantFrom<unknown>(
    birkhoff.exponential(10, 0.1),
    birkhoff.cosine(5),
    () => -1,
    () => "1",
  ),
  garbage,
);

const points = sized(2, (n, d) => [tensor([n, d])]);

export const LEARNED: Readonly<Record<string, Subject>> = {
  ...Object.fromEntries(
    ["normRegularizer", "entropyRegularizer", "sharpnessRegularizer", "overlapRegularizer"].map((name) => [name, { args: fc.tuple(layers) }]),
  ),
  ...Object.fromEntries(["closureRegularizer", "identityRegularizer"].map((name) => [name, { args: fc.tuple(layers, nearest) }])),
  matrixGroups: {
    args: fc.tuple(learned, layers, options({ lr: real(0, 1), matrixLr: real(0, 1) }, ["lr", "matrixLr"])),
    run: ({ own }, given, stacks, rates) => {
      const optimizer = own(new birkhoff.AdamW(birkhoff.matrixGroups(given as never, stacks as never, rates as never)));
      return optimizer.groups.map(({ lr, parameters }) => [lr, parameters.length]);
    },
  },
  restMatrices: {
    args: fc.tuple(layers, whole(0, 5), whole(0, 9)),
    run: (_, stacks, steps, step) => birkhoff.restMatrices(stacks as never, steps as never)(step as never),
  },
  scheduleTemperature: {
    args: fc.tuple(layers, schedule, whole(0, 9)),
    run: (_, stacks, given, step) => {
      birkhoff.scheduleTemperature(stacks as never, given as never)(step as never);
      return (stacks as birkhoff.WeightSharingLinear[]).map(({ matrices }) => matrices.temperature);
    },
  },
  temperature: {
    args: fc.tuple(learned, real(0.1, 5)),
    run: (_, given, temperature) => {
      if (!(given instanceof Module)) return undefined;
      const { matrices } = given as birkhoff.WeightSharingLinear;
      matrices.temperature = temperature as number;
      return matrices.stack();
    },
  },
  anchorCoverage: { args: sized(3, (k, n, d) => [tensor([k, d]), tensor([n, d])]) },
  ...Object.fromEntries(["anchorDiversity", "mixtureEntropy", "mixtureOverlap"].map((name) => [name, { args: points }])),
};
