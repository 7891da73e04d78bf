/** A rival for the tests of the harness: doubles its first input, in the protocol of bench/README.md. Argument: how it misbehaves. */
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const manner = process.argv[2];
const answer = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);
const floats = (file) => {
  const bytes = readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

if (manner === "missing") {
  answer({ id: 0, unavailable: "not installed: try again" });
  process.exit(0);
}
if (manner === "crash") {
  console.error("something broke");
  process.exit(3);
}
console.log("a library says hello");
answer({ id: 0, ready: "doubler 1.0" });
let case_;
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, ...request } = JSON.parse(line);
  if (what === "prepare" && request.case.operation !== "double") answer({ id, unavailable: `it has no ${request.case.operation}` });
  else if (what === "prepare") {
    case_ = request;
    answer({ id });
  } else if (what === "run") {
    if (manner === "error") answer({ id, error: "out of luck" });
    else answer({ id, ms: 2 * request.steps });
  } else if (what === "count") answer({ id, counts: { dispatches: 7, submits: 2, newBuffers: 1, bytes: 48 } });
  else {
    const factor = manner === "wrong" ? 2.5 : 2;
    const results = [floats(case_.inputs[0].file).map((x) => factor * x)];
    if (request.pass === "forward+backward") results.push(floats(case_.cotangent.file).map((x) => factor * x));
    for (const [i, values] of results.entries()) writeFileSync(`${request.prefix}${i}.f32`, new Uint8Array(values.buffer));
    answer({ id, sizes: results.map(({ length }) => length) });
  }
}
