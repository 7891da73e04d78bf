/** onnxruntime-node on the CPU as a rival of `birkhoff bench`: gradients where the graph of them was written by hand. Argument: where to look for it; then the number of threads. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { model, node } from "./onnx.mjs";
import { findPackage, floats, Refusal, serve } from "./serve.mjs";

const { folder, version } = findPackage("onnxruntime-node");
const ort = createRequire(join(folder, "package.json"))("onnxruntime-node");
const threads = Number(process.argv[3] ?? 1);

/** Lists of integers that a node takes as an input. */
const integers = (name, values) => node("Constant", [], [name], { value_ints: values });
const reshaped = (x, y, shape) => [integers(`${y}.shape`, shape), node("Reshape", [x, `${y}.shape`], [y])];
/** a·bᵀ of matrices, in another shape. */
const product = (a, b, y, shape) => [node("Gemm", [a, b], [`${y}.product`], { transB: 1 }), ...reshaped(`${y}.product`, y, shape)];

const sinkhorn = (x, y, iterations) => {
  const nodes = [integers("axis1", [1]), integers("axis2", [2])];
  let [from, to] = [x, x];
  for (let i = 0; i < iterations; i++) {
    for (const axis of ["axis2", "axis1"]) {
      [from, to] = [to, `${y}.${i}.${axis}`];
      nodes.push(node("ReduceLogSumExp", [from, axis], [`${to}.sum`]), node("Sub", [from, `${to}.sum`], [to]));
    }
  }
  return [...nodes, node("Exp", [to], [y])];
};

const volume = (shape) => shape.reduce((product, side) => product * side, 1);
/** The kernel itself in front of what matrices made of it, `learned` [Cout, matrices, Cin, d], as a convolution takes them. */
const stacked = (w, shape, learned, matrices, y) => {
  const [cout, cin, ...rest] = shape;
  return [
    ...reshaped(w, "first", [cout, 1, cin, volume(rest)]),
    node("Concat", ["first", learned], ["all"], { axis: 1 }),
    ...reshaped("all", y, [cout * (matrices + 1), cin * volume(rest.slice(0, -2)), ...rest.slice(-2)]),
  ];
};
const expandKernel = (R, w, y, { iterations = 0 }, [{ shape }, { shape: kernel }]) => {
  const [matrices, d] = shape;
  const [cout, cin] = kernel;
  return [
    ...(iterations > 0 ? sinkhorn(R, "P", iterations) : []),
    ...reshaped(iterations > 0 ? "P" : R, "all.R", [matrices * d, d]),
    ...reshaped(w, "rows", [cout * cin, d]),
    ...product("rows", "all.R", "turned", [cout, cin, matrices, d]),
    node("Transpose", ["turned"], ["learned"], { perm: [0, 2, 1, 3] }),
    ...stacked(w, kernel, "learned", matrices, y),
  ];
};

/** Nodes that make `y` of the inputs `x0`, `x1`, …; undefined when it has no such operation. */
const OPERATIONS = {
  sinkhorn: ({ iterations }) => sinkhorn("x0", "y", iterations),
  expandKernel: (parameters, inputs) => expandKernel("x0", "x1", "y", parameters, inputs),
  expandFactorised: (_, [{ shape: group }, { shape: space }, { shape: kernel }]) => {
    const [matrices, p] = group;
    const s = space[1];
    const [cout, cin] = kernel;
    return [
      ...reshaped("x1", "all.space", [matrices * s, s]),
      ...reshaped("x2", "rows", [cout * cin * p, s]),
      ...product("rows", "all.space", "spaced", [cout * cin, p, matrices, s]),
      node("Transpose", ["spaced"], ["columns"], { perm: [2, 1, 0, 3] }),
      ...reshaped("columns", "flat", [matrices, p, cout * cin * s]),
      node("MatMul", ["x0", "flat"], ["mixed"]),
      ...reshaped("mixed", "mixed.axes", [matrices, p, cout, cin, s]),
      node("Transpose", ["mixed.axes"], ["turned"], { perm: [2, 0, 3, 1, 4] }),
      ...reshaped("turned", "learned", [cout, matrices, cin, p * s]),
      ...stacked("x2", kernel, "learned", matrices, "y"),
    ];
  },
  weightSharing: (parameters, [{ shape: image }, logits, w, { shape: bias }], output) => {
    const [batch] = image;
    const side = w.shape.at(-1);
    const pad = (side - 1) / 2;
    const [features, group] = [bias[0], logits.shape[0] + 1];
    return [
      ...expandKernel("x1", "x2", "kernel", parameters, [logits, w]),
      ...reshaped("x0", "images", [batch, volume(image.slice(1, -2)), ...image.slice(-2)]),
      ...reshaped("x3", "column", [features, 1]),
      integers("group", [features, group]),
      node("Expand", ["column", "group"], ["repeated"]),
      ...reshaped("repeated", "bias", [features * group]),
      node("Conv", ["images", "kernel", "bias"], ["maps"], { pads: [pad, pad, pad, pad] }),
      ...reshaped("maps", "y", output),
    ];
  },
  conv2d: ({ padding, stride, groups }) => [
    node("Conv", ["x0", "x1"], ["y"], { pads: [padding, padding, padding, padding], strides: [stride, stride], group: groups }),
  ],
  matmul: ({ transposeB, activation }, inputs) => {
    const last = { none: [], relu: [node("Relu", ["z"], ["y"])], gelu: [node("Gelu", ["z"], ["y"])] }[activation];
    const z = activation === "none" ? "y" : "z";
    if (inputs.length > 2) return last && [node("Gemm", ["x0", "x1", "x2"], [z], { transB: transposeB }), ...last];
    const rank = inputs[1].shape.length;
    const perm = inputs[1].shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
    const made = transposeB ? [node("Transpose", ["x1"], ["b"], { perm }), node("MatMul", ["x0", "b"], [z])] : [node("MatMul", ["x0", "x1"], [z])];
    return last && [...made, ...last];
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
  const nodes = OPERATIONS[operation]?.(parameters, inputs, cotangent.shape);
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
