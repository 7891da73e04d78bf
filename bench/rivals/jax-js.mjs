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
const sinkhorn = (x, iterations) => {
  let logits = x;
  for (let i = 0; i < iterations; i++) for (const axis of [2, 1]) logits = logits.ref.sub(nn.logsumexp(logits, axis, { keepdims: true }));
  return np.exp(logits);
};
const volume = (shape) => shape.reduce((product, side) => product * side, 1);
/** a·bᵀ. */
const product = (a, b) => np.matmul(a, np.matrixTranspose(b));
/** The kernel itself in front of what matrices made of it, [Cout, matrices, Cin, d], as a convolution takes them. */
const stacked = (w, learned) => {
  const [cout, cin, ...rest] = w.shape;
  const matrices = learned.shape[1];
  const all = np.concatenate([w.reshape([cout, 1, cin, volume(rest)]), learned], 1);
  return all.reshape([cout * (matrices + 1), cin * volume(rest.slice(0, -2)), ...rest.slice(-2)]);
};
const expandKernel = (matrices, w, iterations = 0) => {
  const [count, d] = matrices.shape;
  const [cout, cin] = w.shape;
  const R = iterations > 0 ? sinkhorn(matrices, iterations) : matrices;
  const turned = product(w.ref.reshape([cout * cin, d]), R.reshape([count * d, d])).reshape([cout, cin, count, d]);
  return stacked(w, np.transpose(turned, [0, 2, 1, 3]));
};

const OPERATIONS = {
  sinkhorn:
    ({ iterations }) =>
    (x) =>
      sinkhorn(x, iterations),
  expandKernel:
    ({ iterations }) =>
    (matrices, w) =>
      expandKernel(matrices, w, iterations),
  expandFactorised: () => (group, space, w) => {
    const [count, p] = group.shape;
    const s = space.shape[1];
    const [cout, cin] = w.shape;
    const spaced = product(w.ref.reshape([cout * cin * p, s]), space.reshape([count * s, s])).reshape([cout * cin, p, count, s]);
    const mixed = np.matmul(group, np.transpose(spaced, [2, 1, 0, 3]).reshape([count, p, cout * cin * s]));
    const turned = np.transpose(mixed.reshape([count, p, cout, cin, s]), [2, 0, 3, 1, 4]);
    return stacked(w, turned.reshape([cout, count, cin, p * s]));
  },
  weightSharing:
    ({ iterations }) =>
    (x, logits, w, bias) => {
      const [cout, , ...rest] = w.shape;
      const [batch, ...image] = x.shape;
      const around = (rest.at(-1) - 1) / 2;
      const padding = [around, around];
      const kernel = expandKernel(logits, w, iterations);
      const images = x.reshape([batch, volume(image.slice(0, -2)), ...image.slice(-2)]);
      const y = lax.convGeneralDilated(images, kernel, [1, 1], [padding, padding]);
      return y.reshape([batch, cout, y.shape[1] / cout, ...y.shape.slice(2)]).add(bias.reshape([cout, 1, 1, 1]));
    },
  matmul:
    ({ transposeB, activation }) =>
    (a, b, bias) => {
      const sums = transposeB ? product(a, b) : np.matmul(a, b);
      return ACTIVATIONS[activation](bias ? sums.add(bias) : sums);
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
