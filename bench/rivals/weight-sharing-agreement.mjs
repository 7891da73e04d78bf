/**
 * Whether the weight-sharing layers agree with the same layers written in PyTorch from their equations, results and gradients:
 * `npm run build && node bench/rivals/weight-sharing-agreement.mjs [device]`. Python with torch is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { FactorisedWeightSharingConv2d, initializer, LearnedMatrices, openDevice, TiedMatrices, weightSharingConv } from "../../dist/index.js";

/** Largest difference that counts as agreement, relative to the tensor's largest entry: float32 against float64, through Sinkhorn's iterations. */
const TOLERANCE = 2e-5;

let seed = 1;
const uniform = () => {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
};
const size = (shape) => shape.reduce((product, side) => product * side, 1);
const normals = (shape) => ({
  shape,
  values: Array.from({ length: size(shape) }, () => Math.fround(Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()))),
});
/** Lists of positions: some are taken twice, as rounding a soft matrix row by row gives them. */
const positions = ([matrices, d]) => ({ shape: [matrices, d], values: Array.from({ length: matrices * d }, () => Math.floor(d * uniform())) });

const DEFAULTS = {
  dimensions: 2,
  identity: true,
  padding: 0,
  stride: 1,
  dilation: 1,
  iterations: 20,
  temperature: 1,
  constraint: "doublyStochastic",
};

/** One layer: `channels` in and out, kernel side k, g elements, g_in of them coming in (0 for lifting); the rest as `weightSharingConv` takes it. */
const problem = (form, { batch = 2, channels: [cin, cout], side, k, g, gIn = 0, ...more }) => {
  const options = { ...DEFAULTS, ...more };
  const { dimensions, identity, padding, stride, dilation } = options;
  const sides = (length) => new Array(dimensions).fill(length);
  const group = gIn === 0 ? [] : [gIn];
  const pixels = k ** dimensions;
  const d = size([...group, pixels]);
  const matrices = identity ? g - 1 : g;
  const sharing = {
    dense: () => ({ logits: normals([matrices, d, d]) }),
    factorised: () => ({ group: normals([matrices, gIn, gIn]), space: normals([matrices, pixels, pixels]) }),
    tied: () => ({ space: normals([matrices, pixels, pixels]) }),
    positions: () => ({ index: positions([matrices, d]) }),
  };
  const padded = side + (padding === "same" ? dilation * (k - 1) : 2 * padding);
  const out = Math.floor((padded - dilation * (k - 1) - 1) / stride) + 1;
  return {
    form,
    options,
    tensors: {
      x: normals([batch, cin, ...group, ...sides(side)]),
      w: normals([cout, cin, ...group, ...sides(k)]),
      bias: normals([cout]),
      ...sharing[form](),
    },
    cotangent: normals([batch, cout, g, ...sides(out)]).values,
  };
};

const lifting = { channels: [2, 4], side: 9, k: 5, g: 4 };
const group = { channels: [3, 4], side: 8, k: 3, g: 4, gIn: 4 };
const problems = [
  problem("dense", lifting),
  problem("dense", { ...lifting, k: 4, g: 8, identity: false, temperature: 0.5 }),
  problem("dense", { ...lifting, k: 1, g: 2, batch: 1 }),
  problem("positions", lifting),
  problem("dense", group),
  problem("dense", { ...group, k: 5, padding: 2, iterations: 5 }),
  problem("dense", { ...group, g: 1, gIn: 1 }),
  problem("factorised", group),
  problem("factorised", { ...group, k: 5, g: 8, gIn: 4, padding: 2 }),
  problem("factorised", { ...group, k: 2, g: 3, gIn: 8, identity: false, temperature: 0.5 }),
  problem("positions", { ...group, k: 5 }),
  problem("dense", { ...lifting, dimensions: 1, side: 20 }),
  problem("dense", { ...group, dimensions: 1, side: 15, padding: "same" }),
  problem("factorised", { ...group, dimensions: 1, side: 15, k: 4, stride: 2 }),
  problem("dense", { ...lifting, dimensions: 3, side: 6, k: 3 }),
  problem("dense", { ...group, dimensions: 3, side: 5, k: 2, padding: 1 }),
  problem("factorised", { ...group, dimensions: 3, side: 5, padding: "same" }),
  problem("positions", { ...group, dimensions: 3, side: 5, dilation: 2 }),
  problem("tied", group),
  problem("tied", { ...group, k: 5, g: 8, gIn: 8, padding: 2 }),
  problem("dense", { ...group, constraint: "rowStochastic", temperature: 0.5 }),
  problem("factorised", { ...group, constraint: "rowStochastic" }),
  problem("dense", { ...group, constraint: "none" }),
  problem("factorised", { ...group, constraint: "none" }),
  problem("dense", { ...lifting, stride: 2, padding: 1 }),
  problem("dense", { ...group, dilation: 2 }),
  problem("dense", { ...group, k: 4, dilation: 2, padding: "same" }),
  problem("factorised", { ...group, stride: 2, dilation: 2, padding: 3 }),
];

