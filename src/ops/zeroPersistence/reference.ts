import type { Attrs, Call, ReferenceRun, Shape } from "../../op.ts";

export const METRICS = ["l1", "l2", "linf"] as const;
export type Metric = (typeof METRICS)[number];
export const FORMS = ["absolute", "squared", "hinge"] as const;
export type Form = (typeof FORMS)[number];
export const LOSS_REDUCTIONS = ["sum", "mean"] as const;
export type LossReduction = (typeof LOSS_REDUCTIONS)[number];

export interface PersistenceAttrs extends Attrs {
  readonly metric: Metric;
  /** Whether the second input names every point's cloud. */
  readonly labelled: boolean;
  /** Number of clouds of labelled points; 0 otherwise. */
  readonly classes: number;
}

export interface LossAttrs extends Attrs {
  readonly form: Form;
  readonly reduction: LossReduction;
}

/** Points in a row, the size of a cloud where all have the same, and how many clouds there are. */
export interface Layout {
  readonly count: number;
  readonly size: number;
  readonly width: number;
  readonly clouds: number;
}

export const layoutOf = (points: Shape, { labelled, classes }: PersistenceAttrs): Layout => {
  const [size, width] = points.slice(-2);
  const batch = points.slice(0, -2).reduce((a, b) => a * b, 1);
  return { count: batch * size, size, width, clouds: labelled ? classes : batch };
};

/** Where a point's death time stands: the first point of each cloud has none, and no place either where clouds are equally large. */
const slotOf = (point: number, { size }: Layout, labelled: boolean): number => (labelled ? point : point - Math.floor(point / size) - 1);

/** What the tree compares: squares for "l2". */
const separation = (x: ArrayLike<number>, a: number, b: number, width: number, metric: Metric): number => {
  let result = 0;
  for (let k = 0; k < width; k++) {
    const difference = Math.abs(x[a * width + k] - x[b * width + k]);
    if (metric === "linf") result = Math.max(result, difference);
    else result += metric === "l2" ? difference * difference : difference;
  }
  return Number.isNaN(result) ? Number.POSITIVE_INFINITY : result;
};

const largestCoordinate = (x: ArrayLike<number>, a: number, b: number, width: number): number => {
  let best = 0;
  for (let k = 1; k < width; k++) {
    if (Math.abs(x[a * width + k] - x[b * width + k]) > Math.abs(x[a * width + best] - x[b * width + best])) best = k;
  }
  return best;
};

/** Row numbers of the points of every cloud, rising. */
const cloudsOf = (call: Call<PersistenceAttrs>, labels: ArrayLike<number> | undefined, fault: (value: number) => void): number[][] => {
  const { count, size, clouds } = layoutOf(call.inputs[0].shape, call.attrs);
  const result: number[][] = Array.from({ length: clouds }, () => []);
  for (let i = 0; i < count; i++) {
    const cloud = labels ? labels[i] : Math.floor(i / size);
    if (cloud >= 0 && cloud < clouds) result[cloud].push(i);
    else fault(cloud);
  }
  return result;
};

/**
 * points, labels -> death times, partners, coordinates. Prim's algorithm from the first point of every cloud, edges in the order of
 * (length, lower row, higher row), which makes the tree unique.
 */
