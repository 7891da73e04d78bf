/** What a configuration of `birkhoff discover` may say, and what is said of one that may not be. */
import { describe, expect, test } from "vitest";
import { checkConfiguration, runsOf } from "../src/discover/configuration.ts";
import { ArgumentError } from "../src/errors.ts";
import { small } from "./support/experiment.ts";

describe("configurations", () => {
  const one = { ...small, networks: [{ kind: "learned" }], seeds: [0] };
  test.each<[unknown, string]>([
    [[], "expected an object for `configuration`, but received []"],
    [{ ...one, name: "Two words" }, 'expected small letters, digits, dots and hyphens for `name`, but received "Two words"'],
    [{ ...one, data: undefined }, "expected an object for `data`, but received nothing"],
    [{ ...one, data: { kind: "sounds" } }, 'expected one of generated, images for `data.kind`, but received "sounds"'],
    [{ ...one, data: { kind: "generated", sise: 4 } }, 'expected no field "sise" for `data`, but received it'],
    [{ ...one, data: { kind: "generated", size: 4.5 } }, "expected an integer for `data.size`, but received 4.5"],
    [{ ...one, data: { kind: "generated", noise: -1 } }, "expected a number of at least 0 for `data.noise`, but received -1"],
    [{ ...one, data: { kind: "generated", symmetry: "knots" } }, 'for `data.symmetry`, but received "knots"'],
    [{ ...one, data: { kind: "images" } }, "expected text for `data.folder`, but received nothing"],
    [{ ...one, data: { kind: "images", folder: "x", heldOut: 0 } }, "expected a number of at least 1 for `data.heldOut`, but received 0"],
    [
      { ...one, data: { kind: "images", folder: "x", heldOut: "all" } },
      'expected an integer of at least 1, or "test", for `data.heldOut`, but received "all"',
    ],
    [{ ...one, data: { kind: "images", folder: "x", format: "png" } }, 'expected one of idx, cifar10 for `data.format`, but received "png"'],
    [{ ...one, network: { dropout: 1 } }, "expected a number below 1 for `network.dropout`, but received 1"],
    [{ ...one, networks: [] }, "expected at least 1 of them for `networks`, but received []"],
    [{ ...one, networks: [{ kind: "learnt" }] }, 'expected one of learned, plain, fixed for `networks[0].kind`, but received "learnt"'],
    [{ ...one, networks: [{ kind: "plain" }, { kind: "plain" }] }, 'expected another name for each of `networks`, but received "plain" twice'],
    [
      { ...one, networks: [{ kind: "plain", training: { decay: 2 } }] },
      "expected a number of at most 1 for `networks[0].training.decay`, but received 2",
    ],
    [{ ...one, training: { steps: "many" } }, 'expected a number for `training.steps`, but received "many"'],
    [{ ...one, training: { temperature: { from: 1, to: 0 } } }, "expected a number above 0 for `training.temperature.to`, but received 0"],
    [
      { ...one, network: { start: { kind: "sharp" } } },
      'expected one of uniform, identity, permutations for `network.start.kind`, but received "sharp"',
    ],
    [
      { ...one, networks: [{ kind: "learned", constraint: "some" }] },
      "expected one of doublyStochastic, rowStochastic, none for `networks[0].constraint`",
    ],
    [{ ...one, seeds: [0.5] }, "expected an integer for `seeds[0]`, but received 0.5"],
    [{ ...one, seeds: [1, 1] }, "expected each seed once for `seeds`, but received [1, 1]"],
    [{ ...one, seeds: { from: 1 } }, "for `seeds.count`, but received nothing"],
    [{ ...one, seeds: 7 }, "expected an array of integers, or { from, count }, for `seeds`, but received 7"],
  ])("%j", (value, message) => {
    expect(() => checkConfiguration(value, "x.json")).toThrow(ArgumentError);
    expect(() => checkConfiguration(value, "x.json")).toThrow(`x.json: `);
    expect(() => checkConfiguration(value, "x.json")).toThrow(message);
  });

  test("runs come seed by seed; the hash is of what decides about the outcome", () => {
    const runs = runsOf(checkConfiguration(small, "x.json"));
    expect(runs.map(({ network, seed }) => [network.name, seed])).toEqual([
      ["learned", 3],
      ["plain", 3],
      ["learned", 4],
      ["plain", 4],
    ]);
    expect(runs[0].settings).toBe(runs[2].settings);
    expect(runs[0].settings).not.toBe(runs[1].settings);
    const hash = (value: object): string => runsOf(checkConfiguration({ ...one, ...value }, "x.json"))[0].settings;
    expect(hash({ name: "other", about: "said otherwise", networks: [{ name: "renamed", kind: "learned" }] })).toBe(hash({}));
    expect(hash({ training: { batchSize: 8, warmup: 10, steps: 60 } })).toBe(hash({}));
    expect(hash({ training: { ...one.training, norm: 0.5 } })).not.toBe(hash({}));
    expect(hash({ networks: [{ kind: "learned", training: { norm: 0.5 } }] })).toBe(hash({ training: { ...one.training, norm: 0.5 } }));
  });
});
