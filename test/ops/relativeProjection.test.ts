/** What each projection is invariant to and what not, gradients through the public function, published conventions, dispatches and wrong calls. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import type { Device } from "../../src/device.ts";
import { FLOOR_LIMITS, input, output, type Plan, type Shape, type Spec } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { div, sub } from "../../src/ops/elementwise/index.ts";
import { sum } from "../../src/ops/reduce/index.ts";
import {
  featureStatistics,
  type RelativeProjectionOptions,
  RunningStatistics,
  relativeProjection,
  relativeTopK,
} from "../../src/ops/relativeProjection/index.ts";
import { backward, project, top } from "../../src/ops/relativeProjection/op.ts";
import { scope } from "../../src/scope.ts";
import type { Tensor } from "../../src/tensor.ts";
import { gradcheck } from "../../src/testing/gradcheck.ts";
import { testRandom } from "../../src/testing/random.ts";
import { KINDS, take, withDevice } from "../support/devices.ts";

type Rows = readonly (readonly number[])[];
const random = testRandom(5);
const matrix = (rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.normal()));

/** Columns made orthonormal one after the other. */
const orthogonal = (n: number): number[][] => {
  const q: number[][] = [];
  for (const row of matrix(n, n)) {
    for (let again = 0; again < 2; again++) {
      for (const other of q) {
        const along = row.reduce((total, value, i) => total + value * other[i], 0);
        row.forEach((value, i) => {
          row[i] = value - along * other[i];
        });
      }
    }
    const norm = Math.hypot(...row);
    q.push(row.map((value) => value / norm));
  }
  return q;
};
const times = (rows: Rows, by: Rows): number[][] =>
  rows.map((row) => by.map((column) => row.reduce((total, value, i) => total + value * column[i], 0)));

const [B, K, d] = [60, 96, 16];
const [x, anchors] = [B, K].map((n) => {
  const mixing = matrix(d, d).map((row, i) => row.map((value, j) => 0.2 * value + (i === j ? 1 : 0)));
  return times(matrix(n, d), mixing).map((row) => row.map((value) => value + 0.3));
});
const shuffled = [...Array(d).keys()].map((i) => (5 * i + 3) % d);
/** From 1 to 30. */
const factors = Array.from({ length: d }, (_, i) => 30 ** (((7 * i) % d) / (d - 1)) / 5.5);
const [left, right] = [orthogonal(d), orthogonal(d)];
/** Of condition 30: two rotations with those factors between. */
const general = times(
  left.map((row) => row.map((value, i) => value * factors[i])),
  right,
);
const offset = Array.from({ length: d }, (_, i) => ((3 * i) % 7) - 2);

const MAPS: Readonly<Record<string, (rows: Rows) => Rows>> = {
  "a common factor": (rows) => rows.map((row) => row.map((value) => 3 * value)),
  rotation: (rows) => times(rows, left),
  translation: (rows) => rows.map((row) => row.map((value, i) => value + offset[i])),
  permutation: (rows) => rows.map((row) => shuffled.map((i) => row[i])),
  "positive factors": (rows) => rows.map((row) => row.map((value, i) => value * factors[i])),
  "factors of any sign": (rows) => rows.map((row) => row.map((value, i) => value * factors[i] * (i % 3 === 0 ? -1 : 1))),
  "P D z + b": (rows) => rows.map((row) => shuffled.map((i) => row[i] * factors[i] + offset[i])),
  "G z + b": (rows) => times(rows, general).map((row) => row.map((value, i) => value + offset[i])),
};

type Form = (x: Tensor, anchors: Tensor) => Tensor;
const standard = (rows: Tensor): Tensor => {
  const { mean, scale } = featureStatistics(rows);
  return div(sub(rows, mean), scale as Tensor);
};
const form =
  (options: RelativeProjectionOptions): Form =>
  (u, v) =>
    relativeProjection(u, v, options);
