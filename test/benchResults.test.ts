/** What `birkhoff bench --all` keeps: names of machines, lines in files, and the page. */
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test, vi } from "vitest";
import { barPicture, type Group } from "../bench/harness/bars.ts";
import { renderBenchPage } from "../bench/harness/page.ts";
import { codeState, type Machine, machineName, slugOf } from "../bench/harness/provenance.ts";
import { alreadyThere, appendResults, isMeasured, type Kept, type Measurement, type Run, readResults, sourcesOf } from "../bench/harness/results.ts";
import { benches } from "../bench/index.ts";
import { benchCommand } from "../src/cli/bench.ts";
import { temporaryFolder } from "./support/folder.ts";

const run: Run = {
  ...{ machine: "AMD EPYC, 2 cores, Linux x64", command: "birkhoff bench --all", commit: "abc", date: "2026-01-01T00:00:00.000Z", node: "v20.20.2" },
  ...{ load: 0.1, rounds: 9, versions: { torch: "PyTorch 2.0" } },
};
const measured = (name: string, more: Partial<Measurement> = {}): Measurement => ({
  ...{
    bench: "things",
    case: name,
    device: "native",
    pass: "forward",
    medianMs: 2,
    ratioToNaive: 4,
    rivals: { torch: 30 },
    share: 0.25,
    shareOf: "fma",
  },
  ...{ dispatches: 2, submits: 0, newBuffers: 0, bytes: 200, minimumBytes: 192, operations: 24, naiveMs: 8, naiveDispatches: 9, naiveBytes: 900 },
  ...{ rivalMs: { torch: 60 }, rivalCounts: {}, scaling: null, absent: {}, errors: { naive: 1e-7 }, spread: 3, software: false },
  ...{ description: "AVX-512, 2 threads, AMD EPYC", fmaGflops: 100, copyGBs: 30 },
  ...run,
  ...more,
});
const refused = (name: string): Kept => ({
  ...{ bench: "things", case: name, device: "native", pass: "forward", refused: "it differs from <naive>", errors: {}, software: false },
  ...{ description: "AVX-512, 2 threads, AMD EPYC", ...run },
});
const onGpu = { device: "webgpu", description: "driver 1", machine: "NVIDIA H200, 16 cores, Linux x64", medianMs: 0.5 };
const kept = (name: string): string => fileURLToPath(new URL(`../bench/results/${name}.jsonl`, import.meta.url));
const temporary = (): string => join(temporaryFolder(), "deep", "x.jsonl");

describe("machines", () => {
  const machine: Machine = { cpu: "AMD EPYC", cores: 2, platform: "linux", arch: "x64" };

  test.each([
    [machine, "AMD EPYC, 2 cores, Linux x64", "amd-epyc-2-cores-linux-x64"],
    [
      { ...machine, cpu: "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", cores: 1 },
      "Intel Xeon Platinum 8375C, 1 core, Linux x64",
      "intel-xeon-platinum-8375c-1-core-linux-x64",
    ],
    [
      { ...machine, cpu: "AMD EPYC 9654 96-Core Processor", gpu: "NVIDIA H200" },
      "NVIDIA H200, AMD EPYC 9654, 2 cores, Linux x64",
      "nvidia-h200-amd-epyc-9654-2-cores-linux-x64",
    ],
    [
      { cpu: "Apple M2 Pro", cores: 10, platform: "darwin", arch: "arm64" },
      "Apple M2 Pro, 10 cores, macOS arm64",
      "apple-m2-pro-10-cores-macos-arm64",
    ],
    [{ cpu: "", cores: 4, platform: "freebsd", arch: "x64" }, "4 cores, freebsd x64", "4-cores-freebsd-x64"],
  ])("%j", (facts: Machine, name, slug) => {
    expect(machineName(facts)).toBe(name);
    expect(slugOf(machineName(facts))).toBe(slug);
  });

  test("names of files hold letters, digits and dashes alone", () => {
    expect(slugOf("../Ünïx\\ (R) / 3")).toBe("n-x-r-3");
  });

  test("the state of the code is a commit, and the same until it changes", () => {
    expect(codeState()).toMatch(/^([0-9a-f]{12}(-dirty-[0-9a-f]{8})?|\d+\.\d+\.\d+)$/);
    expect(codeState()).toBe(codeState());
  });
});

