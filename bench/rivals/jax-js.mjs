/** jax-js, jitted, as a rival of `birkhoff bench`. Arguments: where to look for it, the number of threads (it decides itself), and its backend, `wasm` or `webgpu`. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openGpu } from "./gpu.mjs";
import { findPackage, floats, Refusal, serve, unavailable } from "./serve.mjs";

const BACKEND = process.argv[4] ?? "wasm";
const gpu = BACKEND === "webgpu" ? openGpu() : undefined;
const { folder, version, exports } = findPackage("@jax-js/jax");
const { init, defaultDevice, jit, vjp, nn, lax, numpy: np, blockUntilReady } = await import(pathToFileURL(join(folder, exports["."].import)).href);
if (!(await init(BACKEND)).includes(BACKEND)) unavailable(`its ${BACKEND} backend does not start`);
defaultDevice(BACKEND);

const ACTIVATIONS = { none: (x) => x, relu: nn.relu, gelu: (x) => nn.gelu(x, { approximate: false }), silu: nn.silu };

/** Arrays are consumed by what takes them; `ref` is one more hold. */
const OPERATIONS = {
  sinkhorn:
    ({ iterations }) =>
    (x) => {
      let logits = x;
      for (let i = 0; i < iterations; i++) for (const axis of [2, 1]) logits = logits.ref.sub(nn.logsumexp(logits, axis, { keepdims: true }));
      return np.exp(logits);
    },
  matmul:
    ({ transposeB, activation }) =>
    (a, b, bias) => {
      const product = np.matmul(a, transposeB ? np.matrixTranspose(b) : b);
      return ACTIVATIONS[activation](bias ? product.add(bias) : product);
    },
  conv2d: ({ padding, stride, groups }) => {
    if (groups > 1) throw new Refusal("it has no grouped convolutions");
    const around = [padding, padding];
    return (x, w) => lax.convGeneralDilated(x, w, [stride, stride], [around, around]);
  },
};

const prepare = async ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  if (!OPERATIONS[operation]) return { unavailable: `it has no ${operation}` };
  const form = OPERATIONS[operation](parameters);
  const arrays = [...inputs, cotangent].map((tensor) => np.array(floats(tensor)).reshape(tensor.shape));
  await blockUntilReady(arrays);
  const wanted = inputs.flatMap(({ gradient }, i) => (gradient ? [i] : []));
  const forward = jit((...args) => form(...args));
  const both = jit((...args) => {
    const [result, pull] = vjp(form, args.slice(0, -1));
    const gradients = pull(args[args.length - 1]);
    return [result, ...wanted.map((i) => gradients[i])];
  });
  return {
    step: (pass) => {
      const held = (pass === "forward" ? arrays.slice(0, -1) : arrays).map((array) => array.ref);
      return pass === "forward" ? [forward(...held)] : both(...held);
    },
    finish: async (results) => {
      await blockUntilReady(results);
      for (const array of results) array.dispose();
    },
    values: (results) => Promise.all(results.map((array) => array.data())),
    dispose: () => {
      for (const array of arrays) array.dispose();
    },
  };
};

await serve(`jax-js ${version}, ${BACKEND}, jit`, prepare, gpu);
