/**
 * ONNX files of plain networks. The format is a protocol buffer (`onnx.proto`), of which this needs a writer for a dozen fields; the libraries that know all of it weigh
 * more than the package and would be a run-time dependency. Operator set 13 and IR version 7 (ONNX 1.8, 2020): every runtime of the last years reads them.
 */

import type { HostTensor } from "../data/safetensors.ts";
import { ArgumentError, checkObject, checkRange, expected } from "../errors.ts";
import type { HostLayer, PlainNetwork } from "./plain.ts";
import { bytesOf, content, float, integer, lengthOf, type Message } from "./protobuf.ts";

const IR_VERSION = 7;
const OPERATOR_SET = 13;
/** What protocol buffers may be long. */
const MAX_BYTES = 2 ** 31 - 1;
/** TensorProto.DataType. */
const [FLOAT, INT64] = [1, 7];

type Attribute = { readonly f: number } | { readonly i: number } | { readonly ints: readonly number[] };

const attribute = (name: string, value: Attribute): Message => {
  const [FLOAT_TYPE, INT_TYPE, INTS_TYPE] = [1, 2, 7];
  if ("f" in value) return [...content(1, name), ...float(2, value.f), ...integer(20, FLOAT_TYPE)];
  if ("i" in value) return [...content(1, name), ...integer(3, value.i), ...integer(20, INT_TYPE)];
  return [...content(1, name), ...value.ints.flatMap((item) => integer(8, item)), ...integer(20, INTS_TYPE)];
};

const tensor = (name: string, type: number, shape: readonly number[], data: ArrayLike<number>): Message => {
  const raw = new Uint8Array(data.length * (type === FLOAT ? 4 : 8));
  const view = new DataView(raw.buffer);
  for (let i = 0; i < data.length; i++) {
    if (type === FLOAT) view.setFloat32(4 * i, data[i], true);
    else view.setBigInt64(8 * i, BigInt(data[i]), true);
  }
  return [...shape.flatMap((size) => integer(1, size)), ...integer(2, type), ...content(8, name), ...content(9, raw)];
};

/** A float32 input or output; sizes that are texts may be anything. */
const value = (name: string, shape: readonly (number | string)[]): Message => {
  const sizes = shape.flatMap((size) => content(1, typeof size === "number" ? integer(1, size) : content(2, size)));
  return [...content(1, name), ...content(2, content(1, [...integer(1, FLOAT), ...content(2, sizes)]))];
};

/** Nodes and numbers, and the name of what the last node gives. */
class Graph {
  readonly nodes: Message[] = [];
  readonly numbers: Message[] = [];
  last = "input";

  /** Adds a node with the last result, or `input`, as first input. */
  node(operation: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}, input = this.last): string {
    const output = `${operation}_${this.nodes.length}`;
    this.nodes.push([
      ...[input, ...inputs].flatMap((name) => content(1, name)),
      ...content(2, output),
      ...content(3, output),
      ...content(4, operation),
      ...Object.entries(attributes).flatMap(([name, given]) => content(5, attribute(name, given))),
    ]);
    this.last = output;
    return output;
  }

  number(name: string, { shape, data }: Pick<HostTensor, "shape" | "data">, type = FLOAT): string {
    this.numbers.push(tensor(name, type, shape, data as ArrayLike<number>));
    return name;
  }
}

/** Adds layers one after the other, their numbers named behind `prefix`. Takes and gives the number of spatial axes. */
const addLayers = (graph: Graph, layers: readonly HostLayer[], prefix: string, axes: number): number => {
  let left = axes;
  for (const [i, layer] of layers.entries()) {
    addLayer(graph, layer, `${prefix}${i}`, left);
    if (layer.kind === "globalMean") left = 0;
  }
  return left;
};