describe("files of results", () => {
  test("grow by whole lines; one that was being written is dropped, another broken one is an error", () => {
    const path = temporary();
    expect(readResults(path)).toEqual([]);
    appendResults(path, [measured("a"), measured("b")]);
    appendFileSync(path, '{"bench":"things","cas');
    expect(readResults(path)).toHaveLength(2);
    appendResults(path, [refused("c")]);
    expect(readResults(path)).toEqual([measured("a"), measured("b"), refused("c")]);
    appendFileSync(path, '{"case":"d"}\n');
    expect(() => readResults(path)).toThrow("expected a result as JSON in line 4 of");
  });

  test("the newest line of a case, pass and device counts, in the order of the cases", () => {
    const [old, now] = [measured("a"), measured("a", { date: "2026-02-01T00:00:00.000Z", medianMs: 1 })];
    const [narrow, gpu] = [measured("a", { description: "AVX2+FMA, 2 threads, AMD EPYC" }), measured("a", onGpu)];
    const sources = sourcesOf(new Map([["x.jsonl", [now, measured("b"), old, narrow, gpu, { ...gpu, description: "driver 2" }]]]), ["b", "a"]);
    expect(sources.map(({ name, lines }) => [name, lines.length])).toEqual([
      ["native (AVX-512, 2 threads) on AMD EPYC, 2 cores, Linux x64", 2],
      ["native (AVX2+FMA, 2 threads) on AMD EPYC, 2 cores, Linux x64", 1],
      // Another driver is the same GPU.
      ["webgpu on NVIDIA H200, 16 cores, Linux x64", 1],
    ]);
    expect(sources[0].lines).toEqual([measured("b"), now]);
    expect(sources[2].lines[0].description).toBe("driver 2");
  });

  test("two files of one machine are told apart", () => {
    const sources = sourcesOf(
      new Map([
        ["before.jsonl", [measured("a")]],
        ["after.jsonl", [measured("a", { medianMs: 1 })]],
      ]),
      [],
    );
    expect(sources.map(({ name }) => name.split(", ").at(-1))).toEqual(["before.jsonl", "after.jsonl"]);
  });

  test("a run goes on with what is not there from the same code, under the same conditions, with every pass", () => {
    const cases = ["a", "b", "c", "d", "e"].map((name) => ({ name, passes: name === "b" ? ["forward", "forward+backward"] : ["forward"] }));
    const lines = [
      measured("a"),
      measured("b"),
      refused("c"),
      measured("d", { commit: "other" }),
      measured("e", { description: "portable, 2 threads, AMD EPYC" }),
    ];
    const there = (more: Partial<Run> = {}): string[] => [
      ...alreadyThere(lines, lines[0], { ...run, date: "later", load: 5, command: "x", ...more }, cases),
    ];
    expect(there()).toEqual(["a"]);
    expect(there({ rounds: 1 })).toEqual([]);
    expect(there({ versions: {} })).toEqual([]);
    expect(there({ node: "v22.0.0" })).toEqual([]);
    lines.push(measured("b", { pass: "forward+backward" }), refused("a"));
    expect(there()).toEqual(["b"]);
  });

  test("those in the repository are of cases, on machines that their names say", () => {
    for (const name of ["amd-epyc-2-cores-linux-x64", "nvidia-h200", "nvidia-h100"]) {
      const lines = readResults(kept(name));
      expect(lines.length).toBeGreaterThan(0);
      expect(new Set(lines.map(({ machine }) => slugOf(machine)))).toEqual(new Set([name]));
      for (const { bench } of lines) expect(benches.map((one) => one.name)).toContain(bench);
    }
  });
});

describe("the command", () => {
  const silent = (onLine: () => void = () => {}): Disposable => {
    const spies = [
      vi.spyOn(process.stdout, "write").mockImplementation(() => {
        onLine();
        return true;
      }),
      vi.spyOn(process.stderr, "write").mockReturnValue(true),
    ];
    return { [Symbol.dispose]: () => spies.forEach((spy) => void spy.mockRestore()) };
  };

  test("keeps a line a pass, goes on where it was interrupted, and writes a page", async () => {
    const out = temporary();
    const page = join(out, "../page.html");
    const args = [
      "matmul",
      "--all",
      "--case",
      "16x16x16",
      "--device",
      "reference",
      "--rounds",
      "1",
      "--rivals",
      "none",
      "--out",
      out,
      "--report",
      page,
    ];
    {
      using _ = silent(() => void process.emit("SIGINT"));
      expect(await benchCommand([...args, "--json"])).toBe(1);
    }
    const before = readResults(out);
    expect(before.map((line) => [line.case, line.pass])).toEqual([
      ["matmul 1024 of 16x16x16", "forward"],
      ["matmul 1024 of 16x16x16", "forward+backward"],
    ]);
    expect(before[0]).toMatchObject({
      bench: "matmul",
      device: "reference",
      rounds: 1,
      versions: {},
      command: `birkhoff bench ${args.join(" ")} --json`,
    });
    expect(before[0].machine).toMatch(/, \d+ cores?, /);
    using _ = silent();
    for (const lines of [4, 4]) {
      // Nothing is left for the last one.
      expect(await benchCommand(args)).toBe(0);
      expect(readResults(out)).toHaveLength(lines);
    }
    expect(readResults(out).slice(0, 2)).toEqual(before);
    for (const line of readResults(out)) expect(readFileSync(page, "utf8")).toContain(line.case);
    // Nothing is measured for a page.
    expect(await benchCommand(["--from", `${out},${out}`, "--report", page])).toBe(0);
    expect(await benchCommand([...args, "--fresh"])).toBe(0);
    expect(readResults(out)).toHaveLength(8);
  });

  test.each([
    [["--out", "x"], "expected --all beside --out"],
    [["--fresh"], "expected --all beside --fresh"],
    [["--report", "x.html"], "expected --all or --from beside --report"],
    [["--all", "--from", "x"], "expected either --all or --from"],
    [["--from", "nothing.jsonl"], 'expected files with results for `--from`, but received "nothing.jsonl"'],
    [["--from", ","], "expected files with results"],
  ])("%j is refused", async (args, message) => {
    await expect(benchCommand(args)).rejects.toThrow(message);
  });
});

