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

const OPERATIONS = {
  matmul:
    ({ transposeB, activation }) =>
    (a, b, bias) => {
      const product = tf.matMul(a, b, false, transposeB === 1);
      return ACTIVATIONS[activation](bias ? tf.add(product, bias) : product);
    },
  conv2d: ({ padding, stride, groups }) => {
    if (groups > 1) throw new Refusal("it has no grouped convolutions");
    return (x, w) => tf.conv2d(x, w, stride, padding);
  },
};

/** Its layouts, from ours: where each of its axes comes from. */
const LAYOUTS = {
  conv2d: {
    inputs: [
      [0, 2, 3, 1],
      [2, 3, 1, 0],
    ],
    output: [0, 2, 3, 1],
  },
};
const turned = (tensor, axes) => tf.tidy(() => (axes ? tf.transpose(tensor, axes) : tensor));
const inverse = (axes) => axes.map((_, i) => axes.indexOf(i));

const prepare = ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  if (!OPERATIONS[operation]) return { unavailable: `it has no ${operation}` };
  const form = OPERATIONS[operation](parameters);
  const layout = LAYOUTS[operation];
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
    step: (pass) => tf.tidy(() => (pass === "forward" ? [form(...arrays)] : both())),
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
