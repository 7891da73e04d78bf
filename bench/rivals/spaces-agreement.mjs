/**
 * Whether NumPy's files are read and written as NumPy does, and whether alignments, measures of spaces, scores and Student's distribution agree with NumPy and SciPy:
 * `npm run build && node bench/rivals/spaces-agreement.mjs`. Python with numpy and scipy is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  decodeNpy,
  encodeNpy,
  fitAlignment,
  fitInverseProjection,
  linearCka,
  linearHsic,
  meanReciprocalRank,
  minimumDetectableEffect,
  neighbourhoodJaccard,
  pairedTTest,
  rbfCka,
  studentCdf,
  studentQuantile,
  svcca,
} from "../../dist/index.js";

const folder = mkdtempSync(join(tmpdir(), "birkhoff-spaces-"));
const script = fileURLToPath(new URL("spaces_agreement.py", import.meta.url));

const python = (step) => {
  const { status, stdout, stderr, error } = spawnSync(process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3", [script, step, folder], {
    encoding: "utf8",
  });
  if (status === 0 || (status === 1 && stdout)) return { status, stdout };
  console.error(
    `spaces-agreement: expected a Python with numpy and scipy, but received: ${(stderr ?? error?.message ?? "").trim().split("\n").pop()}`,
  );
  process.exit(2);
};

const read = (name) => decodeNpy(readFileSync(join(folder, name)), name);
const write = (name, array, options) => writeFileSync(join(folder, name), encodeNpy(array, options));

const METHODS = [
  { name: "procrustes", method: "procrustes" },
  { name: "linear", method: "linear" },
  { name: "linearOrthogonal", method: "linearOrthogonal" },
  { name: "affine", method: "affine" },
  { name: "ridge", method: "affine", ridge: 3 },
  { name: "shrinkage", method: "linear", shrinkage: 0.2 },
];

const spaces = (name) => {
  const [x, y] = [read(`${name}.x.npy`), read(`${name}.y.npy`)];
  for (const normalise of ["none", "standardise"]) {
    for (const { name: method, ...options } of METHODS) {
      const { weight, bias } = fitAlignment(x, y, { ...options, normalise });
      write(`${name}.${normalise}.${method}.weight.out.npy`, weight);
      write(`${name}.${normalise}.${method}.bias.out.npy`, { shape: [bias.length], data: bias });
    }
  }
  write(`${name}.inverse.out.npy`, fitInverseProjection(x).weight);
  const { correlations } = svcca(x, y, { variance: 0.9 });
  write(`${name}.correlations.out.npy`, { shape: [correlations.length], data: correlations });
  return {
    hsic: linearHsic(x, y),
    unbiasedHsic: linearHsic(x, y, { unbiased: true }),
    cka: linearCka(x, y),
    unbiasedCka: linearCka(x, y, { unbiased: true }),
    rbf: [rbfCka(x, y), rbfCka(x, y, { bandwidth: 0.5 }), rbfCka(x, y, { unbiased: true })],
    jaccard: neighbourhoodJaccard(x, y, { k: 5 }),
    euclideanJaccard: neighbourhoodJaccard(x, y, { k: 5, metric: "euclidean" }),
    mrr: meanReciprocalRank(x, x.shape[1] === y.shape[1] ? y : x),
  };
};

try {
  python("make");
  const names = readdirSync(folder);
  // Every file comes back as it was, in the other order of values.
  for (const name of names.filter((entry) => entry.startsWith("type.")))
    write(name.replace("type.", "back."), read(name), { fortranOrder: name.includes(".C.") });
  const asked = JSON.parse(readFileSync(join(folder, "student.json"), "utf8"));
  const results = {
    spaces: Object.fromEntries(names.filter((name) => name.endsWith(".x.npy")).map((name) => [name.slice(0, -6), spaces(name.slice(0, -6))])),
    cdf: asked.cdf.map(([t, degrees]) => studentCdf(t, degrees)),
    quantile: asked.quantile.map(([p, degrees]) => studentQuantile(p, degrees)),
    tests: asked.tests.map(([a, b]) => pairedTTest(a, b)),
    effects: asked.effects.map(([deviation, count]) => minimumDetectableEffect(deviation, count)),
  };
  writeFileSync(join(folder, "results.json"), JSON.stringify(results));
  const { status, stdout } = python("check");
  process.stdout.write(stdout);
  process.exitCode = status;
} finally {
  rmSync(folder, { recursive: true });
}
