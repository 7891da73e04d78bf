/** One case of the table, out of what is special about it. */
import { type Case, type CaseInput, defineCase, type Fill, normal, type Tolerance, values } from "../../testing/cases.ts";
import { maximum } from "../elementwise/index.ts";
import { slice } from "../shape/index.ts";
import { type ForwardAttrs, orient, plainMasses, recordLayout } from "./geometry.ts";
import { recorded, rerun, tiny } from "./op.ts";

export const forwardTolerance = (scale: number, side: number): Tolerance => ({
  relative: 0,
  absolute: (scale <= 5 ? 1e-6 : 5e-6) * Math.max(1, side / 256),
  reason: "rounding of logits + potentials grows with the logits, and that of sums with n",
});

const gradientTolerance = (scale: number): Tolerance => ({
  relative: scale <= 10 ? 5e-6 : scale <= 20 ? 5e-5 : 5e-4,
  absolute: 1e-6,
  reason: "sharp matrices are ill-conditioned; what is left of the cotangent after cancellation has the rounding of the cotangent",
});

export interface Settings {
  readonly n: number;
  readonly m?: number;
  readonly batch?: readonly number[];
  readonly temperature?: number;
  readonly scale?: number;
  readonly fill?: Fill;
  /** Logits in float16. */
  readonly half?: boolean;
  readonly large?: boolean;
  readonly slow?: boolean;
  /** Masses of rows and columns, for all matrices or (`each`) one set per matrix. */
  readonly masses?: "shared" | "each" | "some zero";
  readonly start?: "shared" | "each";
  readonly mask?: "shared" | "each";
  readonly sizes?: readonly number[];
  readonly tolerance?: number;
  /** First temperature and factor of a schedule. */
  readonly annealing?: { readonly hot: number; readonly cooling: number; readonly annealed: number };
  readonly leaks?: readonly [number, number];
  /** Looks at potentials, too (at the number of iterations as well where matrices stop early). */
  readonly potentials?: boolean;
  readonly attrs?: Partial<ForwardAttrs>;
}

/** Entries are shares, and the last half-step gives every column its mass, whatever came before. */
export const invariants =
  (settings: Settings): NonNullable<Case["invariants"]> =>
  ({ inputs, outputs: [p], call }) => {
    const attrs = call.attrs as ForwardAttrs;
    const { n, m, count, rowStep, columnStep } = orient(call.inputs[0].shape, attrs.order);
    if (attrs.plan !== "P" || settings.leaks || settings.mask || settings.sizes) return;
    const columns = settings.masses ? inputs[2] : undefined;
    for (let b = 0; b < count; b++) {
      for (let j = 0; j < m; j++) {
        const wanted = columns ? columns[columns.length > m ? b * m + j : j] : plainMasses(n, m, attrs.uniform).column;
        let total = 0;
        for (let i = 0; i < n; i++) {
          const entry = p[b * n * m + i * rowStep + j * columnStep];
          if (!(entry >= 0)) throw new Error(`entry (${i}, ${j}) of matrix ${b} is ${entry}`);
          total += entry;
        }
        const allowed = 1e-6 * Math.max(1, n / 256, wanted);
        if (!(Math.abs(total - wanted) <= allowed)) throw new Error(`column ${j} of matrix ${b} sums to ${total} and not to ${wanted}`);
      }
    }
  };

