/** The definition in float64, in the log domain, as README.md states it. */
import type { ReferenceRun } from "../../op.ts";
import { EXCLUDED, endsBlock, type ForwardAttrs, orient, recordLayout, temperatureAt } from "./geometry.ts";

const NONE = Number.NEGATIVE_INFINITY;

const logSumExp = (count: number, term: (index: number) => number): number => {
  let largest = NONE;
  for (let i = 0; i < count; i++) largest = Math.max(largest, term(i));
  if (largest === NONE) return NONE;
  let total = 0;
  for (let i = 0; i < count; i++) total += Math.exp(term(i) - largest);
  return largest + Math.log(total);
};

/** λ (log mass − LSE); no mass, or nothing to give it to, is no potential. */
const potential = (leak: number, mass: number, lse: number): number => (mass > 0 && lse > NONE ? (Math.log(mass) - lse) / (1 + leak) : NONE);

export const forward = (run: ReferenceRun<ForwardAttrs>): void => {
  const { call, scalars, inputs, fault } = run;
  const [plan, record] = run.outputs;
  const { iterations, annealed, order, checkEvery, uniform, unbalanced } = call.attrs;
  const { count, n, m, rowStep, columnStep } = orient(call.inputs[0].shape, order);
  const layout = recordLayout(n, m, call.attrs);
  const names = ["logits", ...call.attrs.operands.split(" ")];
  const operand = (name: string, size: number, b: number) => {
    const index = names.indexOf(name);
    if (index < 0) return undefined;
    const values = inputs[index];
    return values.length > size ? values.subarray(b * size, (b + 1) * size) : values;
  };
  for (let b = 0; b < count; b++) {
    const [first, second] = operand("sizes", 2, b) ?? [];
    const [wide, high] = order === "row" ? [first ?? n, second ?? m] : [second ?? n, first ?? m];
    if (!(wide >= 0 && wide <= n)) fault(wide);
    if (!(high >= 0 && high <= m)) fault(high);
    const mass = (name: string, size: number, inside: number, otherwise: number): Float64Array => {
      const given = operand(name, size, b);
      return Float64Array.from({ length: size }, (_, i) => {
        if (i >= inside) return 0;
        const value = given ? given[i] : otherwise;
        const broken = !(value >= 0 && value < Number.POSITIVE_INFINITY);
        if (broken) fault(value);
        return broken ? 0 : value;
      });
    };
    const rows = mass("rows", n, wide, uniform ? 1 / wide : 1);
    const columns = mass("columns", m, high, uniform ? 1 / high : wide / high);
    const start = operand("start", m, b)?.map((value) => {
      if (!Number.isFinite(value)) fault(value);
      return Number.isFinite(value) ? value : 0;
    });
    const mask = operand("mask", n * m, b);
    const place = (i: number, j: number): number => i * rowStep + j * columnStep;
    const logits = Float64Array.from({ length: n * m }, (_, e) => {
      const at = place(Math.floor(e / m), e % m);
      // Nobody looks at what is excluded: padding may be anything.
      if (mask?.[at] === 0 || rows[Math.floor(e / m)] === 0 || columns[e % m] === 0) return NONE;
      const value = inputs[0][b * n * m + at];
      if (!Number.isFinite(value)) fault(value);
      return Number.isFinite(value) ? value : 0;
    });
    const base = b * layout.size;
    const write = (offset: number, size: number, value: (index: number) => number): void => {
      if (offset + size <= layout.size) for (let i = 0; i < size; i++) record[base + offset + i] = value(i);
    };

    const f = new Float64Array(n).fill(0);
    const g = Float64Array.from({ length: m }, (_, j) => start?.[j] ?? 0);
    let x = logits;
    let anchorF = f.slice();
    let anchorG = g.slice();
    let done = iterations;
    let error = 0;
    const rowLse = (i: number): number => logSumExp(m, (j) => x[i * m + j] + g[j]);
    const nextF = (temperature: number): Float64Array =>
      Float64Array.from(f, (_, i) => potential(scalars.leak_rows * temperature, rows[i], rowLse(i)));
    /** Σ (mass of a row) · |its next scaling − 1|: the L1 distance to the wanted masses where those are met exactly. */
    const measure = (temperature: number): number =>
      nextF(temperature).reduce(
        (total, next, i) => (next > NONE ? total + Math.exp(f[i] + rowLse(i)) * Math.abs(Math.expm1(next - f[i])) : total),
        0,
      );
    for (let t = 1; t <= iterations; t++) {
      const temperature = temperatureAt(t, annealed, scalars);
      x = logits.map((value) => value / temperature);
      const ratio = t === 1 ? 1 : temperatureAt(t - 1, annealed, scalars) / temperature;
      const before = g.map((value) => value * ratio);
      g.set(before);
      anchorF = anchorF.map((value) => value * ratio);
      anchorG = anchorG.map((value) => value * ratio);
      f.set(nextF(temperature));
      const rowMass = Float64Array.from(f, (value, i) => (value > NONE ? Math.exp(value + rowLse(i)) : 0));
      const columnLse = Float64Array.from(g, (_, j) => logSumExp(n, (i) => x[i * m + j] + f[i]));
      for (let j = 0; j < m; j++) g[j] = potential(scalars.leak_columns * temperature, columns[j], columnLse[j]);
      if (t === 1) write(layout.start, m, (j) => (g[j] > NONE ? Math.exp(before[j] - g[j]) : 0));
      // The first iteration is where scalings begin; annealed ones leave their potentials.
      const scaling = (value: number, anchor: number): number =>
        t <= annealed ? Math.max(value, EXCLUDED) : value === NONE ? 0 : t === 1 ? 1 : Math.exp(value - anchor);
      const at = layout.history + (t - 1) * layout.stride;
      write(at, n, (i) => scaling(f[i], anchorF[i]));
      write(at + n, m, (j) => scaling(g[j], anchorG[j]));
      if (unbalanced) {
        write(at + n + m, n, (i) => (rowMass[i] > 0 ? 1 / rowMass[i] : 0));
        write(at + 2 * n + m, m, (j) => (g[j] > NONE ? Math.exp(-g[j] - columnLse[j]) : 0));
      }
      if (endsBlock(t, annealed)) {
        anchorF = f.slice();
        anchorG = g.slice();
      }
      const checked = checkEvery > 0 && t > annealed && t % checkEvery === 0;
      if (checked || (t === iterations && call.attrs.error)) error = measure(temperature);
      if (checked && t < iterations && error <= scalars.tolerance) {
        done = t;
        break;
      }
    }
    write(layout.iterations, 1, () => done);
    write(layout.error, 1, () => (call.attrs.error ? error : 0));
    write(layout.f, n, (i) => Math.max(f[i], EXCLUDED));
    write(layout.g, m, (j) => Math.max(g[j], EXCLUDED));
    write(layout.rows, n, (i) => (f[i] > NONE ? 1 / rows[i] : 0));
    write(layout.columns, m, (j) => (g[j] > NONE ? 1 / columns[j] : 0));
    // What a run that stopped early has not written.
    for (let e = layout.history + done * layout.stride; e < layout.size; e++) record[base + e] = 0;
    if (plan.length === 0) continue;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < m; j++) {
        const logP = x[i * m + j] + f[i] + g[j];
        plan[b * n * m + place(i, j)] = call.attrs.plan === "P" ? Math.exp(logP) : Math.max(logP, EXCLUDED);
      }
    }
  }
};
