/**
 * Whether relative projections agree with PyTorch in float64, values and both gradients, for every similarity, normaliser and source of statistics:
 * `npm run build && node bench/rivals/relative-agreement.mjs [device]`. Python with torch is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { openDevice, relativeProjection } from "../../dist/index.js";

/** Largest difference that counts as agreement between float32 and float64, relative to the tensor's largest entry; products with an inverse have its condition number in them. */
const [TOLERANCE, INVERTED] = [5e-6, 2e-4];
const SHAPES = [
  [7, 9, 5],
  [33, 70, 24],
  [5, 6, 40],
];
const SIMILARITIES = ["cosine", "angular", "inner", "scaledInner", "l1", "l2", "linf", "lp", "mahalanobis", "changeOfBasis"];

let state = 1;
const uniform = () => {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
};
const normals = (count) =>
  Array.from({ length: count }, () => Math.fround(0.3 + Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())));

const problems = [];
for (const [B, K, d] of SHAPES) {
  for (const similarity of SIMILARITIES) {
    for (const normalise of similarity === "mahalanobis" ? ["whiten"] : ["none", "centre", "standardise", "whiten"]) {
      for (const statistics of normalise === "none" ? ["anchors"] : ["anchors", "batch"]) {
        for (const detachStatistics of normalise === "none" ? [true] : [true, false]) {
          const inverts = normalise === "whiten" || similarity === "changeOfBasis";
          const options = {
            similarity,
            normalise,
            statistics,
            detachStatistics,
            ...(inverts && { shrinkage: 0.1 }),
            ...(similarity === "lp" && { p: 3 }),
          };
          problems.push({
            shapes: [
              [B, d],
              [K, d],
              [B, K],
            ],
            inverts,
            options,
            values: [normals(B * d), normals(K * d), normals(B * K)],
          });
        }
      }
    }
  }
}

const device = await openDevice({ device: process.argv[2] ?? "native" });
console.log(`${device.kind}: ${device.info.description}`);
const results = [];
for (const { shapes, values, options } of problems) {
  const [x, anchors, cotangent] = shapes.map((shape, i) => device.tensor(values[i], shape));
  for (const tensor of [x, anchors]) tensor.requiresGrad = true;
  const y = relativeProjection(x, anchors, { ...options, detachAnchors: false });
  y.backward(cotangent);
  results.push(await Promise.all([y, x.grad, anchors.grad].map((tensor) => tensor.read())));
  for (const tensor of [x, anchors, cotangent, y]) tensor.dispose();
}

const python = spawnSync(process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3", [fileURLToPath(new URL("relative_agreement.py", import.meta.url))], {
  input: JSON.stringify(problems),
  encoding: "utf8",
  maxBuffer: 1 << 29,
});
if (python.status !== 0) {
  console.error(
    `relative-agreement: expected a Python with torch, but received: ${(python.stderr ?? python.error?.message ?? "").trim().split("\n").pop()}`,
  );
  process.exit(2);
}

const worst = {};
let failures = 0;
for (const [i, theirs] of JSON.parse(python.stdout).entries()) {
  const { options, inverts, shapes } = problems[i];
  const errors = theirs.map((want, k) => {
    const scale = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    return want.reduce((most, value, j) => Math.max(most, Math.abs(value - results[i][k][j])), 0) / scale;
  });
  worst[options.similarity] ??= [0, 0, 0];
  const row = worst[options.similarity];
  for (const [k, error] of errors.entries()) row[k] = Math.max(row[k], error);
  if (errors.every((error) => error <= (inverts ? INVERTED : TOLERANCE))) continue;
  failures++;
  console.log(`${JSON.stringify(options)} ${JSON.stringify(shapes)}: ${errors.map((error) => error.toExponential(1)).join(" ")}`);
}
for (const [name, [y, dx, danchors]] of Object.entries(worst))
  console.log(`${name.padEnd(14)} y ${y.toExponential(1)}   dx ${dx.toExponential(1)}   danchors ${danchors.toExponential(1)}`);
console.log(
  `${problems.length} configurations, ${failures === 0 ? "all within" : `${failures} differ by more than`} ${TOLERANCE}, or ${INVERTED} with an inverse`,
);
await device.close();
process.exitCode = failures === 0 ? 0 : 1;
