/** What a device can do at most, measured on the device itself: multiply-adds, and bytes copied. */
import { apply } from "../../src/apply.ts";
import { whole } from "../../src/attributes.ts";
import type { Device } from "../../src/device.ts";
import { defineOp, elements, input, type Op, output } from "../../src/op.ts";
import { reflect } from "../../src/reflect.ts";
import { scope } from "../../src/scope.ts";
import { COPY, FMA } from "./probe-shaders.ts";

/** Per millisecond. */
export interface Peaks {
  readonly fma: number;
  readonly copy: number;
  /** How they were measured, for people. */
  readonly how: string;
}

const fmaShader = reflect("probe/fma", FMA);
const copyShader = reflect("probe/copy", COPY);
const { THREADS, CHAINS } = fmaShader.consts;
/** Operations of one round of the loop in WGSL. */
const ROUND = 2 * 4 * CHAINS;

const unsupported: NonNullable<Op["unsupported"]> = (_, device) => (device === "reference" ? "its speed is of no interest" : undefined);
const reference = (): never => {
  throw new Error("a probe does not run on the reference device");
};
const gradient = { none: "a probe of speed" } as const;

/** y: [items]; the native kernel reads `flop` an item, the GPU's `rounds` a thread. */
const fmaProbe = defineOp<{ readonly items: number }>({
  name: "probe.fma",
  arity: 1,
  attributes: { items: whole(1) },
  scalars: ["flop", "rounds"],
  outputs: (_, { items }) => [{ shape: [items], dtype: "float32" }],
  reference,
  unsupported,
  plan: ({ attrs }) => ({
    passes: [{ shader: fmaShader, entry: "main", bind: { y: output(0) }, workgroups: [attrs.items / THREADS, 1, 1] }],
  }),
  gradient,
});
const COPY_GROUPS = 4096;
const copyProbe = defineOp({
  name: "probe.copy",
  arity: 1,
  attributes: {},
  scalars: ["repeat"],
  outputs: ([x]) => [x],
  reference,
  unsupported,
  plan: ({ inputs: [{ shape }] }) => {
    const count = elements(shape) / 4;
    const groups = Math.min(COPY_GROUPS, Math.ceil(count / THREADS));
    const bind = { x: input(0), y: output(0) };
    return { passes: [{ shader: copyShader, entry: "main", params: { count, stride: groups * THREADS }, bind, workgroups: [groups, 1, 1] }] };
  },
  gradient,
});

/** Samples, and how long one lasts at the least, so that neither launching nor the clock counts; on a CPU so short that some are left alone by other programs. */
const SAMPLES = { gpu: { count: 7, ms: 40 }, cpu: { count: 60, ms: 4 } } as const;

/** Work per millisecond of the best of some samples: a peak is what was reached, not what is usual. */
const best = async (
  run: (amount: number) => Promise<number>,
  unit: number,
  { count, ms }: { readonly count: number; readonly ms: number },
): Promise<number> => {
  let amount = 1;
  let took = await run(amount);
  while (took < ms) {
    amount *= Math.max(2, Math.min(16, Math.ceil((1.2 * ms) / Math.max(took, 0.1))));
    took = await run(amount);
  }
  let rate = (unit * amount) / took;
  for (let i = 1; i < count; i++) rate = Math.max(rate, (unit * amount) / (await run(amount)));
  return rate;
};

/** The higher of each, for whoever measures again: other programs, and clocks that are still rising, make a peak low for seconds. */
export const higher = (a: Peaks | undefined, b: Peaks | undefined): Peaks | undefined =>
  a && b ? { ...a, fma: Math.max(a.fma, b.fma), copy: Math.max(a.copy, b.copy) } : (a ?? b);

/** @returns undefined on the reference device */
export const measurePeaks = async (device: Device): Promise<Peaks | undefined> => {
  if (device.kind === "reference") return undefined;
  const gpu = device.kind === "webgpu";
  const { software } = device.info;
  const samples = gpu ? SAMPLES.gpu : SAMPLES.cpu;
  const timed = async (fn: () => void): Promise<number> => {
    const start = performance.now();
    scope(fn);
    await device.synchronize();
    return performance.now() - start;
  };
  // A GPU needs many threads to hide latency; a software GPU would take minutes for them.
  const items = gpu ? (software ? 4 : 2048) * THREADS : 64;
  const rounds = 64;
  const flop = gpu ? rounds * ROUND : 384 * 256;
  using nothing = device.zeros([1]);
  const fma = await best(
    (amount) => timed(() => void apply(fmaProbe, [nothing], { items }, { flop: flop * amount, rounds: rounds * amount })),
    flop * items,
    samples,
  );
  // Far beyond the caches; within one binding of the least GPU.
  const words = software ? 1 << 22 : 1 << 25;
  using x = device.tensor(new Float32Array(words).fill(1));
  const copies = (amount: number): void => {
    if (!gpu) apply(copyProbe, [x], {}, { repeat: amount });
    else for (let i = 0; i < amount; i++) scope(() => void apply(copyProbe, [x], {}, { repeat: 1 }));
  };
  const copy = await best((amount) => timed(() => copies(amount)), 8 * words, samples);
  return { fma, copy, how: `multiply-adds in registers; copies of ${(4 * words) / 2 ** 20} MiB, read and write counted` };
};