export const forward = ({
  call,
  inputs: [points, labels],
  outputs: [deaths, partners, coordinates],
  fault,
}: ReferenceRun<PersistenceAttrs>): void => {
  const { metric, labelled } = call.attrs;
  const layout = layoutOf(call.inputs[0].shape, call.attrs);
  const { size, width } = layout;
  if (deaths.length === 0) return;
  deaths.fill(0);
  partners.fill(-1);
  coordinates.fill(0);
  for (const cloud of cloudsOf(call, labels, fault)) {
    for (const i of cloud) for (let k = 0; k < width; k++) if (!Number.isFinite(points[i * width + k])) fault(points[i * width + k]);
    const waiting = cloud.slice(1).map((point) => ({ point, partner: cloud[0], key: separation(points, cloud[0], point, width, metric) }));
    while (waiting.length > 0) {
      let best = 0;
      for (let j = 1; j < waiting.length; j++) {
        const [a, b] = [waiting[j], waiting[best]];
        const low = Math.min(a.point, a.partner) - Math.min(b.point, b.partner);
        const high = Math.max(a.point, a.partner) - Math.max(b.point, b.partner);
        if (a.key < b.key || (a.key === b.key && (low < 0 || (low === 0 && high < 0)))) best = j;
      }
      const [{ point, partner, key }] = waiting.splice(best, 1);
      const slot = slotOf(point, layout, labelled);
      deaths[slot] = metric === "l2" ? Math.sqrt(key) : key;
      partners[slot] = labelled ? partner : partner % size;
      if (metric === "linf") coordinates[slot] = largestCoordinate(points, point, partner, width);
      for (const other of waiting) {
        const reach = separation(points, point, other.point, width, metric);
        // At the same length, the edge to the earlier partner comes first.
        if (reach < other.key || (reach === other.key && point < other.partner)) Object.assign(other, { key: reach, partner: point });
      }
    }
  }
};

/** g, points, deaths, partners, coordinates -> dpoints: every edge pulls its two ends apart along the gradient of its length. */
export const backward = ({ call, inputs: [g, points, deaths, partners, coordinates], outputs: [dpoints] }: ReferenceRun<PersistenceAttrs>): void => {
  const { metric, labelled } = call.attrs;
  const layout = layoutOf(call.inputs[1].shape, call.attrs);
  const { count, size, width } = layout;
  dpoints.fill(0);
  for (let i = 0; i < count; i++) {
    if (!labelled && i % size === 0) continue;
    const slot = slotOf(i, layout, labelled);
    if (partners[slot] < 0 || partners[slot] >= size) continue;
    const partner = labelled ? partners[slot] : i - (i % size) + partners[slot];
    for (let k = 0; k < width; k++) {
      const difference = points[i * width + k] - points[partner * width + k];
      let slope = Math.sign(difference);
      if (metric === "l2") slope = deaths[slot] === 0 ? 0 : difference / deaths[slot];
      if (metric === "linf" && coordinates[slot] !== k) slope = 0;
      dpoints[i * width + k] += g[slot] * slope;
      dpoints[partner * width + k] -= g[slot] * slope;
    }
  }
};

/** deaths, partners -> loss, number of death times. */
export const loss = ({ call, scalars: { beta }, inputs: [deaths, partners], outputs: [result, count] }: ReferenceRun<LossAttrs>): void => {
  const { form, reduction } = call.attrs;
  let [total, terms] = [0, 0];
  for (let i = 0; i < deaths.length; i++) {
    if (partners[i] < 0) continue;
    const beyond = deaths[i] - beta;
    total += form === "squared" ? beyond * beyond : form === "hinge" ? Math.max(0, beyond) : Math.abs(beyond);
    terms++;
  }
  result[0] = reduction === "mean" && terms > 0 ? total / terms : total;
  count[0] = terms;
};

/** g, deaths, partners, count -> ddeaths. */
export const lossBackward = ({
  call,
  scalars: { beta },
  inputs: [g, deaths, partners, count],
  outputs: [ddeaths],
}: ReferenceRun<LossAttrs>): void => {
  const { form, reduction } = call.attrs;
  const scale = reduction === "mean" ? g[0] / Math.max(1, count[0]) : g[0];
  for (let i = 0; i < deaths.length; i++) {
    const beyond = deaths[i] - beta;
    const slope = form === "squared" ? 2 * beyond : form === "hinge" ? (beyond > 0 ? 1 : 0) : Math.sign(beyond);
    ddeaths[i] = partners[i] < 0 ? 0 : scale * slope;
  }
};
