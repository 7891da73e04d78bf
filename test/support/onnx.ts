/** Reads ONNX files and computes them with this package's operations: what a runtime would do, written from `onnx.proto` and the operators' definitions. */
import {
  add,
  conv1d,
  conv2d,
  conv3d,
  type Device,
  div,
  linear,
  maxPool2d,
  mean,
  mul,
  relu,
  reshape,
  sqrt,
  square,
  sub,
  type Tensor,
} from "../../src/index.ts"; // prettier-ignore

type Value = number | Uint8Array;
type Fields = Map<number, Value[]>;

/** One message: the values of every field, in order. */
export const fieldsOf = (bytes: Uint8Array): Fields => {
  const fields: Fields = new Map();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const [field, wire] = [tag >>> 3, tag & 7];
    let value: Value;
    if (wire === 0) value = varint();
    else if (wire === 5) {
      value = view.getFloat32(at, true);
      at += 4;
    } else if (wire === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new Error(`field ${field} of ${length} bytes is longer than its message`);
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw new Error(`wire type ${wire}`);
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
};

const text = (value: Value | undefined): string => new TextDecoder().decode(value as Uint8Array);
const texts = (values: Value[] | undefined): string[] => (values ?? []).map(text);
const messages = (values: Value[] | undefined): Fields[] => (values ?? []).map((value) => fieldsOf(value as Uint8Array));
const first = (fields: Fields, field: number): Value | undefined => fields.get(field)?.[0];

interface Node {
  readonly operation: string;
  readonly inputs: string[];
  readonly outputs: string[];
  readonly attributes: ReadonlyMap<string, readonly number[]>;
}

export interface Model {
  readonly irVersion: number;
  readonly opset: number;
  readonly nodes: Node[];
  readonly numbers: ReadonlyMap<string, { readonly type: number; readonly shape: number[]; readonly data: number[] }>;
  readonly inputs: [string, (number | string)[]][];
  readonly outputs: [string, (number | string)[]][];
}

const typed = (value: Fields): [string, (number | string)[]] => {
  const [tensor] = messages(messages(value.get(2))[0].get(1));
  const sizes = messages(messages(tensor.get(2))[0].get(1)).map((size) => (size.has(2) ? text(first(size, 2)) : (first(size, 1) as number)));
  return [text(first(value, 1)), sizes];
};

export const readModel = (bytes: Uint8Array): Model => {
  const model = fieldsOf(bytes);
  const [graph] = messages(model.get(7));
  const numbers = messages(graph.get(5)).map((one) => {
    const raw = first(one, 9) as Uint8Array;
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    const type = first(one, 2) as number;
    const width = type === 1 ? 4 : 8;
    const data = Array.from({ length: raw.length / width }, (_, i) =>
      type === 1 ? view.getFloat32(4 * i, true) : Number(view.getBigInt64(8 * i, true)),
    );
    return [text(first(one, 8)), { type, shape: (one.get(1) ?? []) as number[], data }] as const;
  });
  return {
    irVersion: first(model, 1) as number,
    opset: first(messages(model.get(8))[0], 2) as number,
    nodes: messages(graph.get(1)).map((node) => ({
      operation: text(first(node, 4)),
      inputs: texts(node.get(1)),
      outputs: texts(node.get(2)),
      attributes: new Map(messages(node.get(5)).map((one) => [text(first(one, 1)), (one.get(8) ?? one.get(3) ?? one.get(2) ?? []) as number[]])),
    })),
    numbers: new Map(numbers),
    inputs: messages(graph.get(11)).map(typed),
    outputs: messages(graph.get(12)).map(typed),
  };
};

/** Numbers of channels, as they broadcast to [N, C, …]. */
const perChannel = ({ shape }: Tensor, numbers: readonly (Tensor | undefined)[]): Tensor[] =>
  numbers.map((values) => reshape(values as Tensor, [-1, ...shape.slice(2).map(() => 1)]));

/** What the graph makes of x. */
export const evaluate = (device: Device, model: Model, x: Tensor): Tensor => {
  const known = new Map<string, Tensor>([[model.inputs[0][0], x]]);
  for (const [name, { type, shape, data }] of model.numbers) known.set(name, device.tensor(data, shape, type === 1 ? "float32" : "int32"));
  const shapes = new Map<string, readonly number[]>();
  const operators: Record<string, (inputs: (Tensor | undefined)[], node: Node) => Tensor> = {
    Conv: ([input, weight, bias], { attributes }) => {
      const pads = attributes.get("pads") ?? [];
      const axes = pads.length / 2;
      const padding = Array.from({ length: axes }, (_, axis) => [pads[axis], pads[axes + axis]] as const);
      const convolve = [conv1d, conv2d, conv3d][axes - 1] as typeof conv2d;
      return convolve(input as Tensor, weight as Tensor, { ...(bias && { bias }), padding: padding as never });
    },
    Gemm: ([input, weight, bias]) => linear(input as Tensor, weight as Tensor, bias),
    Relu: ([input]) => relu(input as Tensor),
    Identity: ([input]) => reshape(input as Tensor, (input as Tensor).shape),
    GlobalAveragePool: ([input]) => mean(input as Tensor, (input as Tensor).shape.map((_, axis) => axis).slice(2), { keepDims: true }),
    Flatten: ([input]) => reshape(input as Tensor, [(input as Tensor).shape[0], -1]),
    MaxPool: ([input], { attributes }) => maxPool2d(input as Tensor, attributes.get("kernel_shape") as unknown as [number, number]),
    Add: ([input, other]) => add(input as Tensor, other as Tensor),
    BatchNormalization: ([input, ...numbers], { attributes }) => {
      const [weight, bias, centre, variance] = perChannel(input as Tensor, numbers);
      const normal = div(sub(input as Tensor, centre), sqrt(add(variance, (attributes.get("epsilon") as number[])[0])));
      return add(mul(normal, weight), bias);
    },
    InstanceNormalization: ([input, scale, shift], { attributes }) => {
      const rest = (input as Tensor).shape.map((_, axis) => axis).slice(2);
      const centred = sub(input as Tensor, mean(input as Tensor, rest, { keepDims: true }));
      const variance = mean(square(centred), rest, { keepDims: true });
      const [weight, bias] = perChannel(input as Tensor, [scale, shift]);
      return add(mul(div(centred, sqrt(add(variance, (attributes.get("epsilon") as number[])[0]))), weight), bias);
    },
  };
  for (const node of model.nodes) {
    const [input, other] = node.inputs;
    let made: Tensor;
    if (node.operation === "Shape") {
      shapes.set(node.outputs[0], (known.get(input) as Tensor).shape);
      continue;
    }
    const from = known.get(input) as Tensor;
    if (node.operation === "Reshape") {
      const wanted = shapes.get(other) ?? model.numbers.get(other)?.data.map((size, axis) => (size === 0 ? from.shape[axis] : size));
      made = reshape(from, wanted as number[]);
    } else
      made = operators[node.operation](
        node.inputs.map((name) => known.get(name)),
        node,
      ); // prettier-ignore
    known.set(node.outputs[0], made);
  }
  return known.get(model.outputs[0][0]) as Tensor;
};
