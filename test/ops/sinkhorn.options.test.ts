/** What the options of `sinkhorn` mean: against published values, other formulas, and each other. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { add, div, mul, neg } from "../../src/ops/elementwise/index.ts";
import { matmul } from "../../src/ops/matmul/index.ts";
import { gumbel } from "../../src/ops/random/index.ts";
import { sum } from "../../src/ops/reduce/index.ts";
import { transpose } from "../../src/ops/shape/index.ts";
import { sinkhorn } from "../../src/ops/sinkhorn/index.ts";
import type { SinkhornOptions, SinkhornOutput } from "../../src/ops/sinkhorn/options.ts";
import { applyPlan } from "../../src/ops/transport/index.ts";
import type { Tensor } from "../../src/tensor.ts";
import { gradcheck } from "../../src/testing/gradcheck.ts";
import { testRandom } from "../../src/testing/random.ts";

const kinds = ["reference", "native", "webgpu"] as const;
const devices: Partial<Record<(typeof kinds)[number], Device>> = {};
const on = (kind: (typeof kinds)[number]): Device => devices[kind] as Device;
beforeAll(async () => {
  devices.reference = deviceOf(openReference());
  devices.native = deviceOf(await openNative());
  devices.webgpu = deviceOf(await openWebGPU({ allowSoftware: true }));
});
afterAll(async () => {
  for (const device of Object.values(devices)) await device.close();
});

const normals = (count: number, scale = 1, seed = 3): Float32Array => {
  const random = testRandom(seed);
  return Float32Array.from({ length: count }, () => scale * random.normal());
};
const near = (got: ArrayLike<number>, want: ArrayLike<number>, digits = 5): void => {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) expect(got[i], `element ${i}`).toBeCloseTo(want[i], digits);
};
const same = async (got: Tensor, want: Tensor, digits = 5): Promise<void> => {
  expect(got.shape).toEqual(want.shape);
  near(await got.read(), await want.read(), digits);
};

describe.each(kinds)("%s", (kind) => {
  const device = (): Device => on(kind);
  const C = (): Tensor =>
    device().tensor([
      [0, 1],
      [1, 0],
      [2, 1],
    ]);

  test("POT 0.8.2: ot.sinkhorn and ot.sinkhorn2 between three and two bins, reg 0.5", async () => {
    const [a, b] = [device().tensor([0.5, 0.25, 0.25]), device().tensor([0.3, 0.7])];
    const { P, cost, error } = sinkhorn(neg(C()), { temperature: 0.5, a, b, C: C(), iterations: 300, outputs: ["P", "cost", "error"] });
    near(await P.read(), [0.287873485, 0.212126515, 0.006063257, 0.243936743, 0.006063257, 0.243936743], 6);
    expect(await cost.item()).toBeCloseTo(0.474253029, 5);
    expect(await error.item()).toBeLessThan(1e-6);
  });

  test.each([
    [1, [0.479909279, 0.142514946, 0.027689392, 0.448944451, 0.014216208, 0.230495767]],
    [0.2, [0.674137955, 0.117177496, 0.070884861, 0.672708409, 0.016987631, 0.161215267]],
  ])("POT 0.8.2: ot.unbalanced.sinkhorn_unbalanced, reg 0.5, reg_m %d", async (rho, want) => {
    const [a, b] = [device().tensor([0.5, 0.25, 0.25]), device().tensor([0.45, 1.05])];
    near(await sinkhorn(neg(C()), { temperature: 0.5, a, b, rho, iterations: 200 }).read(), want, 6);
  });

  test("SuperGlue: optimal transport with a dustbin row and column, in the log domain", async () => {
    const [n, m, alpha, T] = [4, 6, 0.7, 30];
    const scores = normals(n * m, 2);
    // Sarlin et al. 2020: masses 1 for every keypoint, m and n for the dustbins.
    const [N, M] = [n + 1, m + 1];
    const z = Array.from({ length: N * M }, (_, e) => (Math.floor(e / M) < n && e % M < m ? scores[Math.floor(e / M) * m + (e % M)] : alpha));
    const [mu, nu] = [
      [...new Array(n).fill(0), Math.log(m)],
      [...new Array(m).fill(0), Math.log(n)],
    ];
    const [u, v] = [new Array(N).fill(0), new Array(M).fill(0)];
    const lse = (count: number, term: (i: number) => number): number =>
      Math.log(Array.from({ length: count }, (_, i) => Math.exp(term(i))).reduce((x, y) => x + y));
    for (let t = 0; t < T; t++) {
      for (let i = 0; i < N; i++) u[i] = mu[i] - lse(M, (j) => z[i * M + j] + v[j]);
      for (let j = 0; j < M; j++) v[j] = nu[j] - lse(N, (i) => z[i * M + j] + u[i]);
    }
    const want = z.map((score, e) => Math.exp(score + u[Math.floor(e / M)] + v[e % M]));
    const slack = device().tensor(alpha, []);
    const P = sinkhorn(device().tensor(scores, [n, m]), { slack, iterations: T });
    expect(P.shape).toEqual([N, M]);
    near(await P.read(), want, 5);
    await same(sinkhorn(device().tensor(scores, [n, m]), { slack: alpha, iterations: T }), P, 6);
  });

  test("columns first is rows first of the transposed", async () => {
    const logits = device().tensor(normals(2 * 5 * 7), [2, 5, 7]);
    const turned = sinkhorn(logits, { order: "column", marginals: "uniform", iterations: 4, outputs: ["P", "f", "g"] });
    const other = sinkhorn(transpose(logits, -1, -2), { marginals: "uniform", iterations: 4, outputs: ["P", "f", "g"] });
    await same(transpose(turned.P, -1, -2), other.P, 6);
    await same(turned.f, other.g);
    await same(turned.g, other.f);
  });

  test("P, log P, potentials and products say the same", async () => {
    const [n, m] = [6, 4];
    const logits = device().tensor(normals(3 * n * m, 2), [3, n, m]);
    const V = device().tensor(normals(3 * m * 5, 1, 8), [3, m, 5]);
    const U = device().tensor(normals(n * 2, 1, 9), [n, 2]);
    const costs = device().tensor(normals(n * m, 1, 10), [n, m]);
    for (const order of ["row", "column"] as const) {
      const options = { order, iterations: 6, temperature: 0.8 };
      const P = sinkhorn(logits, options);
      const { logP, f, g, PV, cost } = sinkhorn(logits, { ...options, V, C: costs, outputs: ["logP", "f", "g", "PV", "cost"] });
      const { PTV } = sinkhorn(logits, { ...options, V: U, outputs: ["PTV"] });
      near((await logP.read()).map(Math.exp), await P.read(), 5);
      await same(PV, matmul(P, V), 5);
      await same(PTV, matmul(P, U, { transposeA: true }), 5);
      await same(cost, sum(mul(P, costs), [-1, -2]), 4);
      await same(applyPlan(logits, f, g, V, { temperature: 0.8 }), PV, 5);
      const all = sinkhorn(logits, { ...options, V, C: costs, outputs: ["P", "logP", "PV", "cost"] });
      await same(all.P, P, 5);
      await same(all.PV, PV, 5);
      await same(all.cost, cost, 4);
    }
  });

  test("prologue, tensor temperature and noise are what they say", async () => {
    const logits = device().tensor(normals(2 * 4 * 4), [2, 4, 4]);
    const [scale, bias, tau] = [device().tensor(0.5, []), device().tensor(normals(16, 1, 4), [4, 4]), device().tensor([0.5, 2])];
    await same(sinkhorn(logits, { scale, bias, iterations: 5 }), sinkhorn(add(mul(logits, scale), bias), { iterations: 5 }), 6);
    await same(
      sinkhorn(logits, { temperature: tau, iterations: 5 }),
      sinkhorn(div(logits, device().tensor([0.5, 2], [2, 1, 1])), { iterations: 5 }),
      6,
    );
    const noise = { seed: 5, stream: 2, scale: 0.3 };
    const drawn = mul(gumbel(device(), [2, 4, 4], { seed: 5, stream: 2 }), 0.3);
    await same(sinkhorn(logits, { noise, iterations: 5 }), sinkhorn(add(logits, drawn), { iterations: 5 }), 5);
  });

  test("eps is DeepSeek's arithmetic at any side", async () => {
    const [eps, T] = [1e-3, 3];
    for (const n of [4, 8, 9]) {
      const values = normals(2 * n * n);
      const want = new Float64Array(2 * n * n);
      for (let b = 0; b < 2; b++) {
        const p = Float64Array.from(values.subarray(b * n * n, (b + 1) * n * n), Math.exp);
        const divide = (of: (k: number, l: number) => number, extra: number): void => {
          for (let k = 0; k < n; k++) {
            let total = extra;
            for (let l = 0; l < n; l++) total += p[of(k, l)];
            for (let l = 0; l < n; l++) p[of(k, l)] /= total;
          }
        };
        const [row, column] = [(k: number, l: number) => k * n + l, (k: number, l: number) => l * n + k];
        divide(row, 0);
        for (let e = 0; e < n * n; e++) p[e] += eps;
        divide(column, eps);
        for (let t = 1; t < T; t++) {
          divide(row, eps);
          divide(column, eps);
        }
        want.set(p, b * n * n);
      }
      const logits = device().tensor(values, [2, n, n]);
      const V = device().tensor(normals(2 * n * 5, 1, 6), [2, n, 5]);
      const { P, PV } = sinkhorn(logits, { eps, iterations: T, V, outputs: ["P", "PV"] });
      near(await P.read(), want, 6);
      await same(PV, matmul(P, V), 5);
    }
  });

  test("a warm start goes on where another run ended", async () => {
    const logits = device().tensor(normals(3 * 5 * 5, 2), [3, 5, 5]);
    for (const order of ["row", "column"] as const) {
      const first = sinkhorn(logits, { order, iterations: 7, outputs: ["f", "g"] });
      const start = order === "row" ? first.g : first.f;
      await same(sinkhorn(logits, { order, iterations: 6, start }), sinkhorn(logits, { order, iterations: 13 }), 5);
    }
  });

  test("annealing is a chain of warm starts at falling temperatures", async () => {
    const logits = device().tensor(normals(2 * 6 * 6, 2), [2, 6, 6]);
    let { g } = sinkhorn(logits, { iterations: 1, temperature: 2, outputs: ["g"] });
    ({ g } = sinkhorn(logits, { iterations: 1, temperature: 1, start: mul(g, 2), outputs: ["g"] }));
    const want = sinkhorn(logits, { iterations: 4, temperature: 0.5, start: mul(g, 2) });
    await same(sinkhorn(logits, { iterations: 6, temperature: 0.5, annealing: { from: 2, factor: 0.5 } }), want, 5);
  });

  test("an early stop is honest: fewer iterations, an error below the tolerance and that of the result", async () => {
    const [count, n] = [6, 9];
    const values = normals(count * n * n).map((value, i) => value * (0.2 + Math.floor(i / (n * n))));
    const logits = device().tensor(values, [count, n, n]);
    let before: number[] | undefined;
    for (const tolerance of [1e-1, 1e-3, 1e-4]) {
      const { P, error, iterations } = sinkhorn(logits, { tolerance, checkEvery: 2, iterations: 400, outputs: ["P", "error", "iterations"] });
      const [ran, errors, p] = [Array.from(await iterations.read()), await error.read(), Float64Array.from(await P.read())];
      for (let b = 0; b < count; b++) {
        expect(ran[b] % 2).toBe(0);
        expect(ran[b]).toBeGreaterThanOrEqual(before?.[b] ?? 0);
        if (ran[b] < 400) expect(errors[b]).toBeLessThanOrEqual(tolerance);
        let distance = 0;
        for (let i = 0; i < n; i++) distance += Math.abs(p.subarray((b * n + i) * n, (b * n + i + 1) * n).reduce((x, y) => x + y, 0) - 1);
        expect(Math.abs(distance - errors[b])).toBeLessThan(1e-5);
        // The same result as that many iterations without looking.
        const alone = sinkhorn(device().tensor(values.subarray(b * n * n, (b + 1) * n * n), [n, n]), { iterations: ran[b] });
        near(await alone.read(), p.subarray(b * n * n, (b + 1) * n * n), 5);
      }
      before = ran;
    }
    expect(new Set(before).size).toBeGreaterThan(2);
  });

  test("what is masked may be anything, and is 0", async () => {
    const values = normals(16);
    values[5] = Number.NaN;
    values[10] = Number.NEGATIVE_INFINITY;
    const mask = device().tensor([1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [4, 4], "int32");
    const { P, logP } = sinkhorn(device().tensor(values, [4, 4]), { mask, outputs: ["P", "logP"] });
    const [p, log] = [await P.read(), await logP.read()];
    expect([p[5], p[10]]).toEqual([0, 0]);
    near([log[5] / 1e30, log[10] / 1e30], [-1, -1]);
    near(await sum(P, 0).read(), [1, 1, 1, 1]);
    // A row that loses all its entries takes no mass, and the others none of it.
    const empty = device().tensor([0, 0, 1, 1], [2, 2], "int32");
    near(await sinkhorn(device().zeros([2, 2]), { mask: empty }).read(), [0, 0, 1, 1]);
  });

  test.each([
    ["masses", { a: [1, -1, 1], b: [1, 1, 1] }, "finite masses of at least 0 for `a` and `b`, but received -1"],
    ["start", { start: [0, Number.NaN, 0] }, "finite numbers for `start`, but received NaN"],
  ])("broken %s raise a DataError", async (_, options, message) => {
    const tensors = Object.fromEntries(Object.entries(options).map(([name, values]) => [name, device().tensor(values)]));
    await expect(sinkhorn(device().zeros([3, 3]), tensors).read()).rejects.toThrow(message);
    const sizes = device().tensor([4, 1], [2], "int32");
    await expect(sinkhorn(device().zeros([3, 3]), { sizes }).read()).rejects.toThrow("sizes within the matrix for `sizes`, but received 4");
    near(await sinkhorn(device().zeros([1, 1])).read(), [1]);
  });

  test("gradients of every input on this device are those of the reference", async () => {
    const [n, m] = [5, 6];
    const run = async (target: Device): Promise<ArrayLike<number>[]> => {
      const leaf = (seed: number, shape: number[], shift = 0): Tensor => {
        const tensor = target.tensor(
          normals(
            shape.reduce((x, y) => x * y, 1),
            0.4,
            seed,
          ).map((value) => value + shift),
          shape,
        );
        tensor.requiresGrad = true;
        return tensor;
      };
      const leaves = {
        logits: leaf(1, [2, n, m]),
        a: leaf(2, [n], 2),
        b: leaf(3, [m], 2),
        slack: leaf(4, []),
        temperature: leaf(5, [], 1.5),
        scale: leaf(6, [2, 1, 1], 1),
        bias: leaf(7, [n, m]),
        C: leaf(8, [n + 1, m + 1]),
        V: leaf(9, [m + 1, 3]),
      };
      const { logits, ...options } = leaves;
      const { cost, PV } = sinkhorn(logits, { ...options, iterations: 6, outputs: ["cost", "PV"] });
      add(sum(cost), sum(mul(PV, PV))).backward();
      return Promise.all(Object.values(leaves).map(async (tensor) => (await tensor.grad?.read()) ?? []));
    };
    const [got, want] = [await run(device()), await run(on("reference"))];
    for (const [i, values] of want.entries()) {
      expect(values.length).toBeGreaterThan(0);
      const scale = Math.max(1, ...Array.from(values, Math.abs));
      near(
        Array.from(got[i], (value) => value / scale),
        Array.from(values, (value) => value / scale),
        4,
      );
    }
  });
});

describe("finite differences through the public function", () => {
  const leaf = (values: ArrayLike<number>, shape: number[]): Tensor => {
    const tensor = on("reference").tensor(values, shape);
    tensor.requiresGrad = true;
    return tensor;
  };
  const logits = (): Tensor => leaf(normals(2 * 4 * 3), [2, 4, 3]);
  const through = async (make: (x: Tensor) => Tensor, x: Tensor): Promise<void> => {
    const result = await gradcheck(make, [x]);
    expect(result.passed, JSON.stringify(result)).toBe(true);
  };
  const T = { iterations: 5 };

  test.each(["P", "logP", "f", "g", "cost", "PV", "PTV"] as const)("of output %s to the logits, for either order", async (name: SinkhornOutput) => {
    const C = on("reference").tensor(normals(12, 1, 5), [4, 3]);
    const V = on("reference").tensor(normals(name === "PV" ? 6 : 8, 1, 6), [name === "PV" ? 3 : 4, 2]);
    for (const order of ["row", "column"] as const) await through((x) => sinkhorn(x, { ...T, order, C, V, outputs: [name] })[name], logits());
  });

  test.each<[string, ArrayLike<number>, number[], (x: Tensor) => SinkhornOptions]>([
    ["temperature", [0.7], [], (temperature) => ({ temperature })],
    ["temperature of each", [0.7, 1.3], [2], (temperature) => ({ temperature })],
    ["slack", [0.3], [], (slack) => ({ slack })],
    ["scale", [1.1, 0.4], [2, 1, 1], (scale) => ({ scale })],
    ["bias", normals(12, 1, 7), [4, 3], (bias) => ({ bias })],
    ["start", normals(3, 1, 8), [3], (start) => ({ start })],
    ["start of rows", normals(8, 1, 8), [2, 4], (start) => ({ start, order: "column" })],
    ["V", normals(12, 1, 9), [2, 3, 2], (V) => ({ V, outputs: ["PV"] })],
    ["C", normals(12, 1, 9), [4, 3], (C) => ({ C, outputs: ["cost"] })],
    ["V beside P", normals(6, 1, 9), [3, 2], (V) => ({ V, outputs: ["P", "PV"] })],
  ])("to %s", async (_, values, shape, options) => {
    const fixed = on("reference").tensor(normals(2 * 4 * 3), [2, 4, 3]);
    await through(
      (x) => {
        const chosen = options(x);
        if (!chosen.outputs) return sinkhorn(fixed, { ...T, ...chosen });
        const results = sinkhorn(fixed, { ...T, ...chosen, outputs: chosen.outputs });
        return results[chosen.outputs[chosen.outputs.length - 1]];
      },
      leaf(values, shape),
    );
  });
});

test("implicit and exact gradients meet where the iterations have converged, and not before", async () => {
  const device = on("reference");
  const gradient = async (backward: "exact" | "implicit", iterations: number): Promise<ArrayLike<number>> => {
    const logits = device.tensor(normals(2 * 16, 1), [2, 4, 4]);
    logits.requiresGrad = true;
    sinkhorn(logits, { backward, iterations }).backward(device.tensor(normals(2 * 16, 1, 4), [2, 4, 4]));
    return (await logits.grad?.read()) ?? [];
  };
  near(await gradient("implicit", 200), await gradient("exact", 200), 6);
  const [early, exact] = [await gradient("implicit", 2), await gradient("exact", 2)];
  expect(Math.max(...Array.from(early, (value, i) => Math.abs(value - exact[i])))).toBeGreaterThan(1e-4);
});

test("backward: none records nothing", () => {
  const logits = on("reference").tensor(normals(9), [3, 3]);
  logits.requiresGrad = true;
  expect(sinkhorn(logits, { backward: "none" }).requiresGrad).toBe(false);
});

test("webgpu: one dispatch each way with any option, two for masks and sizes at once", async () => {
  const device = on("webgpu");
  const [n, m] = [6, 5];
  const logits = device.tensor(normals(2 * n * m), [2, n, m]);
  logits.requiresGrad = true;
  const [a, b, start] = [device.ones([n]), device.full([m], n / m), device.zeros([m])];
  const mask = device.ones([n, m], "int32");
  const sizes = device.tensor([n, m, 3, m], [2, 2], "int32");
  const cotangent = device.tensor(normals(2 * n * m, 1, 4), [2, n, m]);
  const plain: [SinkhornOptions, number][] = [
    [{}, 1],
    [{ a, b }, 1],
    [{ a, b, mask, start }, 1],
    [{ sizes }, 1],
    [{ mask, sizes }, 2],
    [{ tolerance: 1e-3, checkEvery: 1 }, 1],
    [{ rho: 2, annealing: { from: 2, factor: 0.5 } }, 1],
    [{ order: "column", marginals: "uniform", backward: "implicit" }, 1],
  ];
  for (const [options, forward] of plain) {
    const before = device.counters.dispatches;
    const P = sinkhorn(logits, { iterations: 5, ...options });
    expect(device.counters.dispatches - before, JSON.stringify(Object.keys(options))).toBe(forward);
    P.backward(cotangent);
    expect(device.counters.dispatches - before).toBe(forward + 1);
    logits.grad?.dispose();
    logits.grad = undefined;
    P.dispose();
  }
  await device.synchronize();
});