/** Adds one layer; `axes` is the number of spatial axes that came in. */
const addLayer = (graph: Graph, layer: HostLayer, index: string, axes: number): void => {
  const parameters = (given: { readonly weight: HostTensor; readonly bias: HostTensor | undefined }): string[] => [
    graph.number(`${index}.weight`, given.weight),
    ...(given.bias ? [graph.number(`${index}.bias`, given.bias)] : []),
  ];
  switch (layer.kind) {
    case "conv": {
      const pads = [...layer.pads.map(([before]) => before), ...layer.pads.map(([, behind]) => behind)];
      graph.node("Conv", parameters(layer), { kernel_shape: { ints: layer.weight.shape.slice(2) }, pads: { ints: pads } });
      return;
    }
    case "linear":
      graph.node("Gemm", parameters(layer), { transB: { i: 1 } });
      return;
    case "norm": {
      // Instance norm of a sample's groups as its channels, which even old operator sets have.
      const { groups = 1 } = layer;
      const from = graph.last;
      graph.node("Reshape", [graph.number(`${index}.flat`, { shape: [3], data: Float64Array.of(0, groups, -1) }, INT64)]);
      const every = (value: number): Pick<HostTensor, "shape" | "data"> => ({ shape: [groups], data: new Float32Array(groups).fill(value) });
      const [scale, shift] = [graph.number(`${index}.scale`, every(1)), graph.number(`${index}.shift`, every(0))];
      const normal = graph.node("InstanceNormalization", [scale, shift], { epsilon: { f: layer.eps } });
      graph.node("Reshape", [graph.node("Shape", [], {}, from)], {}, normal);
      return;
    }
    case "batchNorm": {
      const names = (["weight", "bias", "mean", "variance"] as const).map((name) => graph.number(`${index}.${name}`, layer[name]));
      graph.node("BatchNormalization", names, { epsilon: { f: layer.eps } });
      return;
    }
    case "residual": {
      const from = graph.last;
      addLayers(graph, layer.layers, `${index}.layers.`, axes);
      const main = graph.last;
      graph.last = from;
      addLayers(graph, layer.shortcut, `${index}.shortcut.`, axes);
      graph.node("Add", [graph.last], {}, main);
      return;
    }
    case "relu":
      graph.node("Relu", []);
      return;
    case "maxPool": {
      const window = { ints: new Array<number>(axes).fill(layer.size) };
      graph.node("MaxPool", [], { kernel_shape: window, strides: window });
      return;
    }
    case "globalMean":
      graph.node("GlobalAveragePool", []);
      graph.node("Flatten", [], { axis: { i: 1 } });
  }
};

const WHERE = "encodeOnnx";
const isCount = (size: unknown): boolean => Number.isSafeInteger(size) && (size as number) >= 0;
const isShape = (shape: unknown): shape is readonly number[] => Array.isArray(shape) && shape.every(isCount);

/** Throws unless it is a float32 tensor of such a shape. */
const checkNumbers = (argument: string, value: HostTensor, what: string, fits: (shape: readonly number[]) => boolean): void => {
  const { shape, data } = checkObject(WHERE, value, argument);
  if (!isShape(shape) || !fits(shape)) throw expected(WHERE, what, `${argument}.shape`, shape);
  const count = shape.reduce((product, size) => product * size, 1);
  if (!(data instanceof Float32Array) || data.length !== count) throw expected(WHERE, `${count} values in a Float32Array`, `${argument}.data`, data);
};

/** Throws unless it is a layer as `toPlain` gives it. */
const checkLayer = (layer: HostLayer, argument: string): void => {
  const { kind } = checkObject(WHERE, layer, argument);
  if (layer.kind === "conv" || layer.kind === "linear") {
    const [what, fits] = layer.kind === "conv" ? ["[Cout, Cin, k, …]", [3, 4, 5]] : ["[out, in]", [2]];
    checkNumbers(`${argument}.weight`, layer.weight, `shape ${what}`, ({ length }) => fits.includes(length));
    const [outputs, , ...kernel] = layer.weight.shape;
    if (layer.bias !== undefined)
      checkNumbers(`${argument}.bias`, layer.bias, `shape [${outputs}]`, (shape) => shape.length === 1 && shape[0] === outputs);
    if (layer.kind === "linear") return;
    const { pads } = layer;
    if (!Array.isArray(pads) || pads.length !== kernel.length || !pads.every((pair) => isShape(pair) && pair.length === 2))
      throw expected(WHERE, `${kernel.length} pairs of non-negative integers`, `${argument}.pads`, pads);
  } else if (layer.kind === "norm") {
    const { groups = 1, eps } = layer;
    checkRange(WHERE, `${argument}.eps`, eps, 0, Number.MAX_VALUE, "a non-negative number");
    if (!isCount(groups) || groups < 1) throw expected(WHERE, "a positive integer", `${argument}.groups`, groups);
  } else if (layer.kind === "batchNorm") {
    checkRange(WHERE, `${argument}.eps`, layer.eps, 0, Number.MAX_VALUE, "a non-negative number");
    const fits = (shape: readonly number[]): boolean => shape.length === 1 && shape[0] === layer.weight?.shape?.[0];
    for (const name of ["weight", "bias", "mean", "variance"] as const)
      checkNumbers(`${argument}.${name}`, layer[name], "shape [C], as the weight's,", fits);
  } else if (layer.kind === "residual") {
    checkLayers(layer.layers, `${argument}.layers`);
    checkLayers(layer.shortcut, `${argument}.shortcut`);
  } else if (layer.kind === "maxPool") {
    if (!isCount(layer.size) || layer.size < 1) throw expected(WHERE, "a positive integer", `${argument}.size`, layer.size);
  } else if (kind !== "relu" && kind !== "globalMean")
    throw expected(WHERE, "one of conv, linear, norm, batchNorm, relu, maxPool, globalMean, residual", `${argument}.kind`, kind);
};

