/** Other systems, each in a child process of its own that stays for the whole run. The protocol stands in bench/README.md. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { BenchCase, Contestant, Pass, StepCounts } from "./bench.ts";
import type { Data } from "./data.ts";

export interface RivalProgram {
  readonly name: string;
  /** What it computes on: whoever knows one alone does not race the other. */
  readonly on: "cpu" | "gpu" | "any";
  command(threads: number): { readonly program: string; readonly args: readonly string[]; readonly env?: Readonly<Record<string, string>> };
}

/** The package's folder, from the source and from the built command line alike. */
export const packageFolder = (): string => {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "bench", "rivals"))) return folder;
    if (folder === dirname(folder)) throw new Error("the folder bench/rivals is not there");
  }
};
const script = (file: string): string => join(packageFolder(), "bench", "rivals", file);
const python = (): string => process.env.BIRKHOFF_PYTHON || (existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3");

const javaScript =
  (file: string, ...more: readonly string[]): RivalProgram["command"] =>
  (threads) => ({ program: process.execPath, args: [script(file), process.env.BIRKHOFF_RIVALS || process.cwd(), String(threads), ...more] });

export const RIVALS: readonly RivalProgram[] = [
  {
    name: "torch",
    on: "any",
    command: (threads) => ({
      program: python(),
      args: [script("torch_rival.py"), String(threads)],
      // Threads that wait must not take the processor from whoever runs next.
      env: { OMP_WAIT_POLICY: "passive", OMP_NUM_THREADS: String(threads) },
    }),
  },
  { name: "jax-js-wasm", on: "cpu", command: javaScript("jax-js.mjs") },
  { name: "tfjs-wasm", on: "cpu", command: javaScript("tfjs.mjs") },
  { name: "jax-js-webgpu", on: "gpu", command: javaScript("jax-js.mjs", "webgpu") },
  { name: "tfjs-webgpu", on: "gpu", command: javaScript("tfjs.mjs", "webgpu") },
  { name: "onnxruntime-node", on: "cpu", command: javaScript("onnxruntime.mjs") },
];

interface Answer {
  readonly id?: number;
  readonly ready?: string;
  readonly ms?: number;
  readonly sizes?: readonly number[];
  readonly counts?: StepCounts;
  /** Why not: not installed, or no such operation. */
  readonly unavailable?: string;
  readonly error?: string;
}

/** A rival that cannot take part, with the reason. */
export class Unavailable extends Error {}

const START_MS = 60_000;
const END_MS = 3_000;

export class Rival {
  readonly program: RivalProgram;
  /** The system and its version. */
  description = "";
  readonly #child: ChildProcess;
  readonly #folder = mkdtempSync(join(tmpdir(), "birkhoff-bench-"));
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  #next = 0;
  #last = "";
  #ended: Error | undefined;

  private constructor(program: RivalProgram, child: ChildProcess) {
    this.program = program;
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#last = (this.#last + text).slice(-4000);
    });
    if (child.stdout) createInterface({ input: child.stdout }).on("line", (line) => this.#receive(line));
    const end = (reason: string): void => {
      this.#ended ??= new Unavailable(`${reason}${this.#last ? `: ${this.#last.trim().split("\n").pop()}` : ""}`);
      for (const { reject } of this.#waiting.values()) reject(this.#ended);
      this.#waiting.clear();
    };
    child.on("error", (error) => end(error.message));
    child.on("close", (code, signal) => end(`its process ended (${signal ?? `exit code ${code}`})`));
    child.stdin?.on("error", () => {});
  }

  get name(): string {
    return this.program.name;
  }

  /** @throws Unavailable when the program or what it needs is not installed */
  static async start(program: RivalProgram, threads: number): Promise<Rival> {
    const { program: file, args, env } = program.command(threads);
    const rival = new Rival(program, spawn(file, [...args], { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } }));
    try {
      const { ready = "" } = await within(START_MS, rival.#reply(0));
      rival.description = ready;
      return rival;
    } catch (error) {
      await rival.close();
      throw error;
    }
  }

  /** @throws Unavailable when the rival has no such operation */
  async prepare(entry: BenchCase, data: Data, gpu: boolean): Promise<Contestant> {
    if (!entry.rival) throw new Unavailable("the case has nothing for rivals");
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder, { recursive: true });
    const write = (name: string, values: Float32Array): string => {
      const file = join(this.#folder, name);
      writeFileSync(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return file;
    };
    const inputs = entry.inputs.map(({ shape, gradient = true }, i) => ({ file: write(`input${i}.f32`, data.inputs[i]), shape, gradient }));
    const cotangent = { file: write("cotangent.f32", data.cotangent), shape: entry.output };
    await this.#ask({ do: "prepare", case: entry.rival, inputs, cotangent, gpu });
    return {
      name: this.name,
      run: async (pass: Pass, steps: number) => {
        const { ms } = await this.#ask({ do: "run", pass, steps });
        if (typeof ms !== "number") throw new Error(`${this.name}: it answered without a time`);
        return ms;
      },
      counts: async (pass: Pass) => {
        const { counts } = await this.#ask({ do: "count", pass });
        if (!counts) throw new Error(`${this.name}: it answered without counts`);
        return counts;
      },
      results: async (pass: Pass) => {
        const prefix = join(this.#folder, "result");
        const { sizes = [] } = await this.#ask({ do: "result", pass, prefix });
        return sizes.map((_, i) => {
          const bytes = readFileSync(`${prefix}${i}.f32`);
          return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
        });
      },
    };
  }

  async close(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) {
      const closed = once(this.#child, "close");
      this.#child.stdin?.end();
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), END_MS);
      await closed;
      clearTimeout(timer);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #receive(line: string): void {
    let answer: Answer;
    try {
      answer = JSON.parse(line) as Answer;
    } catch {
      return; // Libraries print what they like.
    }
    const id = answer.id ?? -1;
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    if (answer.unavailable !== undefined) waiting.reject(new Unavailable(answer.unavailable));
    else if (answer.error !== undefined) waiting.reject(new Error(`${this.name}: ${answer.error}`));
    else waiting.resolve(answer);
  }

  #reply(id: number): Promise<Answer> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #ask(request: object): Promise<Answer> {
    const id = ++this.#next;
    const reply = this.#reply(id);
    this.#child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    return reply;
  }
}

const within = async <T>(ms: number, promise: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Unavailable(`it did not start within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};
