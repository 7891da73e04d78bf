/** TensorFlow.js as a rival of `birkhoff bench`. Arguments: where to look for it, the number of threads, and its backend, `wasm` or `webgpu`. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { openGpu } from "./gpu.mjs";
import { findPackage, floats, Refusal, serve, unavailable } from "./serve.mjs";

const backend = process.argv[4] ?? "wasm";
const NAME = `@tensorflow/tfjs-backend-${backend}`;
const { folder } = findPackage(NAME);
findPackage("@tensorflow/tfjs");
const gpu = backend === "webgpu" ? openGpu() : undefined;
const load = createRequire(join(folder, "package.json"));
// It warns about itself on standard output.
console.log = console.warn = console.error;
const tf = load("@tensorflow/tfjs");
const loaded = load(NAME);
if (!gpu) {
  loaded.setWasmPaths(`${join(folder, "wasm-out")}/`);
  loaded.setThreadsCount(Number(process.argv[3] ?? 1));
}
if (!(await tf.setBackend(backend))) unavailable(`its ${backend} backend does not start`);

const ACTIVATIONS = {
  none: (x) => x,
  relu: tf.relu,
  gelu: (x) => tf.mul(x, tf.add(0.5, tf.mul(0.5, tf.erf(tf.mul(x, Math.SQRT1_2))))),
  silu: (x) => tf.mul(x, tf.sigmoid(x)),
};

const sinkhorn = (x, iterations) => {
  let logits = x;
  for (let i = 0; i < iterations; i++) for (const axis of [2, 1]) logits = tf.sub(logits, tf.logSumExp(logits, axis, true));
  return tf.exp(logits);
};
const volume = (shape) => shape.reduce((product, side) => product * side, 1);
/** a·bᵀ of rows of one length. */
const product = (a, b, length) => tf.matMul(tf.reshape(a, [-1, length]), tf.reshape(b, [-1, length]), false, true);
/** The kernel itself in front of what matrices made of it, [Cout, matrices, Cin, d], as a convolution takes them. */
const stacked = (w, learned) => {
  const [cout, cin, ...rest] = w.shape;
  const all = tf.concat([tf.reshape(w, [cout, 1, cin, volume(rest)]), learned], 1);
  return tf.reshape(all, [-1, cin * volume(rest.slice(0, -2)), ...rest.slice(-2)]);
};
const expandKernel = (matrices, w, iterations = 0) => {
  const [count, d] = matrices.shape;
  const [cout, cin] = w.shape;
  const R = iterations > 0 ? sinkhorn(matrices, iterations) : matrices;
  return stacked(w, tf.transpose(tf.reshape(product(w, R, d), [cout, cin, count, d]), [0, 2, 1, 3]));
};

const OPERATIONS = {
  expandKernel:
    ({ iterations }) =>
    (matrices, w) =>
      expandKernel(matrices, w, iterations),
  expandFactorised: () => (group, space, w) => {
    const [count, p] = group.shape;
    const s = space.shape[1];
    const [cout, cin] = w.shape;
    const spaced = tf.reshape(product(w, space, s), [cout * cin, p, count, s]);
    const mixed = tf.matMul(group, tf.reshape(tf.transpose(spaced, [2, 1, 0, 3]), [count, p, cout * cin * s]));
    const learned = tf.transpose(tf.reshape(mixed, [count, p, cout, cin, s]), [2, 0, 3, 1, 4]);
    return stacked(w, tf.reshape(learned, [cout, count, cin, p * s]));
  },
  weightSharing:
    ({ iterations }) =>
    (x, logits, w, bias) => {
      const channelsLast = (tensor, channels) => tf.reshape(tensor, [...tensor.shape.slice(0, 3), ...channels]);
      const kernel = tf.transpose(expandKernel(logits, w, iterations), [2, 3, 1, 0]);
      const y = tf.conv2d(channelsLast(x, [-1]), kernel, 1, (w.shape.at(-1) - 1) / 2);
      const [cout] = bias.shape;
      return tf.add(channelsLast(y, [cout, -1]), tf.reshape(bias, [cout, 1]));
    },
  matmul:
    ({ transposeB, activation }) =>
    (a, b, bias) => {
      const sums = tf.matMul(a, b, false, transposeB === 1);
      return ACTIVATIONS[activation](bias ? tf.add(sums, bias) : sums);
    },
  conv2d: ({ padding, stride, groups }) => {
    if (groups > 1) throw new Refusal("it has no grouped convolutions");
    return (x, w) => tf.conv2d(x, w, stride, padding);
  },
};

/** Its layouts, from ours: where each of its axes comes from; inputs that are not named keep theirs. */
const LAYOUTS = {
  conv2d: () => ({
    inputs: [
      [0, 2, 3, 1],
      [2, 3, 1, 0],
    ],
    output: [0, 2, 3, 1],
  }),
  weightSharing: ([{ shape }]) => ({ inputs: [shape.length === 5 ? [0, 3, 4, 1, 2] : [0, 2, 3, 1]], output: [0, 3, 4, 1, 2] }),
};
const turned = (tensor, axes) => tf.tidy(() => (axes ? tf.transpose(tensor, axes) : tensor));
const inverse = (axes) => axes.map((_, i) => axes.indexOf(i));

const prepare = ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  if (!OPERATIONS[operation]) return { unavailable: `it has no ${operation}` };
  const form = OPERATIONS[operation](parameters);
  const layout = LAYOUTS[operation]?.(inputs);
  const arrays = inputs.map((input, i) => turned(tf.tensor(floats(input), input.shape), layout?.inputs[i]));
  const dy = turned(tf.tensor(floats(cotangent), cotangent.shape), layout?.output);
  const wanted = inputs.flatMap(({ gradient }, i) => (gradient ? [i] : []));
  const both = () => {
    let result;
    const gradients = tf.grads((...args) => {
      result = tf.keep(form(...args));
      return result;
    })(arrays, dy);
    return [result, ...wanted.map((i) => gradients[i])];
  };
  const layouts = [layout?.output, ...wanted.map((i) => layout?.inputs[i])];
  return {
    step: (pass) => {
      try {
        return tf.tidy(() => (pass === "forward" ? [form(...arrays)] : both()));
      } catch (error) {
        // Some backends lack kernels, such as wasm that of a convolution's weight gradient.
        throw /not registered for backend/.test(error.message) ? new Refusal(error.message) : error;
      }
    },
    finish: async (results) => {
      // With wasm a kernel has run when its call returns.
      if (gpu) {
        tf.backend().endComputePassEncoder();
        tf.backend().submitQueue();
        await tf.backend().device.queue.onSubmittedWorkDone();
      }
      for (const tensor of results) tensor.dispose();
    },
    values: (results) => Promise.all(results.map((tensor, i) => turned(tensor, layouts[i] && inverse(layouts[i])).data())),
    dispose: () => tf.dispose([dy, ...arrays]),
  };
};

await serve(`TensorFlow.js ${tf.version_core}, ${gpu ? backend : `${backend}, ${loaded.getThreadsCount()} threads`}`, prepare, gpu);