const script = fileURLToPath(new URL("weight-sharing-agreement.py", import.meta.url));
const python = spawnSync(process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3", [script], {
  input: JSON.stringify(problems),
  encoding: "utf8",
  maxBuffer: 1 << 28,
});
if (python.status !== 0) {
  const last = (python.stderr ?? python.error?.message ?? "").trim().split("\n").pop();
  console.error(`weight-sharing-agreement: expected a Python with torch, but received: ${last}`);
  process.exit(2);
}
const theirs = JSON.parse(python.stdout);

const device = await openDevice({ device: process.argv[2] ?? "native" });
console.log(`${device.kind}: ${device.info.description}`);

/** What follows from the matrices on the pixels is a layer's to know: it is given the problem's numbers. */
const tiedLayer = ({ x, ...given }, { iterations, temperature, padding }) => {
  const [outChannels, inChannels, elements, kernelSize] = given.w.shape;
  const init = initializer(device, 1);
  const space = new LearnedMatrices(init, { elements, side: kernelSize ** 2, iterations, temperature });
  const matrices = { space, group: new TiedMatrices(space) };
  const layer = new FactorisedWeightSharingConv2d(init, { inChannels, outChannels, kernelSize, elements, padding, matrices });
  const leaves = { x, w: layer.weight, bias: layer.bias, space: space.representations };
  for (const [name, { values }] of Object.entries(given)) device.write(leaves[name], Float32Array.from(values));
  return { leaves, y: layer.forward(x) };
};

let failures = 0;
for (const [i, { form, options, tensors, cotangent }] of problems.entries()) {
  const tensorOf = (name) => {
    const tensor = device.tensor(tensors[name].values, tensors[name].shape, name === "index" ? "int32" : "float32");
    tensor.requiresGrad = name !== "index";
    return tensor;
  };
  const run = () => {
    if (form === "tied") return tiedLayer({ ...tensors, x: tensorOf("x") }, options);
    const leaves = Object.fromEntries(Object.keys(tensors).map((name) => [name, tensorOf(name)]));
    const { x, w, bias, logits, index, ...factors } = leaves;
    return { leaves, y: weightSharingConv(x, logits ?? index ?? factors, w, { bias, ...options }) };
  };
  const { leaves, y } = run();
  y.backward(device.tensor(cotangent, y.shape));
  const ours = [["y", y], ...Object.entries(leaves).flatMap(([name, tensor]) => (name === "index" ? [] : [[name, tensor.grad]]))];
  const errors = [];
  for (const [name, tensor] of ours) {
    const want = theirs[i][name];
    const values = await tensor.read();
    // Without matrices, or with ones of a single number, a gradient is empty or 0.
    const scale = Math.max(1e-3, ...want.map(Math.abs));
    const error =
      values.length === want.length ? values.reduce((worst, value, k) => Math.max(worst, Math.abs(value - want[k])), 0) / scale : Infinity;
    if (!(error <= TOLERANCE)) failures++;
    errors.push(`${name} ${error.toExponential(1)}`);
  }
  const unusual = Object.entries(options).flatMap(([name, value]) => (value === DEFAULTS[name] ? [] : [`${name} ${value}`]));
  console.log(
    `${form.padEnd(11)} w ${leaves.w.shape.join("×").padEnd(13)} -> ${y.shape.join("×").padEnd(15)} ${errors.join("   ")}   ${unusual.join(", ")}`,
  );
}
console.log(failures === 0 ? `all within ${TOLERANCE} of the largest entry` : `${failures} differ by more than ${TOLERANCE}`);
await device.close();
process.exitCode = failures === 0 ? 0 : 1;
