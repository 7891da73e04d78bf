/**
 * Whether exported networks give what they gave here, in PyTorch out of safetensors and in onnxruntime-node out of ONNX, and the paper's layers here what they gave in PyTorch:
 * `npm run build && node bench/rivals/export-agreement.mjs [device]`. Python with torch is found at BIRKHOFF_PYTHON, else at /usr/bin/python3; onnxruntime-node is looked for from
 * BIRKHOFF_RIVALS upwards, else from here, and left out where it is not.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readSafetensors, writeSafetensors } from "../../dist/files.js";
import {
  DigitNetwork,
  encodeOnnx,
  initializer,
  loadPaperState,
  openDevice,
  ResidualNetwork,
  relu,
  rotationGroup,
  toPlain,
  WeightSharingConv2d,
  WeightSharingLift2d,
} from "../../dist/index.js";

/** Of the largest output. */
const TOLERANCE = 1e-5;

const findRuntime = () => {
  for (let folder = resolve(process.env.BIRKHOFF_RIVALS ?? fileURLToPath(new URL(".", import.meta.url))); ; folder = dirname(folder)) {
    const manifest = join(folder, "node_modules", "onnxruntime-node", "package.json");
    if (existsSync(manifest)) return createRequire(manifest)("onnxruntime-node");
    if (folder === dirname(folder)) return undefined;
  }
};

const symmetries = {
  "no symmetry": { kind: "none" },
  learned: { kind: "learned", elements: 4 },
  factorised: { kind: "learned", elements: 4, factorised: true },
  "C4 given": { kind: "fixed", group: rotationGroup(5).elements },
};
const distance = (got, want) => Math.max(...want.map((value, i) => Math.abs(value - got[i]))) / Math.max(...want.map(Math.abs));

const ort = findRuntime();
const folder = mkdtempSync(join(tmpdir(), "birkhoff-export-"));
const python = process.env.BIRKHOFF_PYTHON ?? "/usr/bin/python3";
const device = await openDevice({ device: process.argv[2] ?? "native" });
let failed = 0;
const tell = (name, reader, got, want) => {
  const off = distance(got, want);
  const ok = got.length === want.length && off <= TOLERANCE;
  if (!ok) failed++;
  console.log(`${ok ? "ok  " : "FAIL"} ${name.padEnd(21)} ${reader.padEnd(12)} ${off.toExponential(1)}`);
};
const torch = (...files) => {
  const script = fileURLToPath(new URL("export_agreement.py", import.meta.url));
  const { status, stderr } = spawnSync(python, [script, ...files], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${python} ended with ${status}: ${stderr}`);
};
try {
  const networks = Object.entries(symmetries).flatMap(([name, symmetry]) => [
    [name, new DigitNetwork(initializer(device, 7), symmetry, { width: 8, pool: 2, layers: 3 })],
    [`${name}, residual`, new ResidualNetwork(initializer(device, 7), symmetry, { width: 4, kernelSize: 5, inChannels: 1, hidden: 16 })],
  ]);
  for (const [name, network] of networks) {
    const data = Float32Array.from({ length: 4 * 28 * 28 }, (_, i) => Math.sin(1 + 0.01 * i * i));
    const x = device.tensor(data, [4, 1, 28, 28]);
    await network.forward(x).read(); // a batch norm measures
    const want = await network.eval().forward(x).read();
    const plain = await toPlain(network);
    const [file, input, output] = ["network", "input", "output"].map((part) => join(folder, `${part}.safetensors`));
    writeSafetensors(file, plain.tensors, { architecture: plain.architecture });
    writeSafetensors(input, new Map([["input", { dtype: "F32", shape: x.shape, data }]]));
    torch(file, input, output);
    tell(name, "PyTorch", readSafetensors(output).tensors.get("output").data, want);
    if (ort) {
      const session = await ort.InferenceSession.create(encodeOnnx(plain));
      tell(name, "onnxruntime", (await session.run({ input: new ort.Tensor("float32", data, x.shape) })).output.data, want);
    }
  }
  const file = join(folder, "paper.safetensors");
  torch(file);
  const { tensors } = readSafetensors(file);
  const init = initializer(device, 1);
  const lift = new WeightSharingLift2d(init, { inChannels: 2, outChannels: 3, kernelSize: 5, elements: 4 });
  const conv = new WeightSharingConv2d(init, { inChannels: 3, outChannels: 4, kernelSize: 3, elements: 4 });
  loadPaperState(lift, tensors, "lift.");
  loadPaperState(conv, tensors, "conv.");
  const { data, shape } = tensors.get("input");
  tell("paper's layers", "PyTorch", await conv.forward(relu(lift.forward(device.tensor(data, shape)))).read(), tensors.get("output").data);
  if (!ort) console.log("onnxruntime-node is not installed: npm i --ignore-scripts onnxruntime-node in a folder that BIRKHOFF_RIVALS names");
} finally {
  await device.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed > 0 ? 1 : 0;
