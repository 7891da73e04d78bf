/** The built command line, as a user runs it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { writeDigits } from "./support/digits.ts";
import { small } from "./support/experiment.ts";
import { temporaryFolder } from "./support/folder.ts";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const folder = temporaryFolder();

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}): { child: ChildProcess; done: Promise<Outcome> } => {
  const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  return { child, done: once(child, "close").then(([code]) => ({ code: code as number | null, ...output })) };
};
const birkhoff = (...args: readonly string[]): Promise<Outcome> => start(args).done;
const lastLine = (text: string): Record<string, unknown> => JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");

/** The first line of progress: training is under way. */
const underWay = async ({ stderr }: ChildProcess): Promise<void> => {
  while (!/% {2}/.test(await new Promise<string>((resolve) => stderr?.once("data", resolve))));
};

describe("birkhoff", () => {
  test("ends quietly when nobody reads on", async () => {
    const { child, done } = start(["bench", "--list"]);
    child.stdout?.destroy();
    expect(await done).toMatchObject({ code: 0, stderr: "" });
  });

  test("without a command shows the commands", async () => {
    const { code, stdout } = await birkhoff();
    expect(code).toBe(2);
    for (const name of ["info", "check", "bench", "discover", "stitch"]) expect(stdout).toContain(name);
  });

  test.each([
    [["frobnicate"], 'expected one of info, check, bench, discover, stitch for the command, but received "frobnicate"'],
    [["discover", "--frobnicate"], "Unknown option '--frobnicate'"],
    [["discover", "--steps", "0"], 'expected an integer of at least 1 for `--steps`, but received "0"'],
    [["discover", "--steps", "many"], 'expected an integer of at least 1 for `--steps`, but received "many"'],
    [["discover", "--noise", "NaN"], 'expected a number of at least 0 for `--noise`, but received "NaN"'],
    [["discover", "--seed", "-1"], "--seed"],
    [["discover", "--seed", "4294967296"], "for `seeds.from`, but received 4294967296"],
    [["discover", "--task", "knots"], 'expected one of cyclic, rot90, dihedral, rot45, cube, half, two-axes for `--task`, but received "knots"'],
    [["discover", "--device", "tpu"], 'expected one of webgpu, native, reference for `--device`, but received "tpu"'],
    [["stitch", "--ladder", "robust,magic"], 'for `--ladder`, but received "magic"'],
    [["stitch", "--labels", "y.npy"], "expected --embeddings beside --labels"],
    [["stitch", "--embeddings", "x.npy"], "expected at least two files, separated by commas, for `--embeddings`"],
    [["stitch", "--data", "x", "--embeddings", "a.npy,b.npy"], "expected either --data or --embeddings"],
    [["stitch", "--rows", "100", "--held-out", "100"], "expected fewer than the 100 rows for `--held-out`"],
    [["stitch", "--rows", "100", "--anchors", "90"], "expected at most the 75 rows to train on for `--anchors`"],
    [["stitch", "--shrinkage", "2"], "expected at most 1 for `--shrinkage`"],
    [["discover", "--width", "4"], "expected --width together with `--data`"],
    [["check", "--op", "everything"], "for `--op`, but received"],
  ])("%j is refused with exit code 2", async (args, message) => {
    const { code, stdout, stderr } = await birkhoff(...args);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(code).toBe(2);
    expect(stdout).toBe("");
  });
});

test("info says what is picked and why", async () => {
  const { code, stdout } = await birkhoff("info", "--json");
  expect(code).toBe(0);
  const { picked, devices } = lastLine(stdout) as { picked: string; devices: { kind: string; available: boolean }[] };
  expect(["native", "reference", "webgpu"]).toContain(picked);
  expect(devices.map(({ kind }) => kind)).toEqual(["webgpu", "native", "reference"]);
  expect((await birkhoff("info")).stdout).toContain(`picked: ${picked}`);
});

test("info without a GPU driver keeps the other devices", async () => {
  const { code, stdout } = await start(["info", "--json"], { VK_DRIVER_FILES: "/nowhere", LD_LIBRARY_PATH: "" }).done;
  expect(code).toBe(0);
  const { picked, rejected, devices } = lastLine(stdout) as { picked: string; rejected: string[]; devices: { kind: string; available: boolean }[] };
  expect(picked).toBe("native");
  expect(rejected).toHaveLength(1);
  expect(devices.map(({ kind, available }) => [kind, available])).toEqual([
    ["webgpu", false],
    ["native", true],
    ["reference", true],
  ]);
});

test("check prints a table and a count", async () => {
  const { code, stdout } = await birkhoff("check", "--op", "elementwise", "--device", "native");
  expect(stdout).toMatch(/ok +elementwise +(\d+) of \1 cases/);
  expect(stdout).toMatch(/\n\d+ passed, 0 failed\n$/);
  expect(code).toBe(0);
});