/** One row per projection: which of the maps, in their order, it is invariant to. */
const TABLE: readonly (readonly [string, Form, string])[] = [
  ["cosine", form({}), "✓✓✗✓✗✗✗✗"],
  ["centred cosine", form({ normalise: "centre" }), "✓✓✓✓✗✗✗✗"],
  ["robust, statistics of the anchors", form({ normalise: "standardise" }), "✓✗✓✓✓✓✓✗"],
  ["robust, statistics of the batch", form({ normalise: "standardise", statistics: "batch" }), "✓✗✓✓✓✓✓✗"],
  ["robust, statistics of each", (u, v) => relativeProjection(standard(u), standard(v)), "✓✗✓✓✓✓✓✗"],
  ["whitened cosine", form({ normalise: "whiten" }), "✓✓✓✓✓✓✓✓"],
  ["whitened inner product", form({ normalise: "whiten", similarity: "inner" }), "✓✓✓✓✓✓✓✓"],
  ["whitened with shrinkage", form({ normalise: "whiten", shrinkage: 0.3 }), "✓✓✓✓✗✗✗✗"],
  ["angular", form({ similarity: "angular" }), "✓✓✗✓✗✗✗✗"],
  ["inner product", form({ similarity: "inner" }), "✗✓✗✓✗✗✗✗"],
  ["l2", form({ similarity: "l2" }), "✗✓✓✓✗✗✗✗"],
  ["l1", form({ similarity: "l1" }), "✗✗✓✓✗✗✗✗"],
  ["linf", form({ similarity: "linf" }), "✗✗✓✓✗✗✗✗"],
  ["robust l1", form({ similarity: "l1", normalise: "standardise" }), "✓✗✓✓✓✓✓✗"],
  ["mahalanobis", form({ similarity: "mahalanobis" }), "✓✓✓✓✓✓✓✓"],
];
/** Coefficients in a basis of fewer anchors than features change with none but linear maps … */
const FEW = form({ similarity: "changeOfBasis" });

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });
  const run = async (make: Form, u: Rows, v: Rows): Promise<Float64Array> => {
    const result = scope(() => {
      const [a, b] = [u, v].map((rows) => device.tensor(Float64Array.from(rows.flat()), [rows.length, d]));
      return make(a, b);
    });
    try {
      return kind === "reference" && result.dtype === "float32" ? await result.readFloat64() : Float64Array.from(await result.read());
    } finally {
      result.dispose();
    }
  };
  const change = (got: Float64Array, want: Float64Array): number =>
    got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i])), 0) / want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  for (const [name, make, row] of TABLE) {
    test(`${name}: invariant ${row}`, async () => {
      const before = await run(make, x, anchors);
      for (const [i, [map, apply]] of Object.entries(MAPS).entries()) {
        const moved = change(await run(make, apply(x), apply(anchors)), before);
        if (row[i] === "✓") expect(moved, map).toBeLessThan(kind === "reference" ? 1e-5 : 1e-4);
        else expect(moved, map).toBeGreaterThan(0.02);
      }
    });
  }

  test("coefficients in a basis do not change with linear maps, and combine the anchors to the rows", async () => {
    const basis = anchors.slice(0, d);
    const before = await run(FEW, x, basis);
    const moved = change(await run(FEW, times(x, general), times(basis, general)), before);
    // The basis has a condition number of some hundreds.
    expect(moved).toBeLessThan(kind === "reference" ? 1e-5 : 2e-3);
    const c = Array.from({ length: B }, (_, b) => [...before.slice(b * d, (b + 1) * d)]);
    const again = Float64Array.from(
      times(
        c,
        basis[0].map((_, l) => basis.map((anchor) => anchor[l])),
      ).flat(),
    );
    expect(change(again, Float64Array.from(x.flat()))).toBeLessThan(kind === "reference" ? 1e-8 : 1e-3);
  });

  test("with more anchors than features, the shortest coefficients", async () => {
    const before = await run(FEW, x, anchors);
    const c = Array.from({ length: B }, (_, b) => [...before.slice(b * K, (b + 1) * K)]);
    const again = Float64Array.from(
      times(
        c,
        anchors[0].map((_, l) => anchors.map((anchor) => anchor[l])),
      ).flat(),
    );
    expect(change(again, Float64Array.from(x.flat()))).toBeLessThan(1e-4);
  });

  test("zeros and features without deviation", async () => {
    const project = (u: number[][], v: number[][], options: RelativeProjectionOptions): Promise<number[]> =>
      take(scope(() => relativeProjection(device.tensor(u), device.tensor(v), options)));
    expect(
      await project(
        [[0, 0]],
        [
          [1, 1],
          [0, 0],
        ],
        {},
      ),
    ).toEqual([0, 0]);
    expect(
      await project(
        [[0, 0]],
        [
          [1, 1],
          [0, 0],
        ],
        { similarity: "angular" },
      ),
    ).toEqual([0.5, 0.5]);
    // The third feature is the same in both anchors, so that it says nothing, even of the row in which it differs.
    const robust = await project(
      [
        [0, 0, 7],
        [1, 2, 7],
        [3, 1, 8],
      ],
      [
        [1, 0, 7],
        [0, 1, 7],
      ],
      { normalise: "standardise" },
    );
    const without = await project(
      [
        [0, 0],
        [1, 2],
        [3, 1],
      ],
      [
        [1, 0],
        [0, 1],
      ],
      { normalise: "standardise" },
    );
    robust.forEach((value, i) => {
      expect(value).toBeCloseTo(without[i], 6);
    });
  });

  test("given, running and the anchors' statistics agree", async () => {
    using running = new RunningStatistics();
    const forms: readonly Form[] = [
      form({ normalise: "standardise" }),
      (u, v) => relativeProjection(u, v, { normalise: "standardise", statistics: featureStatistics(v) }),
      (u, v) => {
        running.update(v);
        return relativeProjection(u, v, { normalise: "standardise", statistics: running });
      },
    ];
    const want = await run(forms[0], x, anchors);
    for (const make of forms.slice(1)) expect(change(await run(make, x, anchors), want)).toBeLessThan(1e-6);
  });

  test("the largest similarities are those of the whole matrix", async () => {
    for (const options of [{}, { normalise: "standardise" }, { normalise: "whiten", similarity: "inner" }, { similarity: "l1" }] as const) {
      const whole = await run(form(options), x, anchors);
      const values = await run((u, v) => relativeTopK(u, v, 7, options).values, x, anchors);
      const indices = await run((u, v) => relativeTopK(u, v, 7, options).indices, x, anchors);
      for (let b = 0; b < B; b++) {
        const row = [...whole.slice(b * K, (b + 1) * K)];
        const best = [...row].sort((a, c) => c - a).slice(0, 7);
        for (let j = 0; j < 7; j++) {
          expect(values[b * 7 + j]).toBeCloseTo(best[j], 4);
          expect(row[indices[b * 7 + j]]).toBeCloseTo(best[j], 4);
        }
      }
    }
  });

  test("broken numbers are told by the next read", async () => {
    for (const broken of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const similarity of ["cosine", "inner", "linf"] as const) {
        for (const first of [true, false]) {
          const [good, bad] = [device.ones([3, 2]), device.tensor([1, 2, broken, 4], [2, 2])];
          const y = relativeProjection(first ? bad : good, first ? good : bad, { similarity });
          await expect(y.read()).rejects.toThrow(
            "relativeProjection: expected rows of finite numbers, whose squares have a finite float32 sum, for `x` and `anchors`, but received",
          );
          for (const tensor of [good, bad, y]) tensor.dispose();
        }
      }
    }
    const huge = device.tensor([1, 1, kind === "reference" ? Number.POSITIVE_INFINITY : 3e30, 4], [2, 2]);
    const robust = relativeProjection(huge, huge, { normalise: "standardise" });
    await expect(robust.read()).rejects.toThrow(
      "featureStatistics: expected finite numbers, whose squared distances from the mean have a finite float32 sum, for `rows`",
    );
    for (const tensor of [huge, robust]) tensor.dispose();
    const flat = device.tensor([1, 1, 2, 2, 3, 3, 4, 4], [4, 2]);
    const y = relativeProjection(flat, flat, { normalise: "whiten" });
    await expect(y.read()).rejects.toThrow("inverseCholesky: expected a positive definite matrix");
    for (const tensor of [flat, y]) tensor.dispose();
  });
});

