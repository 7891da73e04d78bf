/**
 * Whether death times agree with SciPy's minimum spanning trees, edge for edge in length, on 1,000 random clouds of 2 to 1024 points:
 * `npm run build && node bench/rivals/persistence-agreement.mjs [device] [clouds]`. Python with NumPy and SciPy is found at BIRKHOFF_PYTHON, else at /usr/bin/python3.
 * SciPy reads a distance of 0 as no edge, so no cloud has duplicates; those are the case table's.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDevice, zeroPersistence } from "../../dist/index.js";

/** Largest difference that counts as agreement, relative to the length: float32 sums of up to 24 terms against float64. */
const TOLERANCE = 1e-6;
const METRICS = ["l1", "l2", "linf"];
/** Clouds are mixed into one labelled batch up to this many points. */
const BATCH = 2048;

let seed = 1;
const uniform = () => {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
};
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

const [kind = "native", wanted = "1000"] = process.argv.slice(2);
const total = Number(wanted);

/** Sizes from 2 to 1024, evenly on a scale of logarithms, so that small clouds are as usual as large ones. */
const cloudOf = (index) => {
  const size = index === 0 ? 1024 : index === 1 ? 2 : Math.min(1024, Math.floor(2 * 2 ** (9.01 * uniform())));
  return { size, points: (width, spread) => Float32Array.from({ length: size * width }, () => spread * normal()) };
};

/** Batches of one metric and width; each is a list of clouds. */
const batches = [];
for (let made = 0; made < total; ) {
  const batch = { metric: METRICS[batches.length % 3], width: 2 + Math.floor(23 * uniform()), clouds: [] };
  const spread = 10 ** (4 * uniform() - 2);
  for (let points = 0; made < total; made++) {
    const { size, points: fill } = cloudOf(made);
    if (points > 0 && points + size > BATCH) break;
    points += size;
    batch.clouds.push(fill(batch.width, spread));
  }
  batches.push(batch);
}

const folder = mkdtempSync(join(tmpdir(), "persistence-"));
let theirs;
try {
  const list = batches.map(({ metric, width, clouds }) => ({ metric, width, sizes: clouds.map(({ length }) => length / width) }));
  writeFileSync(join(folder, "batches.json"), JSON.stringify(list));
  writeFileSync(join(folder, "points.f32"), Buffer.concat(batches.flatMap(({ clouds }) => clouds.map(({ buffer }) => Buffer.from(buffer)))));
  const script = fileURLToPath(new URL("persistence-agreement.py", import.meta.url));
  const python = spawnSync(process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3", [script, folder], { encoding: "utf8" });
  if (python.status !== 0) {
    const last = (python.stderr ?? python.error?.message ?? "").trim().split("\n").pop();
    console.error(`persistence-agreement: expected a Python with NumPy and SciPy, but received: ${last}`);
    process.exit(2);
  }
  theirs = new Float64Array(Uint8Array.from(readFileSync(join(folder, "deaths.f64"))).buffer);
} finally {
  rmSync(folder, { recursive: true });
}

const device = await openDevice({ device: kind });
console.log(`${device.kind}: ${device.info.description}`);
const seen = Object.fromEntries(METRICS.map((metric) => [metric, { clouds: 0, edges: 0, worst: 0 }]));
let failures = 0;
let at = 0;
for (const { metric, width, clouds } of batches) {
  // Points of all clouds in scrambled order: the grouping is part of what is compared.
  const rows = clouds.flatMap((cloud, label) =>
    Array.from({ length: cloud.length / width }, (_, i) => ({ label, row: cloud.subarray(i * width, (i + 1) * width) })),
  );
  for (let i = rows.length - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * uniform()) % (i + 1);
    [rows[i], rows[j]] = [rows[j], rows[i]];
  }
  const points = device.tensor(Float32Array.from(rows.flatMap(({ row }) => [...row])), [rows.length, width]);
  const { deaths, partners } = zeroPersistence(
    points,
    rows.map(({ label }) => label),
    { metric },
  );
  const [times, ends] = [await deaths.read(), await partners.read()];
  for (const tensor of [points, deaths, partners]) tensor.dispose();
  const own = clouds.map(() => []);
  for (const [i, { label }] of rows.entries()) if (ends[i] >= 0) own[label].push(times[i]);
  for (const [label, cloud] of clouds.entries()) {
    const size = cloud.length / width;
    const want = theirs.subarray(at, at + size - 1);
    at += size - 1;
    const got = own[label].sort((a, b) => a - b);
    const worst = got.length === want.length ? got.reduce((most, time, i) => Math.max(most, Math.abs(time - want[i]) / want[i]), 0) : Infinity;
    if (!(worst <= TOLERANCE)) {
      failures++;
      console.log(`${metric}, ${size} points of ${width} coordinates: differ by ${worst}`);
    }
    const all = seen[metric];
    all.clouds++;
    all.edges += want.length;
    all.worst = Math.max(all.worst, worst);
  }
}
for (const [metric, { clouds, edges, worst }] of Object.entries(seen))
  console.log(`${metric.padEnd(4)} ${clouds} clouds, ${edges} edges, largest relative difference ${worst.toExponential(1)}`);
console.log(failures === 0 ? `all within ${TOLERANCE} of each length` : `${failures} clouds differ by more than ${TOLERANCE}`);
await device.close();
process.exitCode = failures === 0 ? 0 : 1;
