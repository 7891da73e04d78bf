/** Load on a service in a process of its own, over loopback: every answer is checked. README.md shows results. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { openDevice, scope } from "birkhoff";
import { embeddings, FEATURES, load, train } from "./model.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "20000" },
    connections: { type: "string", default: "64" },
    "max-batch": { type: "string", default: "1,8,64" },
    device: { type: "string", default: "native" },
    seconds: { type: "string", default: "300" },
  },
});
const BODIES = 256;
const TOLERANCE = 1e-4;

const folder = mkdtempSync(join(tmpdir(), "birkhoff-service-"));
const checkpoint = join(folder, "model.safetensors");
await using reference = await openDevice({ device: "reference" });
writeFileSync(checkpoint, await train(reference));
const model = load(reference, await train(reference));
const { rows } = embeddings(BODIES, 11);
const want = await scope(() => model.classify(reference.tensor(rows, [BODIES, FEATURES]))).read();
const width = want.length / BODIES;

const metric = (text: string, name: string): number =>
  Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1),
  );

let wrong = 0;
const requests = rows.map((row, i) => ({
  method: "POST" as const,
  path: "/v1/classify",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ embeddings: [row] }),
  onResponse: (status: number, body: string) => {
    const got = status === 200 ? (JSON.parse(body) as { logits: number[][] }).logits[0] : [];
    if (got.length !== width || got.some((value, k) => !(Math.abs(value - want[i * width + k]) <= TOLERANCE))) wrong++;
  },
}));

const measure = async (maxBatch: string): Promise<void> => {
  const server = fileURLToPath(new URL("main.ts", import.meta.url));
  const args = ["--import", "tsx", server, "--port", "0", "--device", values.device, "--checkpoint", checkpoint, "--max-batch", maxBatch];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on("data", (text) => {
        const found = /http:\S+/.exec(String(text));
        if (found) resolve(found[0]);
      });
      child.once("exit", (code) => reject(new Error(`the service ended with ${code}`)));
    });
    const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    const run = (amount: number): Promise<autocannon.Result> =>
      autocannon({ url, connections: Number(values.connections), amount, requests, timeout: 30, duration: Number(values.seconds) });
    wrong = 0;
    await run(Math.ceil(Number(values.requests) / 5)); // Not counted: the compiler warms up, pools fill.
    const before = metric(await metrics(), "process_resident_memory_bytes");
    const result = await run(Number(values.requests));
    const after = await metrics();
    const memory = metric(after, "process_resident_memory_bytes");
    const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
    console.log(
      `| ${maxBatch} | ${result["2xx"]} | ${result.requests.average.toFixed(0)} | ${result.latency.p50} | ${result.latency.p99} | ` +
        `${(1000 * metric(after, 'service_event_loop_delay_seconds{quantile="0.99"}')).toFixed(1)} | ${mebibytes(before)} | ${mebibytes(memory)} | ` +
        `${wrong} | ${result.errors + result.timeouts + result.non2xx} |`,
    );
    if (wrong + result.errors + result.timeouts + result.non2xx > 0 || result["2xx"] < Number(values.requests)) process.exitCode = 1;
  } finally {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.kill("SIGTERM")) await ended;
  }
};

console.log(
  "| batch at most | answers | requests/s | p50, ms | p99, ms | event loop p99, ms | MiB after the first fifth | MiB at the end | wrong | failed |",
);
console.log("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
try {
  for (const maxBatch of values["max-batch"].split(",")) await measure(maxBatch);
} finally {
  rmSync(folder, { recursive: true });
}