describe("gradients through the public function", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice({ device: "reference" });
  });
  afterAll(() => device.close());
  const tensors = (): readonly [Tensor, Tensor] => {
    const [rows, own] = [
      [6, 4],
      [7, 4],
    ].map((shape) => {
      const tensor = device.tensor(
        Float64Array.from({ length: shape[0] * shape[1] }, () => random.normal() + 0.5),
        shape,
      );
      tensor.requiresGrad = true;
      return tensor;
    });
    return [rows, own];
  };
  const similarities = ["cosine", "angular", "inner", "scaledInner", "l1", "l2", "linf"] as const;
  const all: readonly RelativeProjectionOptions[] = (["anchors", "batch"] as const).flatMap((statistics) =>
    [false, true].flatMap((detachStatistics): RelativeProjectionOptions[] => [
      ...(["centre", "standardise"] as const).flatMap((normalise) =>
        similarities.map((similarity) => ({ similarity, normalise, statistics, detachStatistics })),
      ),
      { similarity: "cosine", normalise: "whiten", statistics, detachStatistics, ...(statistics === "batch" ? { shrinkage: 0.2 } : {}) },
      { similarity: "mahalanobis", statistics, detachStatistics, shrinkage: 0.1 },
      { similarity: "changeOfBasis", normalise: "standardise", statistics, detachStatistics },
    ]),
  );
  for (const options of all.filter(({ detachStatistics }) => detachStatistics === false)) {
    test(JSON.stringify(options), async () => {
      const { worst } = await gradcheck((u, v) => relativeProjection(u, v, { ...options, detachAnchors: false }), tensors(), { step: 1e-6 });
      expect(worst).toBeLessThan(1e-6);
    });
  }

  test("statistics of a user's own", async () => {
    const [rows, own] = tensors();
    const mean = device.tensor([0.1, -0.2, 0.3, 0]);
    const scale = device.tensor([1, 2, 0.5, 1.5]);
    for (const tensor of [mean, scale]) tensor.requiresGrad = true;
    const { worst } = await gradcheck(
      (u, v, mean, scale) =>
        relativeProjection(u, v, { normalise: "standardise", statistics: { mean, scale }, detachAnchors: false, detachStatistics: false }),
      [rows, own, mean, scale],
    );
    expect(worst).toBeLessThan(1e-6);
  });

  test("detached statistics are constants: the gradient is that with the same numbers given", async () => {
    const [rows, own] = tensors();
    const gradients = async (options: RelativeProjectionOptions): Promise<number[][]> => {
      const y = relativeProjection(rows, own, { normalise: "standardise", detachAnchors: false, ...options });
      sum(y).backward();
      const result = await Promise.all([rows, own].map(async ({ grad }) => [...((await grad?.readFloat64()) ?? [])]));
      for (const tensor of [rows, own]) {
        tensor.grad?.dispose();
        tensor.grad = undefined;
      }
      return result;
    };
    const { mean, scale } = featureStatistics(own.detach());
    const want = await gradients({ statistics: { mean, scale: scale as Tensor } });
    const got = await gradients({});
    got.flat().forEach((value, i) => {
      expect(value).toBeCloseTo(want.flat()[i], 12);
    });
  });

  test("anchors are constants unless asked for", () => {
    const [rows, own] = tensors();
    sum(relativeProjection(rows, own, { normalise: "standardise", detachStatistics: false })).backward();
    expect(rows.grad).toBeDefined();
    expect(own.grad).toBeUndefined();
  });
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const [rows, own] = [device.ones([70, 40]), device.ones([33, 40])];
  const cotangent = device.ones([70, 33]);
  const count = (options: RelativeProjectionOptions): [number, number] => {
    for (const tensor of [rows, own]) tensor.requiresGrad = true;
    const start = device.counters.dispatches;
    const y = relativeProjection(rows, own, { detachAnchors: false, ...options });
    const middle = device.counters.dispatches;
    y.backward(cotangent);
    y.dispose();
    for (const tensor of [rows, own]) {
      tensor.grad?.dispose();
      tensor.grad = undefined;
    }
    return [middle - start, device.counters.dispatches - middle];
  };
  expect(count({})).toEqual([1, 2]);
  expect(count({ similarity: "l1" })).toEqual([1, 2]);
  expect(count({ detachAnchors: true })).toEqual([1, 1]);
  expect(count({ normalise: "standardise" })).toEqual([2, 2]);
  expect(count({ normalise: "standardise", detachStatistics: false })).toEqual([2, 4]);
  expect(count({ normalise: "standardise", detachStatistics: false, statistics: "batch" })).toEqual([2, 4]);
});