test("bench lists its cases, refuses what it does not know, and says what is not installed", async () => {
  const { code, stdout } = await birkhoff("bench", "--list");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^sinkhorn: .*\n {2}sinkhorn 64x64x64 T20\n/);
  for (const args of [["nothing"], ["--case", "nothing"], ["--rivals", "nothing"], ["--rounds", "0"]]) {
    const refused = await birkhoff("bench", ...args);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("birkhoff bench: expected ");
  }
  const args = ["bench", "sinkhorn", "--case", "3x100", "--device", "native", "--rounds", "1", "--json", "--all"];
  const ran = await start(args, { BIRKHOFF_PYTHON: "/nowhere/python" }).done;
  expect(ran.code).toBe(0);
  const lines = ran.stdout.trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  for (const line of lines) {
    const { absent, errors, share, newBuffers } = JSON.parse(line);
    expect(Object.keys(absent)).toContain("torch");
    expect(Object.keys(errors)).toEqual(expect.arrayContaining(["naive", "reference"]));
    expect(share).toBeGreaterThan(0);
    expect(newBuffers).toBe(0);
  }
  const [file] = readdirSync(join(folder, "bench/results"));
  expect(file).toMatch(/^[a-z0-9-]+\.jsonl$/);
  expect(readFileSync(join(folder, "bench/results", file), "utf8")).toBe(ran.stdout);
  expect(readFileSync(join(folder, "report/bench.html"), "utf8")).toContain("sinkhorn 3x100x100 T20");
});