const checkLayers = (layers: readonly HostLayer[], argument: string): void => {
  if (!Array.isArray(layers)) throw expected(WHERE, "an array of layers", argument, layers);
  for (const [i, layer] of layers.entries()) checkLayer(layer, `${argument}[${i}]`);
};

/** Those with weights, in order. */
const weighted = (layers: readonly HostLayer[]): Extract<HostLayer, { readonly kind: "conv" | "linear" }>[] =>
  layers.flatMap((layer) => {
    if (layer.kind === "residual") return [...weighted(layer.layers), ...weighted(layer.shortcut)];
    return layer.kind === "conv" || layer.kind === "linear" ? [layer] : [];
  });

/**
 * The bytes of an `.onnx` file of what `toPlain` gave: one input, `input` [batch, C, height, width] (or [batch, features]), one output, `output`. Batch and sizes of images may be
 * any that the network takes.
 *
 * @throws ArgumentError for another object, layers that are none, none with weights, and more than 2 GB.
 * @example
 * ```ts
 * const network = new DigitNetwork(initializer(device, 1), { kind: "learned", elements: 4 }, { width: 2, kernelSize: 3, layers: 2 });
 * const bytes = encodeOnnx(await toPlain(network)); // write it with `replaceFile` of `birkhoff/files`
 * bytes.length > 1000; // => true
 * ```
 */
export const encodeOnnx = (network: PlainNetwork): Uint8Array<ArrayBuffer> => {
  const layers = network?.layers;
  if (!Array.isArray(layers)) throw expected(WHERE, "what `toPlain` gives", "network", network);
  checkLayers(layers, "network.layers");
  const [first, final] = [weighted(layers)[0], weighted(layers).at(-1)];
  if (first === undefined || final === undefined) throw expected(WHERE, "a layer that has weights", "network.layers", layers);
  const [, features, ...kernel] = first.weight.shape;
  const images = (axes: number): string[] => ["depth", "height", "width"].slice(3 - axes);
  const graph = new Graph();
  const axes = addLayers(graph, layers, "", kernel.length);
  const end = axes === 0 ? [] : images(axes).map((name) => `${name}_out`);
  graph.nodes.push([...content(1, graph.last), ...content(2, "output"), ...content(4, "Identity")]);
  const body: Message = [
    ...graph.nodes.flatMap((node) => content(1, node)),
    ...content(2, "birkhoff"),
    ...graph.numbers.flatMap((one) => content(5, one)),
    ...content(11, value("input", ["batch", features, ...images(kernel.length)])),
    ...content(12, value("output", ["batch", final.weight.shape[0], ...end])),
  ];
  const operators = [...content(1, ""), ...integer(2, OPERATOR_SET)];
  const model: Message = [...integer(1, IR_VERSION), ...content(2, "birkhoff"), ...content(7, body), ...content(8, operators)];
  if (lengthOf(model) > MAX_BYTES)
    throw new ArgumentError(`${WHERE}: expected at most ${MAX_BYTES} bytes for \`network\`, but received ${lengthOf(model)}`);
  return bytesOf(model);
};