describe("the page", () => {
  const page = { about: { things: "of all kinds" }, command: "birkhoff bench --from <x>", rivals: ["torch", "jax"] };
  const render = (files: Readonly<Record<string, readonly Kept[]>>): string => renderBenchPage(sourcesOf(new Map(Object.entries(files)), []), page);
  const count = (text: string, part: string | RegExp): number => text.split(part).length - 1;

  test("has every case with its bars, figures and share, and says where they are from", () => {
    const text = render({ x: [measured("one"), measured("two", { shareOf: "copy", share: 1.5 }), measured("one", { pass: "forward+backward" })] });
    // Ours, naive, one rival, and the share.
    expect(count(text, "<rect")).toBe(3 * 4);
    for (const part of [
      "30.0×",
      "25 % of multiply-adds",
      "150 % of copying",
      "2 ± 3 %",
      "commit abc",
      "PyTorch 2.0",
      "2026-01-01 00:00 UTC",
      "birkhoff bench --all (9 rounds)",
      "100 GFLOP/s",
      "of all kinds",
    ])
      expect(text).toContain(part);
    expect(text).not.toMatch(/NaN|undefined|Infinity|<script/);
    for (const tag of ["svg", "section", "table", "div", "g"]) expect(count(text, new RegExp(`<${tag}[ >]`))).toBe(count(text, `</${tag}>`));
  });

  test("escapes what it is given", () => {
    const hostile = "<img src=x onerror=alert(1)>";
    const text = render({
      x: [measured(hostile, { bench: hostile, machine: hostile, commit: hostile, versions: { torch: hostile } }), refused("bad")],
    });
    expect(text).not.toContain("<img");
    expect(text).toContain("refused: it differs from &lt;naive&gt;");
    expect(text).toContain("birkhoff bench --from &lt;x&gt;");
    expect(text).toContain(`Refused: bad, forward, `);
  });

  test("of several devices compares what more than one has", () => {
    const text = render({ x: [measured("one"), measured("alone")], y: [measured("one", onGpu)] });
    const [compared] = text.split("2 devices compared, forward")[2].split("</table>");
    expect(compared).toContain("0.5 ms");
    expect(compared).not.toContain("alone");
    expect(render({ x: [measured("one")] })).not.toContain("compared, ");
    // One machine before and after a change.
    expect(render({ before: [measured("one")], after: [measured("one")] })).toContain("2 devices compared, forward");
  });

  test("shows no milliseconds of a software GPU", () => {
    const text = render({ x: [measured("one", { device: "webgpu", software: true, share: null, shareOf: null, medianMs: 123, naiveMs: 492 })] });
    expect(text).toContain("times ours");
    expect(text).toContain("4.00×");
    expect(text.split("<body>")[1]).not.toMatch(/\b(123|492)\b/);
  });

  test("an axis is logarithmic where times differ much", () => {
    const group = (...values: number[]): Group => ({
      name: "x",
      bars: values.map((value) => ({ value, colour: "s0", label: `${value}`, title: "" })),
      shares: [],
    });
    const widths = (groups: readonly Group[]): number[] =>
      Array.from(barPicture("", "ms", groups).body.html.matchAll(/ width="([\d.]+)"/g), ([, width]) => Number(width));
    const linear = widths([group(1, 2)]);
    expect(linear[1]).toBeCloseTo(2 * linear[0]);
    const [a, b, c] = widths([group(0.01, 1, 100)]);
    expect(c - b).toBeCloseTo(b - a, 0);
    expect(a).toBeGreaterThan(10);
    expect(barPicture("", "ms", [group(1, 1000)]).body.html).toContain("logarithmic");
    expect(widths([])).toEqual([]);
  });

  test("is made of every result in the repository", () => {
    const lines = readResults(kept("amd-epyc-2-cores-linux-x64"));
    const text = render({ x: lines });
    for (const line of lines.filter(isMeasured)) expect(text).toContain(line.case);
    expect(text).not.toMatch(/NaN|undefined|Infinity/);
  });
});
