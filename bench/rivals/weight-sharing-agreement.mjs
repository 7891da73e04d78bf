/**
 * Whether the weight-sharing layers agree with the same layers written in PyTorch from their equations, results and gradients:
 * `npm run build && node bench/rivals/weight-sharing-agreement.mjs [device]`. Python with torch is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { openDevice, weightSharingConv } from "../../dist/index.js";

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

/** One layer: `channels` in and out, kernel side k, g elements, g_in of them coming in (0 for lifting). */
const problem = (form, { batch = 2, channels: [cin, cout], side, k, g, gIn = 0, identity = true, padding = 0, iterations = 20, temperature = 1 }) => {
  const group = gIn === 0 ? [] : [gIn];
  const d = size([...group, k, k]);
  const matrices = identity ? g - 1 : g;
  const sharing = {
    dense: () => ({ logits: normals([matrices, d, d]) }),
    factorised: () => ({ group: normals([matrices, gIn, gIn]), space: normals([matrices, k * k, k * k]) }),
    positions: () => ({ index: positions([matrices, d]) }),
  };
  const out = side + 2 * padding - k + 1;
  return {
    form,
    identity,
    padding,
    iterations,
    temperature,
    tensors: {
      x: normals([batch, cin, ...group, side, side]),
      w: normals([cout, cin, ...group, k, k]),
      bias: normals([cout]),
      ...sharing[form](),
    },
    cotangent: normals([batch, cout, g, out, out]).values,
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
let failures = 0;
for (const [i, { form, identity, padding, iterations, temperature, tensors, cotangent }] of problems.entries()) {
  const inputs = Object.entries(tensors).map(([name, { values, shape }]) => {
    const tensor = device.tensor(values, shape, name === "index" ? "int32" : "float32");
    tensor.requiresGrad = name !== "index";
    return [name, tensor];
  });
  const { x, w, bias, logits, group: a, space: b, index } = Object.fromEntries(inputs);
  const y = weightSharingConv(x, logits ?? index ?? { group: a, space: b }, w, { bias, identity, padding, iterations, temperature });
  y.backward(device.tensor(cotangent, y.shape));
  const ours = [["y", y], ...inputs.filter(([name]) => name !== "index").map(([name, tensor]) => [name, tensor.grad])];
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
  console.log(`${form.padEnd(11)} w ${w.shape.join("×").padEnd(11)} -> ${y.shape.join("×").padEnd(13)} ${errors.join("   ")}`);
}
console.log(failures === 0 ? `all within ${TOLERANCE} of the largest entry` : `${failures} differ by more than ${TOLERANCE}`);
await device.close();
process.exitCode = failures === 0 ? 0 : 1;
