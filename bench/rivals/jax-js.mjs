/** jax-js on its WebAssembly backend, jitted, as a rival of `birkhoff bench`; the protocol stands in bench/README.md. Argument: where to look for it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const answer = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);

const NAME = "@jax-js/jax";
const BACKEND = "wasm";

const find = (from) => {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const found = join(folder, "node_modules", NAME);
    if (existsSync(join(found, "package.json"))) return found;
    if (folder === dirname(folder)) return undefined;
  }
};

const folder = find(process.argv[2]);
if (!folder) {
  answer({ id: 0, unavailable: `not installed: npm i --ignore-scripts ${NAME} in this folder, or BIRKHOFF_RIVALS=<folder>` });
  process.exit(0);
}
const { version, exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const { init, defaultDevice, jit, vjp, nn, numpy: np, blockUntilReady } = await import(pathToFileURL(join(folder, exports["."].import)).href);
if (!(await init(BACKEND)).includes(BACKEND)) {
  answer({ id: 0, unavailable: `its ${BACKEND} backend does not start` });
  process.exit(0);
}
defaultDevice(BACKEND);

/** Arrays are consumed by what takes them; `ref` is one more hold. */
const OPERATIONS = {
  sinkhorn:
    ({ iterations }) =>
    (x) => {
      let logits = x;
      for (let i = 0; i < iterations; i++) for (const axis of [2, 1]) logits = logits.ref.sub(nn.logsumexp(logits, axis, { keepdims: true }));
      return np.exp(logits);
    },
};

let current;

const prepare = async ({ case: { operation, ...parameters }, inputs, cotangent }) => {
  if (!OPERATIONS[operation]) return { unavailable: `it has no ${operation}` };
  const load = ({ file, shape }) => {
    const bytes = readFileSync(file);
    return np.array(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))).reshape(shape);
  };
  for (const array of current?.arrays ?? []) array.dispose();
  const form = OPERATIONS[operation](parameters);
  const arrays = [...inputs.map(load), load(cotangent)];
  await blockUntilReady(arrays);
  const wanted = inputs.flatMap(({ gradient }, i) => (gradient ? [i] : []));
  const forward = jit((...args) => form(...args));
  const both = jit((...args) => {
    const [result, pull] = vjp(form, args.slice(0, -1));
    const gradients = pull(args[args.length - 1]);
    return [result, ...wanted.map((i) => gradients[i])];
  });
  const step = (pass) => {
    const held = (pass === "forward" ? arrays.slice(0, -1) : arrays).map((array) => array.ref);
    return pass === "forward" ? [forward(...held)] : both(...held);
  };
  current = { arrays, step };
  return {};
};

const run = async ({ pass, steps }) => {
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    const results = current.step(pass);
    await blockUntilReady(results);
    for (const array of results) array.dispose();
  }
  return { ms: performance.now() - start };
};

const result = async ({ pass, prefix }) => {
  const sizes = [];
  for (const [i, array] of current.step(pass).entries()) {
    const values = await array.data();
    sizes.push(values.length);
    writeFileSync(`${prefix}${i}.f32`, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return { sizes };
};

answer({ id: 0, ready: `jax-js ${version}, ${BACKEND}, jit` });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, ...request } = JSON.parse(line);
  try {
    answer({ id, ...(await { prepare, run, result }[what](request)) });
  } catch (error) {
    answer({ id, error: error.message });
  }
}
process.exit(0);
