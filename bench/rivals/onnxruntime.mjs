/** onnxruntime-node on the CPU as a rival of `birkhoff bench`: gradients where the graph of them was written by hand. Argument: where to look for it; then the number of threads. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { model, node } from "./onnx.mjs";
import { findPackage, floats, Refusal, serve } from "./serve.mjs";

const { folder, version } = findPackage("onnxruntime-node");
const ort = createRequire(join(folder, "package.json"))("onnxruntime-node");
const threads = Number(process.argv[3] ?? 1);

/** Nodes that make `y` of the inputs `x0`, `x1`, …; undefined when it has no such operation. */
const OPERATIONS = {
  conv2d: ({ padding, stride, groups }) => [
    node("Conv", ["x0", "x1"], ["y"], { pads: [padding, padding, padding, padding], strides: [stride, stride], group: groups }),
  ],
  matmul: ({ transposeB, activation }, inputs) => {
    const last = { none: [], relu: [node("Relu", ["z"], ["y"])], gelu: [node("Gelu", ["z"], ["y"])] }[activation];
    const z = activation === "none" ? "y" : "z";
    if (inputs.length > 2) return last && [node("Gemm", ["x0", "x1", "x2"], [z], { transB: transposeB }), ...last];
    const rank = inputs[1].shape.length;
    const perm = inputs[1].shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
    const product = transposeB ? [node("Transpose", ["x1"], ["b"], { perm }), node("MatMul", ["x0", "b"], [z])] : [node("MatMul", ["x0", "x1"], [z])];
    return last && [...product, ...last];
  },
  relativeProjection: ({ similarity, normalise }) =>
    similarity === "cosine" && normalise === "none"
      ? [
          node("LpNormalization", ["x0"], ["u"]),
          node("LpNormalization", ["x1"], ["v"]),
          node("Transpose", ["v"], ["vT"], { perm: [1, 0] }),
          node("MatMul", ["u", "vT"], ["y"]),
        ]
      : undefined,
};

/** Nodes that make gradients `d0`, `d1`, … of the cotangent `g` and of what the nodes above have made; `last` holds the axis 1. */
const GRADIENTS = {
  // With u = x / ‖x‖: dx = (du - u (u · du)) / ‖x‖.
  relativeProjection: () => [
    node("Transpose", ["g"], ["gT"], { perm: [1, 0] }),
    ...[
      ["u", "v", "g"],
      ["v", "u", "gT"],
    ].flatMap(([own, other, weights], i) => [
      node("MatMul", [weights, other], [`d${own}`]),
      node("Mul", [`d${own}`, own], [`along${own}`]),
      node("ReduceSum", [`along${own}`, "last"], [`t${own}`], { keepdims: 1 }),
      node("Mul", [own, `t${own}`], [`back${own}`]),
      node("Sub", [`d${own}`, `back${own}`], [`across${own}`]),
      node("ReduceL2", [`x${i}`, "last"], [`norm${own}`], { keepdims: 1 }),
      node("Div", [`across${own}`, `norm${own}`], [`d${i}`]),
    ]),
  ],
};

const prepare = async ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  const nodes = OPERATIONS[operation]?.(parameters, inputs);
  if (!nodes) return { unavailable: `it has no ${operation}` };
  const tensor = (given) => new ort.Tensor("float32", floats(given), given.shape);
  const feeds = Object.fromEntries(inputs.map((given, i) => [`x${i}`, tensor(given)]));
  const shapes = Object.fromEntries(inputs.map(({ shape }, i) => [`x${i}`, shape]));
  const open = async (graph, more = {}) => {
    const session = await ort.InferenceSession.create(model(graph), { executionProviders: ["cpu"], intraOpNumThreads: threads });
    return { run: () => session.run({ ...feeds, ...more }), release: () => session.release() };
  };
  const y = { y: cotangent.shape };
  const sessions = { forward: await open({ inputs: shapes, outputs: y, nodes }) };
  const backward = GRADIENTS[operation]?.(parameters);
  if (backward) {
    const gradients = Object.fromEntries(inputs.map(({ shape }, i) => [`d${i}`, shape]));
    sessions["forward+backward"] = await open(
      { inputs: { ...shapes, g: cotangent.shape }, integers: { last: [1] }, outputs: { ...y, ...gradients }, nodes: [...nodes, ...backward] },
      { g: tensor(cotangent), last: new ort.Tensor("int64", BigInt64Array.of(1n), [1]) },
    );
  }
  return {
    step: (pass) => {
      if (!sessions[pass]) throw new Refusal("it has no gradients");
      return sessions[pass].run();
    },
    finish: async () => {},
    values: async (made) => ["y", ...inputs.map((_, i) => `d${i}`)].filter((name) => made[name]).map((name) => made[name].data),
    dispose: () => Promise.all(Object.values(sessions).map((session) => session.release())),
  };
};

await serve(`onnxruntime-node ${version}, CPU, ${threads} threads`, prepare);
