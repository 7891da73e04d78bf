/**
 * Whether `sinkhorn` agrees with other systems on their own formulas: `npm run build && node bench/rivals/agreement.mjs [device]`.
 * Python with torch and POT is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { openDevice, sinkhorn } from "../../dist/index.js";

/** Largest difference that counts as agreement: float32 against float64, of P, and of the gradient relative to its largest entry. */
const TOLERANCE = { P: 2e-6, gradient: 2e-5 };

let seed = 1;
const uniform = () => {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
};
const normals = (count, scale = 1) =>
  Array.from({ length: count }, () => Math.fround(scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())));
const weights = (count) => {
  const raw = Array.from({ length: count }, () => 0.5 + uniform());
  const total = raw.reduce((sum, value) => sum + value, 0);
  return raw.map((value) => Math.fround(value / total));
};

const square = (system, batch, n, scale, more) => {
  const shape = [batch, n, n];
  const size = batch * n * n;
  return { system, shape, logits: normals(size, scale), cotangent: normals(size), iterations: 20, ...more };
};
const pot = (n, m, reg, method, iterations) => ({
  system: "pot",
  shape: [n, m],
  logits: normals(n * m),
  a: weights(n),
  b: weights(m),
  reg,
  method,
  iterations,
});
const problems = [
  square("torch", 4, 4, 1),
  square("torch", 3, 25, 3),
  square("torch", 2, 64, 5),
  square("torch", 1, 150, 2),
  square("deepseek", 5, 4, 1, { eps: 1e-6 }),
  square("deepseek", 5, 4, 3, { eps: 1e-6 }),
  square("deepseek", 2, 16, 2, { eps: 1e-6 }),
  pot(12, 9, 0.5, "sinkhorn", 500),
  pot(40, 60, 0.3, "sinkhorn", 2000),
  pot(30, 30, 0.1, "sinkhorn_log", 5000),
];

const python = spawnSync(process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3", [fileURLToPath(new URL("agreement.py", import.meta.url))], {
  input: JSON.stringify(problems),
  encoding: "utf8",
  maxBuffer: 1 << 28,
});
if (python.status !== 0) {
  console.error(
    `agreement: expected a Python with torch and POT, but received: ${(python.stderr ?? python.error?.message ?? "").trim().split("\n").pop()}`,
  );
  process.exit(2);
}
const theirs = JSON.parse(python.stdout);

const device = await openDevice({ device: process.argv[2] ?? "native" });
console.log(`${device.kind}: ${device.info.description}`);
let failures = 0;
for (const [i, problem] of problems.entries()) {
  const { system, shape, logits, cotangent, iterations, a, b, reg, eps } = problem;
  const x = device.tensor(logits, shape);
  x.requiresGrad = cotangent !== undefined;
  const options = system === "pot" ? { iterations, temperature: reg, a: device.tensor(a), b: device.tensor(b) } : { iterations, ...(eps && { eps }) };
  const P = sinkhorn(x, options);
  if (cotangent) P.backward(device.tensor(cotangent, shape));
  const ours = { P: await P.read(), ...(cotangent && { gradient: await x.grad.read() }) };
  const errors = Object.entries(ours).map(([name, values]) => {
    const want = theirs[i][name];
    const scale = name === "P" ? 1 : Math.max(...want.map(Math.abs));
    const error = values.reduce((worst, value, k) => Math.max(worst, Math.abs(value - want[k])), 0) / scale;
    if (!(error <= TOLERANCE[name])) failures++;
    return `${name} ${error.toExponential(1)}`;
  });
  console.log(
    `${system.padEnd(9)} ${(problem.method ?? "").padEnd(13)} ${shape.join("×").padEnd(10)} T=${String(iterations).padEnd(5)} ${errors.join("   ")}`,
  );
}
console.log(failures === 0 ? `all within ${TOLERANCE.P} of P and ${TOLERANCE.gradient} of the gradient` : `${failures} differ by more`);
await device.close();
process.exitCode = failures === 0 ? 0 : 1;
