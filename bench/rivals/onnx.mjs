/** As much of the ONNX file format (protocol buffers, onnx.proto) as small graphs need. */
const encoder = new TextEncoder();
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const varint = (value) => {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
};
/** A field with an integer, and one with bytes, a text or a message. */
const integer = (field, value) => join(varint(field * 8), varint(value));
const bytes = (field, value) => {
  const content = typeof value === "string" ? encoder.encode(value) : value;
  return join(varint(field * 8 + 2), varint(content.length), content);
};

const [FLOAT, INT64] = [1, 7];
const ATTRIBUTE = { integer: 2, integers: 7 };
const attribute = ([name, value]) =>
  Array.isArray(value)
    ? bytes(5, join(bytes(1, name), ...value.map((item) => integer(8, item)), integer(20, ATTRIBUTE.integers)))
    : bytes(5, join(bytes(1, name), integer(3, value), integer(20, ATTRIBUTE.integer)));

/** NodeProto; attributes are non-negative integers or lists of them. */
export const node = (operation, inputs, outputs, attributes = {}) =>
  join(
    ...inputs.map((name) => bytes(1, name)),
    ...outputs.map((name) => bytes(2, name)),
    bytes(4, operation),
    ...Object.entries(attributes).map(attribute),
  );

const value = (type, [name, shape]) => {
  const sizes = join(...shape.map((size) => bytes(1, integer(1, size))));
  return join(bytes(1, name), bytes(2, bytes(1, join(integer(1, type), bytes(2, sizes)))));
};

/** ModelProto of float32 inputs and outputs, and int64 inputs, by name and shape. */
export const model = ({ inputs, integers = {}, outputs, nodes }) => {
  const lists = [...nodes.map((one) => bytes(1, one)), bytes(2, "graph")];
  const ends = [
    ...Object.entries(inputs).map((entry) => bytes(11, value(FLOAT, entry))),
    ...Object.entries(integers).map((entry) => bytes(11, value(INT64, entry))),
    ...Object.entries(outputs).map((entry) => bytes(12, value(FLOAT, entry))),
  ];
  const [IR_VERSION, OPSET] = [9, 20];
  return join(integer(1, IR_VERSION), bytes(7, join(...lists, ...ends)), bytes(8, join(bytes(1, ""), integer(2, OPSET))));
};
