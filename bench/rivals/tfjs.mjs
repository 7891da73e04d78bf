/** TensorFlow.js on its WebAssembly backend as a rival of `birkhoff bench`. Argument: where to look for it; then the number of threads. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { findPackage, floats, serve, unavailable } from "./serve.mjs";

const NAME = "@tensorflow/tfjs-backend-wasm";
const { folder } = findPackage(NAME);
findPackage("@tensorflow/tfjs");
const load = createRequire(join(folder, "package.json"));
// It warns about itself on standard output.
console.log = console.warn = console.error;
const tf = load("@tensorflow/tfjs");
const wasm = load(NAME);
wasm.setWasmPaths(`${join(folder, "wasm-out")}/`);
wasm.setThreadsCount(Number(process.argv[3] ?? 1));
if (!(await tf.setBackend("wasm"))) unavailable("its wasm backend does not start");

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
};

const prepare = ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  if (!OPERATIONS[operation]) return { unavailable: `it has no ${operation}` };
  const form = OPERATIONS[operation](parameters);
  const [dy, ...arrays] = [cotangent, ...inputs].map((tensor) => tf.tensor(floats(tensor), tensor.shape));
  const wanted = inputs.flatMap(({ gradient }, i) => (gradient ? [i] : []));
  const both = () => {
    let result;
    const gradients = tf.grads((...args) => {
      result = tf.keep(form(...args));
      return result;
    })(arrays, dy);
    return [result, ...wanted.map((i) => gradients[i])];
  };
  return {
    step: (pass) => tf.tidy(() => (pass === "forward" ? [form(...arrays)] : both())),
    // On this backend a kernel has run when its call returns.
    finish: async (results) => {
      for (const tensor of results) tensor.dispose();
    },
    values: (results) => Promise.all(results.map((tensor) => tensor.data())),
    dispose: () => tf.dispose([dy, ...arrays]),
  };
};

await serve(`TensorFlow.js ${tf.version_core}, wasm, ${wasm.getThreadsCount()} threads`, prepare);