describe("discover", () => {
  test("learns, reports, and ends with one line of JSON", async () => {
    const { code, stdout, stderr } = await birkhoff(
      "discover",
      "--device",
      "native",
      "--size",
      "4",
      "--steps",
      "30",
      "--warmup",
      "10",
      "--json",
      "--seed",
      "3",
      "--svg",
      "pictures",
    );
    expect(stderr).toContain("cyclic on native");
    expect(code).toBe(0);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    const result = lastLine(stdout) as {
      heldOutAccuracy: number;
      agreement: number;
      losses: number[];
      networks: { name: string }[];
      layers: { group: object; match: object; coefficients: { values: number[] } }[];
    };
    expect(result.layers[0].match).toMatchObject({ group: "C4", relation: expect.any(String) });
    expect(result.layers[0].coefficients.values).toHaveLength(16);
    expect(readdirSync(join(folder, "pictures"))).toContain("loss-by-training-step.svg");
    expect(result.layers[0].group).toMatchObject({ description: expect.any(String), order: expect.stringMatching(/^\d+$/), exact: true });
    expect(result.heldOutAccuracy).toBeGreaterThan(0);
    expect(result.agreement).toBeGreaterThanOrEqual(0);
    expect(result.losses).toHaveLength(30);
    expect(result.networks).toHaveLength(3);
    expect(readFileSync(join(folder, "report", "index.html"), "utf8")).toMatch(/^<!doctype html>/i);
  });

  test("images: the same losses on every device, from the same seed", async () => {
    const data = mkdtempSync(join(folder, "digits-"));
    writeDigits(data);
    const losses = async (device: string): Promise<number[]> => {
      const { code, stdout, stderr } = await birkhoff(
        ...[
          "discover",
          "--data",
          data,
          "--transform",
          "rot90",
          "--kernel-size",
          "3",
          "--layers",
          "2",
          "--pool",
          "1",
          "--width",
          "2",
          "--batch-size",
          "4",
        ],
        ...["--steps", "4", "--warmup", "1", "--held-out", "6", "--no-compare", "--device", device, "--json", "--report", join(data, "r.html")],
      );
      expect(stderr).toContain(`rot90 images on ${device}`);
      expect(code).toBe(0);
      const {
        losses: all,
        layers,
        equivariance,
      } = lastLine(stdout) as {
        losses: number[];
        layers: { consistency?: { labels: number[] } }[];
        equivariance: { degrees: number; layers: number[] }[];
      };
      expect(layers[1].consistency?.labels).toHaveLength(4);
      expect(equivariance.map(({ degrees, layers: errors }) => [degrees, errors.length])).toEqual([45, 90, 135, 180].map((degrees) => [degrees, 2]));
      return all;
    };
    const [want, ...others] = [await losses("reference"), await losses("native"), await losses("webgpu")];
    expect(want).toHaveLength(4);
    for (const got of others) expect(Math.max(...got.map((loss, i) => Math.abs(loss - want[i])))).toBeLessThan(1e-4);
  });

  test("a page that cannot be written is an error, and what was learned is told all the same", async () => {
    const options = ["--device", "native", "--size", "4", "--steps", "3", "--no-compare", "--json"];
    const { code, stdout, stderr } = await birkhoff("discover", ...options, "--report", join(process.execPath, "index.html"));
    expect(code).toBe(1);
    expect(stderr).toContain("held-out");
    expect((lastLine(stdout) as { losses: number[] }).losses).toHaveLength(3);
  });

  test("a missing or broken folder is a file error", async () => {
    const { code, stderr } = await birkhoff("discover", "--data", join(folder, "nowhere"));
    expect(code).toBe(1);
    expect(stderr).toMatch(/expected .*nowhere|nowhere.*expected/);
    expect(stderr).not.toContain("    at ");
  });

  test("an experiment: results lie beside its file, and a second call has nothing to do", async () => {
    const config = join(mkdtempSync(join(folder, "experiment-")), "tiny.json");
    const tiny = {
      name: "tiny",
      data: { kind: "generated", size: 4 },
      networks: [{ kind: "learned" }, { kind: "fixed", name: "C4, given" }, { kind: "plain" }],
    };
    writeFileSync(config, JSON.stringify({ ...tiny, seeds: [1, 2], training: { steps: 0 } }));
    const call = ["discover", "--config", config, "--device", "native", "--report", join(folder, "tiny.html")];
    const refused = await birkhoff(...call);
    expect([refused.code, refused.stderr]).toEqual([2, `${config}: expected a number of at least 1 for \`training.steps\`, but received 0\n`]);
    writeFileSync(config, JSON.stringify({ ...tiny, seeds: [1, 2] }));
    const unknown = await birkhoff(...call, "--networks", "learned,plain");
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('expected one of "learned", "C4, given", "plain" for `--networks`')]);
    // Names are compared whole, commas included.
    call.push("--networks", "C4, given", "--networks", "learned");
    const first = await birkhoff(...call, "--steps", "5");
    expect([first.code, first.stderr]).toEqual([0, expect.stringContaining("100.0%")]);
    const results = readFileSync(join(config, "../results/tiny.jsonl"), "utf8");
    expect(results.trimEnd().split("\n")).toHaveLength(4);
    // As one would type it again, without where the page went.
    const command = `birkhoff discover --config ${config} --device native --networks "C4, given" --networks learned --steps 5`;
    expect(JSON.parse(results.split("\n")[0]).command).toBe(command);
    const second = await birkhoff(...call, "--steps", "5");
    expect([second.code, second.stderr]).toEqual([0, ""]);
    expect(second.stdout).toMatch(/learned +80 +2/);
    expect(readFileSync(join(config, "../results/tiny.jsonl"), "utf8")).toBe(results);
  });

  test("Ctrl-C stops cleanly and still reports", async () => {
    const path = join(folder, "interrupted.html");
    const { child, done } = start(["discover", "--device", "native", "--steps", "1000000", "--report", path]);
    await underWay(child);
    child.kill("SIGINT");
    const { code, stdout } = await done;
    expect(code).toBe(0);
    expect(stdout).toContain("Interrupted after");
    expect(existsSync(path)).toBe(true);
  });

  test("a run that was killed, then stopped with Ctrl-C, goes on to the same losses", async () => {
    const begin = (name: string): { readonly args: string[]; readonly checkpoints: string } => {
      const at = mkdtempSync(join(folder, name));
      const config = join(at, "long.json");
      writeFileSync(config, JSON.stringify({ ...small, networks: [{ kind: "learned" }], seeds: [3], training: { ...small.training, steps: 600 } }));
      const args = ["discover", "--config", config, "--device", "native", "--checkpoint-steps", "50", "--json", "--report", join(at, "page.html")];
      return { args, checkpoints: join(at, "results/checkpoints") };
    };
    const losses = ({ stdout }: Outcome): number[] => (lastLine(stdout) as { losses: number[] }).losses;
    const [whole, broken] = [begin("whole-"), begin("broken-")];
    const want = losses(await start(whole.args).done);
    const killed = start(broken.args);
    const kept = (): boolean => existsSync(broken.checkpoints) && readdirSync(broken.checkpoints).some((name) => name.endsWith(".safetensors"));
    while (killed.child.exitCode === null && !kept()) await setTimeout(5);
    killed.child.kill("SIGKILL");
    expect(await killed.done).toMatchObject({ code: null, stdout: "" });
    const stopped = start(broken.args);
    await underWay(stopped.child);
    stopped.child.kill("SIGINT");
    const part = await stopped.done;
    expect(part.code).toBe(0);
    expect(losses(part)).toEqual(want.slice(0, losses(part).length));
    expect(losses(part).length).toBeGreaterThan(50);
    expect(losses(part).length).toBeLessThan(600);
    expect(losses(await start(broken.args).done)).toEqual(want);
    expect(want).toHaveLength(600);
  });
});

test("stitch joins, reports, and ends with one line of JSON", async () => {
  const path = join(folder, "stitch.html");
  const small = ["--rows", "400", "--steps", "5", "--seeds", "2", "--anchors", "40", "--ladder", "densified", "--device", "native"];
  const { code, stdout, stderr } = await birkhoff("stitch", ...small, "--report", path, "--json");
  expect(code, stderr).toBe(0);
  const result = JSON.parse(stdout);
  expect(result.ladder.map(({ name }: { name: string }) => name)).toEqual(["robust", "densified"]);
  expect(result.ladder[1].tables.length).toBe(2);
  expect(result.ladder[1].against.base).toBe("robust");
  expect(stderr).toMatch(/100\.0%.*seed 1 · gelu 96 · densified/);
  expect(stderr).toContain("a relu 64");
  expect(readFileSync(path, "utf8")).toContain("<h4>densified</h4>");
});
