/** What rivals written in JavaScript share: finding a library, reading and writing tensors, the protocol of bench/README.md. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";

const answer = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);

/** What rivals here know of. */
const PASSES = ["forward", "forward+backward"];

/** Thrown by a step that this rival cannot do. */
export class Refusal extends Error {}

export const unavailable = (reason) => {
  answer({ id: 0, unavailable: reason });
  process.exit(0);
};

/** Folder and version of an installed package, sought from the folder that is the program's argument upwards; without it the rival takes no part. */
export const findPackage = (name, from = process.argv[2]) => {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const found = join(folder, "node_modules", name);
    if (existsSync(join(found, "package.json"))) return { folder: found, ...JSON.parse(readFileSync(join(found, "package.json"), "utf8")) };
    if (folder === dirname(folder)) unavailable(`not installed: npm i --ignore-scripts ${name} in this folder, or BIRKHOFF_RIVALS=<folder>`);
  }
};

export const floats = ({ file }) => {
  const bytes = readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

/**
 * Answers requests until the input ends. `prepare(request)` gives the case: `step(pass)` starts a step and gives what it makes, `finish(made)` waits for
 * it and frees it, `values(made)` gives its tensors as arrays of floats. Or it gives `{ unavailable }`. `gpu` is what counts a GPU's work, where there is one.
 */
export const serve = async (ready, prepare, gpu) => {
  let current;
  const step = (pass) => {
    if (!PASSES.includes(pass)) throw new Refusal(`it has no ${pass}`);
    return current.step(pass);
  };
  const handlers = {
    async prepare(request) {
      const before = current;
      current = undefined;
      try {
        await before?.dispose?.();
      } catch {
        // A case in which something went wrong, which was told then, may hold what cannot be freed: no concern of the next one.
      }
      current = await prepare(request);
      return current.unavailable === undefined ? {} : { unavailable: current.unavailable };
    },
    async run({ pass, steps }) {
      const start = performance.now();
      for (let i = 0; i < steps; i++) await current.finish(await step(pass));
      return { ms: performance.now() - start };
    },
    async result({ pass, prefix }) {
      const sizes = [];
      for (const [i, values] of (await current.values(await step(pass))).entries()) {
        sizes.push(values.length);
        writeFileSync(`${prefix}${i}.f32`, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      }
      return { sizes };
    },
    async count({ pass }) {
      if (!gpu) throw new Refusal("it does not compute on a GPU");
      const whole = async () => current.finish(await step(pass));
      // Twice: pools of buffers are full then.
      for (let i = 0; i < 2; i++) await whole();
      gpu.reset();
      await whole();
      return { counts: gpu.counts() };
    },
  };
  answer({ id: 0, ready });
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, do: what, ...request } = JSON.parse(line);
    try {
      answer({ id, ...(await handlers[what](request)) });
    } catch (error) {
      answer({ id, [error instanceof Refusal ? "unavailable" : "error"]: error.message });
    }
  }
  process.exit(0);
};
