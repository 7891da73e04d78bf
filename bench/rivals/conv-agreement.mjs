/**
 * Whether convolutions agree with PyTorch in float64 on random configurations, values and all three gradients:
 * `npm run build && node bench/rivals/conv-agreement.mjs [device] [seed]`. Python with torch is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { conv1d, conv2d, conv3d, convTranspose1d, convTranspose2d, convTranspose3d, openDevice } from "../../dist/index.js";

const CONFIGURATIONS = 500;
const TRANSPOSED = 250;
/** Largest difference that counts as agreement between float32 and float64, relative to the tensor's largest sum of absolute products: what cancels is no error. */
const TOLERANCE = 5e-7;
const FUNCTIONS = { conv1d, conv2d, conv3d, convTranspose1d, convTranspose2d, convTranspose3d };
const nameOf = ({ axes, transposed }) => `conv${transposed ? "Transpose" : ""}${axes}d`;

const [kind = "native", start = "1"] = process.argv.slice(2);
let state = Number(start);
const uniform = () => {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
};
const below = (count) => Math.floor(uniform() * count);
const pick = (list) => list[below(list.length)];
const normals = (shape) =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () =>
    Math.fround(Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())),
  );
const list = (axes, make) => Array.from({ length: axes }, (_, axis) => make(axis));

/** Shapes and options of one call; none is larger than some ten thousand numbers. */
const configuration = (transposed) => {
  const axes = 1 + below(3);
  const most = [0, 40, 14, 7][axes];
  const groups = pick([1, 1, 1, 2, 3, 8]);
  const [inner, outer] = [pick([1, 1, 2, 3, 5, 17]), pick([1, 1, 2, 4, 7, 20])];
  const kernel = list(axes, () => 1 + below(axes === 3 ? 4 : 7));
  const dilation = list(axes, () => 1 + below(2));
  const stride = list(axes, () => pick([1, 1, 2, 3]));
  const span = kernel.map((taps, axis) => dilation[axis] * (taps - 1) + 1);
  const batch = pick([1, 2, 3]);
  const bias = uniform() < 0.5;
  if (transposed) {
    const padding = span.map((taps) => below(Math.min(4, Math.ceil(taps / 2))));
    const outputPadding = stride.map((step, axis) => below(Math.max(step, dilation[axis])));
    const x = [batch, groups * inner, ...list(axes, () => 2 + below(Math.ceil(most / 2)))];
    return { axes, transposed, x, w: [groups * inner, outer, ...kernel], bias, options: { stride, padding, outputPadding, dilation, groups } };
  }
  const padding = pick(["valid", "same", below(4), list(axes, () => below(4)), list(axes, () => [below(4), below(4)])]);
  const size = list(axes, (axis) => span[axis] + below(most));
  const options = { stride: padding === "same" ? 1 : stride, padding, dilation, groups };
  return { axes, transposed, x: [batch, groups * inner, ...size], w: [groups * outer, inner, ...kernel], bias, options };
};

const device = await openDevice({ device: kind });
console.log(`${device.kind}: ${device.info.description}`);
const problems = [...list(CONFIGURATIONS, () => configuration(false)), ...list(TRANSPOSED, () => configuration(true))].map((problem) => {
  const { transposed, x, w, bias, options } = problem;
  const features = transposed ? w[1] * options.groups : w[0];
  const tensors = [x, w, ...(bias ? [[features]] : [])].map((shape) => device.tensor(normals(shape), shape));
  for (const tensor of tensors) tensor.requiresGrad = true;
  const [image, weights, added] = tensors;
  const y = FUNCTIONS[nameOf(problem)](image, weights, { ...options, ...(added && { bias: added }) });
  return { ...problem, tensors, y, cotangent: normals(y.shape) };
});

/** Ours, one configuration after the other. */
const results = [];
for (const problem of problems) {
  const { tensors, y, cotangent } = problem;
  problem.inputs = await Promise.all(tensors.map(async (tensor) => [...(await tensor.read())]));
  y.backward(device.tensor(cotangent, y.shape));
  results.push(await Promise.all([y, ...tensors.map((tensor) => tensor.grad)].map((tensor) => tensor.read())));
}

const asked = problems.map(({ axes, transposed, x, w, options, inputs, cotangent, y }) => ({
  axes,
  transposed,
  shapes: [x, w],
  options,
  inputs,
  cotangent,
  size: y.shape,
}));
const python = spawnSync(process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3", [fileURLToPath(new URL("conv_agreement.py", import.meta.url))], {
  input: JSON.stringify(asked),
  encoding: "utf8",
  maxBuffer: 1 << 29,
});
if (python.status !== 0) {
  console.error(
    `conv-agreement: expected a Python with torch, but received: ${(python.stderr ?? python.error?.message ?? "").trim().split("\n").pop()}`,
  );
  process.exit(2);
}

const worst = {};
let failures = 0;
for (const [i, theirs] of JSON.parse(python.stdout).entries()) {
  const { x, w, options } = problems[i];
  const name = nameOf(problems[i]);
  const errors = theirs.map(({ values: want, scale }, k) => {
    if (want.length !== results[i][k].length) return Number.POSITIVE_INFINITY;
    // A kernel may see nothing but padding: then all is zero, exactly.
    return want.reduce((most, value, j) => Math.max(most, Math.abs(value - results[i][k][j])), 0) / (scale || 1);
  });
  worst[name] ??= { count: 0, errors: [0, 0, 0, 0] };
  worst[name].count++;
  for (const [k, error] of errors.entries()) worst[name].errors[k] = Math.max(worst[name].errors[k], error);
  if (errors.every((error) => error <= TOLERANCE)) continue;
  failures++;
  console.log(`${name} x ${x} w ${w} ${JSON.stringify(options)}: ${errors.map((error) => error.toExponential(1)).join(" ")}`);
}
for (const [name, { count, errors }] of Object.entries(worst)) {
  const [y, dx, dw, db] = errors.map((error) => error.toExponential(1));
  console.log(`${name.padEnd(16)} ${String(count).padStart(4)} configurations   y ${y}   dx ${dx}   dw ${dw}   dbias ${db}`);
}
console.log(failures === 0 ? `all within ${TOLERANCE}` : `${failures} differ by more than ${TOLERANCE}`);
await device.close();
process.exitCode = failures === 0 ? 0 : 1;
