/** What is served: embeddings as similarities to anchors, and a small classifier on top of them; trained here, kept in a safetensors checkpoint. */
import {
  AdamW,
  type Device,
  decodeSafetensors,
  encodeSafetensors,
  type Initializer,
  initializer,
  Linear,
  Module,
  relativeProjection,
  relu,
  softmaxCrossEntropy,
  type Tensor,
  valueAndGrad,
} from "birkhoff";

export const FEATURES = 32;
export const ANCHORS = 16;
export const CLASSES = 4;
const HIDDEN = 32;
const STEPS = 150;
const ROWS = 128;

class Classifier extends Module {
  readonly hidden: Linear;
  readonly out: Linear;

  constructor(init: Initializer) {
    super();
    this.hidden = new Linear(init, ANCHORS, HIDDEN);
    this.out = new Linear(init, HIDDEN, CLASSES);
  }

  forward(relative: Tensor): Tensor {
    return this.out.forward(relu(this.hidden.forward(relative)));
  }
}

/** A small generator of its own (mulberry32), so that data are the same everywhere. */
export const random = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
};

/** Embeddings that scatter around one centre per class, as float32. */
export const embeddings = (count: number, seed: number): { readonly rows: number[][]; readonly labels: Int32Array } => {
  const centre = random(7);
  const centres = Array.from({ length: CLASSES }, () => Array.from({ length: FEATURES }, () => centre() - 0.5));
  const next = random(seed);
  const labels = Int32Array.from({ length: count }, () => Math.floor(next() * CLASSES));
  return { labels, rows: Array.from(labels, (label) => centres[label].map((mean) => Math.fround(mean + 0.6 * (next() - 0.5)))) };
};

/** Trains the classifier and gives the checkpoint: anchors and weights. */
export const train = async (device: Device, seed = 1): Promise<Uint8Array> => {
  const anchorRows = embeddings(ANCHORS, seed).rows;
  const anchors = device.tensor(anchorRows);
  const network = new Classifier(initializer(device, seed));
  const parameters = network.parameters();
  const optimizer = new AdamW(parameters, { lr: 1e-2 });
  const { rows, labels } = embeddings(ROWS, seed + 1);
  const x = device.tensor(rows);
  const relative = relativeProjection(x, anchors);
  const targets = device.tensor(labels);
  for (let step = 0; step < STEPS; step++) {
    const { value, gradients } = valueAndGrad(() => softmaxCrossEntropy(network.forward(relative), targets), parameters);
    optimizer.step(gradients);
    for (const tensor of [value, ...gradients]) tensor.dispose();
  }
  const state = await network.stateDict();
  state.set("anchors", { dtype: "F32", shape: [ANCHORS, FEATURES], data: Float32Array.from(anchorRows.flat()) });
  return encodeSafetensors(state);
};

/** The checkpoint on a device. */
export interface Model {
  readonly device: Device;
  /** [rows, FEATURES] to [rows, ANCHORS]. */
  project(x: Tensor): Tensor;
  /** [rows, FEATURES] to [rows, CLASSES]: logits. */
  classify(x: Tensor): Tensor;
}

/** @throws FileError for a checkpoint that is none; ArgumentError for one of another network. */
export const load = (device: Device, checkpoint: Uint8Array): Model => {
  const { tensors } = decodeSafetensors(checkpoint, "checkpoint");
  const found = tensors.get("anchors");
  if (!(found?.data instanceof Float32Array)) throw new Error("expected float32 `anchors` in the checkpoint");
  const anchors = device.tensor(found.data, found.shape);
  const network = new Classifier(initializer(device, 0));
  tensors.delete("anchors");
  network.loadStateDict(tensors);
  for (const parameter of network.parameters()) parameter.requiresGrad = false;
  const project = (x: Tensor): Tensor => relativeProjection(x, anchors);
  return { device, project, classify: (x) => network.forward(project(x)) };
};
