/** onnxruntime-node on the CPU as a rival of `birkhoff bench`: forward alone. Argument: where to look for it; then the number of threads. */
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

const prepare = async ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  const nodes = OPERATIONS[operation]?.(parameters, inputs);
  if (!nodes) return { unavailable: `it has no ${operation}` };
  const feeds = Object.fromEntries(inputs.map((tensor, i) => [`x${i}`, new ort.Tensor("float32", floats(tensor), tensor.shape)]));
  const shapes = Object.fromEntries(inputs.map(({ shape }, i) => [`x${i}`, shape]));
  const bytes = model({ inputs: shapes, outputs: { y: cotangent.shape }, nodes });
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["cpu"], intraOpNumThreads: threads });
  return {
    step: (pass) => {
      if (pass !== "forward") throw new Refusal("it has no gradients");
      return session.run(feeds);
    },
    finish: async () => {},
    values: async ({ y }) => [y.data],
    dispose: () => session.release(),
  };
};

await serve(`onnxruntime-node ${version}, CPU, ${threads} threads`, prepare);