export const sinkhornCase = (name: string, settings: Settings): Case => {
  const {
    n: rows,
    m: columns = rows,
    batch = [3],
    temperature = 1,
    scale = 1,
    fill = normal(scale),
    large,
    slow,
    masses,
    start,
    mask,
    sizes,
  } = settings;
  const { annealing, half = false, leaks, tolerance = 0, potentials = false } = settings;
  const attrs: ForwardAttrs = {
    iterations: 20,
    order: "row",
    plan: "P",
    record: "history",
    error: false,
    checkEvery: 0,
    annealed: annealing?.annealed ?? 0,
    unbalanced: leaks !== undefined,
    uniform: false,
    backward: "exact",
    operands: [...(masses ? ["rows", "columns"] : []), ...(start ? ["start"] : []), ...(mask ? ["mask"] : []), ...(sizes ? ["sizes"] : [])].join(" "),
    ...settings.attrs,
  };
  const shape = [...batch, rows, columns];
  const { n, m } = orient(shape, attrs.order);
  const item = (kind: string, ...size: number[]): number[] => (kind === "each" ? [...batch, ...size] : size);
  // Masses of both sides have the same total, as balanced runs need.
  const mass =
    (size: number): Fill =>
    (_, i) =>
      masses === "some zero" && i % 4 === 2 ? 0 : (1 + (size > 1 ? 0.5 * Math.cos((2 * Math.PI * i) / size) : 0)) / size;
  const inputs: CaseInput[] = [{ shape, dtype: half ? "float16" : "float32", fill }];
  if (masses) {
    for (const size of [n, m]) inputs.push({ shape: item(masses, size), fill: mass(size), gradient: masses !== "some zero" });
  }
  if (start) inputs.push({ shape: item(start, m), fill: normal(0.5) });
  // Three of four entries; the first row and column are whole, so that everything has somewhere to go.
  if (mask)
    inputs.push({
      shape: item(mask, rows, columns),
      dtype: "int32",
      fill: (random, i) => Number(random.uniform() < 0.75 || i % columns === 0 || i % (rows * columns) < columns),
    });
  if (sizes) inputs.push({ shape: [...batch, 2], dtype: "int32", fill: values(sizes) });
  const effective = scale / temperature;
  const layout = recordLayout(n, m, attrs);
  const excluded = masses === "some zero" || mask !== undefined || sizes !== undefined;
  const withMatrix = attrs.plan !== "none";
  const part = (record: Parameters<typeof slice>[0], from: number, to: number) => slice(record, { axis: -1, start: from, end: to });
  return defineCase({
    name,
    op: attrs.record === "none" ? tiny : attrs.annealed > 0 || attrs.plan === "none" ? rerun : recorded,
    inputs,
    attrs,
    scalars: {
      temperature,
      hot: annealing?.hot ?? 1,
      cooling: annealing?.cooling ?? 1,
      leak_rows: leaks?.[0] ?? 0,
      leak_columns: leaks?.[1] ?? 0,
      tolerance,
    },
    forward: {
      ...forwardTolerance(effective, Math.max(n, m)),
      ...((potentials || attrs.plan === "logP") && {
        relative: 3e-6,
        reason: "potentials add up logarithms, each with an error of 5e-7, and have the rounding of the logits",
      }),
    },
    backward: gradientTolerance(effective),
    ...((potentials || (excluded && attrs.plan === "logP")) && {
      view: ([p, record]) => {
        // What stands for minus infinity has no error to speak of, and would drown finite differences.
        const shown = excluded && attrs.plan === "logP" ? maximum(p, -100) : p;
        if (!potentials) return [shown];
        const all = part(record, layout.f, layout.g + m);
        const capped = excluded ? maximum(all, -100) : all;
        if (capped !== all) all.dispose();
        const reports = attrs.checkEvery > 0 ? [part(record, layout.iterations, layout.iterations + 1)] : [];
        return [shown, capped, ...reports];
      },
    }),
    outputs: [...(withMatrix ? [0] : []), ...(potentials ? [1] : []), ...(potentials && attrs.checkEvery > 0 ? [2] : [])],
    finiteDifferences:
      Math.max(n, m) > 33 || half
        ? { off: half ? "steps are smaller than float16 can take" : "the formula does not depend on n, and smaller n are checked" }
        : { step: effective > 10 ? 1e-7 : 1e-5, tolerance: effective > 10 ? 1e-4 : 1e-6 },
    invariants: invariants(settings),
    ...(large ? { large } : {}),
    ...(slow ? { slow } : {}),
  });
};