describe("plans of rows that exceed one binding", () => {
  const float32 = (shape: Shape): Spec => ({ shape, dtype: "float32" });
  const rows = 3 * 43690; // of 768 features; 128 MiB hold 43,690 of them
  const covered = (plan: Plan, name: string): number => {
    let next = 0;
    for (const { bind } of plan.passes) {
      const window = (bind[name] as { window?: { from: number; length: number } }).window;
      expect(window?.from).toBe(next);
      expect(4 * (window?.length ?? 0)).toBeLessThanOrEqual(FLOOR_LIMITS.bindingBytes);
      next += window?.length ?? 0;
    }
    return next;
  };

  test("go over the rows once, and leave anchors and statistics alone", () => {
    const op = project("cosine");
    const attrs = { similarity: "cosine", standardised: true, through: "given", scale: true } as const;
    const plan = op.plan(
      intern(
        op,
        [
          [rows, 768],
          [512, 768],
          [2, 768],
        ].map(float32),
        attrs,
      ),
      FLOOR_LIMITS,
    );
    expect(plan.passes.length).toBeGreaterThan(3);
    expect([covered(plan, "x"), covered(plan, "y"), covered(plan, "norms_of_x")]).toEqual([rows * 768, rows * 512, rows]);
    for (const { bind } of plan.passes) expect([bind.anchors, bind.statistics, bind.norms_of_anchors]).toEqual([input(1), input(2), output(2)]);
  });

  test("the gradient of x, and the largest similarities", () => {
    const attrs = { similarity: "cosine", standardised: false, side: "x" } as const;
    const specs = [[rows, 512], [rows, 768], [512, 768], [rows, 512], [rows], [512]].map(float32);
    const plan = backward.plan(intern(backward, specs, attrs), FLOOR_LIMITS);
    for (const [name, size] of [
      ["g", 512],
      ["own", 768],
      ["y", 512],
      ["own_norms", 1],
      ["out", 768],
    ] as const)
      expect(covered(plan, name)).toBe(rows * size);
    const largest = top.plan(
      intern(
        top,
        [
          [rows, 768],
          [512, 768],
        ].map(float32),
        { similarity: "l1", standardised: false, most: 5 },
      ),
      FLOOR_LIMITS,
    );
    for (const [name, size] of [
      ["x", 768],
      ["values", 5],
      ["places", 5],
    ] as const)
      expect(covered(largest, name)).toBe(rows * size);
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const [rows, own] = [device.ones([3, 4]), device.ones([2, 4])];
  const call = (options: unknown) => () => relativeProjection(rows, own, options as RelativeProjectionOptions);
  const where = "relativeProjection: expected";
  expect(() => relativeProjection(rows, device.ones([0, 4]))).toThrow(`${where} at least one anchor for \`anchors\`, but received "[0, 4]"`);
  expect(() => relativeProjection(rows, device.ones([2, 5]))).toThrow(`${where} shape [K, 4] to fit x [3, 4] for \`anchors\`, but received "[2, 5]"`);
  expect(() => relativeProjection(device.ones([4]), own)).toThrow(`${where} shape [B, d] for \`x\`, but received "[4]"`);
  expect(() => relativeProjection(rows, device.zeros([2, 4], "int32"))).toThrow(`${where} dtype float32 for \`anchors\`, but received "int32"`);
  // @ts-expect-error: a tensor, not its values
  expect(() => relativeProjection([1], own)).toThrow(`${where} a tensor for \`x\`, but received [1]`);
  expect(call({ similarity: "cos" })).toThrow('for `similarity`, but received "cos"');
  expect(call({ normalise: "std" })).toThrow(`${where} one of none, centre, standardise, whiten for \`normalise\`, but received "std"`);
  expect(call({ similarity: "lp" })).toThrow(`${where} a number of at least 1 for \`p\`, but received undefined`);
  expect(call({ similarity: "lp", p: 0.5 })).toThrow("for `p`, but received 0.5");
  expect(call({ p: 2 })).toThrow(`${where} nothing with similarity cosine for \`p\`, but received 2`);
  expect(call({ statistics: "train" })).toThrow(
    `${where} "anchors", "batch", { mean, scale } or RunningStatistics for \`statistics\`, but received "train"`,
  );
  expect(call({ normalise: "whiten" })).toThrow(
    `${where} more than d = 4 rows for whitening without shrinkage for \`anchors\`, but received "[2, 4]"`,
  );
  expect(call({ similarity: "mahalanobis", statistics: "batch" })).toThrow('for `x`, but received "[3, 4]"');
  expect(call({ similarity: "mahalanobis", normalise: "centre" })).toThrow(
    `${where} "whiten" or nothing with similarity mahalanobis for \`normalise\``,
  );
  expect(call({ shrinkage: 0.1 })).toThrow(`${where} 0 where nothing is inverted for \`shrinkage\`, but received 0.1`);
  expect(call({ normalise: "whiten", shrinkage: 2 })).toThrow(`${where} a number in [0, 1] for \`shrinkage\`, but received 2`);
  expect(call({ normalise: "standardise", statistics: { mean: device.ones([4]) } })).toThrow(
    `${where} a tensor for \`statistics.scale\`, but received undefined`,
  );
  expect(call({ normalise: "centre", statistics: { mean: device.ones([3]) } })).toThrow(
    `${where} shape [4] for \`statistics.mean\`, but received "[3]"`,
  );
  expect(call({ normalise: "whiten", statistics: { mean: device.ones([4]) } })).toThrow("for `statistics.whitening`, but received undefined");
  expect(call({ normalise: "whiten", statistics: new RunningStatistics() })).toThrow("for `statistics`, but received a RunningStatistics object");
  expect(call({ normalise: "standardise", statistics: new RunningStatistics() })).toThrow("RunningStatistics: expected an update with rows before");
  expect(call({ detachAnchors: 1 })).toThrow(`${where} true or false for \`detachAnchors\`, but received 1`);
  expect(() => relativeTopK(rows, own, 3)).toThrow("relativeTopK: expected an integer in [1, 2] for `k`, but received 3");
  expect(() => relativeTopK(rows, own, 1.5)).toThrow("for `k`, but received 1.5");
  expect(() => relativeTopK(rows, own, 1, { similarity: "changeOfBasis" })).toThrow(
    "relativeTopK: expected a similarity, not coefficients for `similarity`",
  );
  expect(() => relativeTopK(rows, own, 1, { p: 3 })).toThrow("relativeTopK: expected nothing with similarity cosine for `p`");
  expect(call(null)).toThrow(`${where} an object for \`options\`, but received null`);
  expect(() => relativeProjection(device.ones([0, 4]), own, { normalise: "centre", statistics: "batch" })).toThrow(
    `${where} at least one row for its statistics`,
  );
  expect(() => new RunningStatistics({ momentum: 0 })).toThrow("RunningStatistics: expected a number in (0, 1] for `momentum`, but received 0");
  using running = new RunningStatistics();
  running.update(rows);
  expect(() => running.update(device.ones([2, 3]))).toThrow('RunningStatistics.update: expected shape [n, 4] for `rows`, but received "[2, 3]"');
  expect(() => featureStatistics(device.ones([0, 3]))).toThrow("featureStatistics: expected shape [n, d] with at least one row for `rows`");
});
