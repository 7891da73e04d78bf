/** A teacher with a planted symmetry and a network that learns from its answers: over the public exports of the package alone. */
import {
  AdamW,
  add,
  cyclicGroup,
  type Device,
  dihedralGroup,
  expandKernel,
  initializer,
  linear,
  matrixGroups,
  mean,
  mul,
  normal,
  normRegularizer,
  type PermutationSet,
  permutationMatrices,
  reshape,
  restMatrices,
  rotationGroup,
  scope,
  sigmoid,
  square,
  sub,
  type Tensor,
  uniform,
  WeightSharingLinear,
} from "birkhoff";

export type Symmetry = "full" | "half" | "none";

export interface Group {
  readonly label: string;
  readonly sizes: { readonly least: number; readonly most: number; readonly usual: number };
  make(size: number): PermutationSet;
}

export const GROUPS: Readonly<Record<string, Group>> = {
  cyclic: { label: "cyclic shifts", sizes: { least: 3, most: 16, usual: 8 }, make: cyclicGroup },
  c4: { label: "C4, quarter turns", sizes: { least: 2, most: 6, usual: 4 }, make: rotationGroup },
  d4: { label: "D4, turns and mirrors", sizes: { least: 2, most: 5, usual: 3 }, make: dihedralGroup },
};

export interface LessonSettings {
  readonly group: string;
  /** Positions of a shifted signal; side of an image. */
  readonly size: number;
  readonly symmetry: Symmetry;
  readonly seed?: number;
}

export interface Snapshot {
  readonly step: number;
  readonly loss: number;
  /** The learned matrices, [g − 1, d, d]. */
  readonly matrices: Float32Array;
  /** Share of rows whose largest entry is one of the teacher's; undefined where it has none. */
  readonly agreement: number | undefined;
}

const BATCH = 64;
/** The kernels are learned first, with the identity alone. */
const WARM_UP = 60;
const NORM = 1e-4;

const share = (matrices: Float32Array, teacher: Float32Array, d: number): number => {
  let right = 0;
  for (let row = 0; row < matrices.length; row += d) {
    let best = 0;
    for (let m = 1; m < d; m++) if (matrices[row + m] > matrices[row + best]) best = m;
    if (teacher[row + best] > 0) right++;
  }
  return right / (matrices.length / d);
};

export class Lesson {
  /** Length of a signal. */
  readonly d: number;
  /** What the matrices should become, [g − 1, d, d]; undefined where the teacher's kernels have nothing in common. */
  readonly teacher: Float32Array | undefined;
  readonly labels: readonly string[];
  readonly #device: Device;
  readonly #seed: number;
  readonly #network: WeightSharingLinear;
  readonly #optimizer: AdamW;
  readonly #learning: (step: number) => boolean;
  /** Kernels that the teacher answers with, by turns where there are two: [C·g, d]. */
  readonly #kernels: readonly Tensor[];
  readonly #elements: number;
  #step = 0;

  constructor(device: Device, { group, size, symmetry, seed = 1 }: LessonSettings) {
    const { elements, labels } = GROUPS[group].make(size);
    const d = elements[0].length;
    const g = elements.length;
    const kernels = 2 * d;
    this.d = d;
    this.#device = device;
    this.#seed = seed;
    this.#elements = g;
    // With half of a symmetry only the first half of the elements take part, and each matrix stands for two of these by turns.
    const taking = symmetry === "half" ? elements.slice(0, Math.ceil(g / 2)) : elements;
    const turns = symmetry === "half" ? [0, 1] : [0];
    const sources = elements.slice(1).map((_, i) => turns.map((turn) => taking[(i + 1 + turn) % taking.length]));
    const acting = turns.map((turn) => permutationMatrices(sources.map((source) => source[turn])));
    this.labels = sources.map((source, i) =>
      symmetry === "none" ? `matrix ${i + 1}` : source.map((element) => labels[elements.indexOf(element)]).join(" or "),
    );
    this.teacher = symmetry === "none" ? undefined : acting[0].map((_, i) => acting.reduce((sum, matrices) => sum + matrices[i], 0) / acting.length);
    this.#kernels = scope(() => {
      if (symmetry === "none") return [normal(device, [kernels * g, d], { seed })];
      const prototypes = normal(device, [kernels, 1, d], { seed });
      return acting.map((matrices) => reshape(expandKernel(device.tensor(matrices, [g - 1, d, d]), prototypes), [-1, d]));
    });
    this.#network = new WeightSharingLinear(initializer(device, seed), { features: d, kernels, elements: g });
    this.#optimizer = new AdamW(matrixGroups(this.#network, [this.#network], { lr: 0.01, matrixLr: 0.1 }), { weightDecay: 0 });
    this.#learning = restMatrices([this.#network], WARM_UP);
  }

  /** Of the logits: low ones make matrices sharp. */
  set temperature(temperature: number) {
    this.#network.matrices.temperature = temperature;
  }

  /** One step of training; gives what there is to see after it. */
  async step(): Promise<Snapshot> {
    const learning = this.#learning(this.#step);
    const [loss, matrices] = scope(() => {
      const task = this.#loss();
      (learning ? add(task, mul(normRegularizer([this.#network]), NORM)) : task).backward();
      this.#optimizer.step();
      this.#optimizer.zeroGrad();
      return [task.detach(), this.#network.matrices.stack().detach()];
    });
    this.#step++;
    try {
      const [value, read] = await Promise.all([loss.item(), matrices.read()]);
      const seen = Float32Array.from(read);
      return { step: this.#step, loss: value, matrices: seen, agreement: this.teacher && share(seen, this.teacher, this.d) };
    } finally {
      loss.dispose();
      matrices.dispose();
    }
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.#network.dispose();
    for (const kernels of this.#kernels) kernels.dispose();
  }

  #loss(): Tensor {
    const random = { seed: this.#seed, stream: 1 + this.#step };
    const x = normal(this.#device, [BATCH, this.d], random);
    const shape = [BATCH, -1, this.#elements];
    const [first, second] = this.#kernels.map((kernels) => reshape(linear(x, kernels), shape));
    const answers = second ? add(first, mul(this.#choices(), sub(second, first))) : first;
    return mean(square(sub(this.#network.forward(x), reshape(answers, [BATCH, -1]))));
  }

  /** 0 or 1 for every signal and matrix: a steep sigmoid of evenly drawn numbers. */
  #choices(): Tensor {
    const even = uniform(this.#device, [BATCH, 1, this.#elements], { seed: this.#seed + 1, stream: 1 + this.#step });
    return sigmoid(mul(sub(even, 0.5), 1e6));
  }
}
