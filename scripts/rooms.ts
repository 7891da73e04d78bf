/** Every room has all its pieces under one name, nothing is orphaned, and shared code knows no room. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { FLOOR_LIMITS } from "../src/op.ts";
import { rooms } from "../src/ops/index.ts";
import { traceRoom } from "./trace.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const PIECES = ["README.md", "op.ts", "reference.ts", "plan.ts", "cases.ts", "index.ts"];
const LIBRARY = "lib";
const MAX_LINES = 400;
const MAX_TAPE_LINES = 200;
/** What puts rooms and devices together, and therefore may import rooms; the rest of shared code may not. */
const COMPOSITION = ["src/index.ts", "src/open.ts", "src/testing/index.ts"];
/** Shared code that must be there, or the look at shared code saw nothing. */
const SHARED = ["src/op.ts", "src/tape.ts", "src/apply.ts", "src/device.ts", "src/tensor.ts", "src/scope.ts", "src/backend.ts"];
const SOURCES = ["src", "test", "bench", "examples", "scripts", "native", "shaders"];

const problems: string[] = [];
const expectSome = <T>(what: string, found: readonly T[]): readonly T[] => {
  if (found.length === 0) problems.push(`found no ${what}: the check looked at nothing`);
  return found;
};

const read = (path: string): string => readFileSync(join(root, path), "utf8");
const lines = (path: string): number => read(path).trimEnd().split("\n").length;
const folders = (path: string): string[] =>
  readdirSync(join(root, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
const files = (path: string, pattern: RegExp): string[] =>
  existsSync(join(root, path))
    ? readdirSync(join(root, path), { recursive: true, encoding: "utf8" })
        .map((name) => join(path, name))
        .filter((name) => pattern.test(name) && !name.startsWith(join("src", "generated")) && statSync(join(root, name)).isFile())
        .sort()
    : [];

const compare = (what: string, found: Iterable<string>, wanted: Iterable<string>): void => {
  const [left, right] = [new Set(found), new Set(wanted)];
  for (const name of right) if (!left.has(name)) problems.push(`${what}: ${name} is missing`);
  for (const name of left) if (!right.has(name)) problems.push(`${what}: ${name} belongs to no room`);
};

const names = expectSome("rooms", rooms).map(({ name }) => name);
const opNames = new Set(rooms.flatMap(({ ops }) => ops.map(({ name }) => name)));

// Pieces.
compare("src/ops", folders("src/ops"), names);
compare(
  "shaders",
  folders("shaders").filter((name) => name !== LIBRARY),
  names,
);
compare(
  "native/ops",
  files("native/ops", /\.cc$/),
  names.map((name) => join("native/ops", `${name}.cc`)),
);
for (const name of names) {
  for (const piece of PIECES) {
    const path = join("src/ops", name, piece);
    if (!existsSync(join(root, path)) || read(path).trim() === "") problems.push(`${path} is missing`);
  }
  expectSome(`shader in shaders/${name}`, files(join("shaders", name), /\.wgsl$/));
}

// The library of shader pieces: each is included somewhere.
const shaderFiles = expectSome("shaders", files("shaders", /\.wgsl$/));
const includes = new Set(
  shaderFiles.flatMap((path) => [...read(path).matchAll(/^\/\/#(?:include|variant\s.*)\s"([^"]+)"/gm)].map(([, name]) => join("shaders", name))),
);
for (const path of files(join("shaders", LIBRARY), /\.wgsl$/)) if (!includes.has(path)) problems.push(`${path} is included by no shader`);

// The rooms' own headers likewise.
const kernelText = files("native/ops", /\.(cc|h)$/)
  .map(read)
  .join("\n");
for (const path of files("native/ops", /\.h$/))
  if (!kernelText.includes(`/${basename(path)}"`) && !kernelText.includes(`"${basename(path)}"`)) problems.push(`${path} is included by no kernel`);

// Ops: named after their room, listed in the native table, reached by a case. An alias is never launched.
const table = [...read("native/kernels.cc").matchAll(/\{\s*"([^"]+)"\s*,/g)].map(([, name]) => name);
const launched = rooms.flatMap(({ ops }) => ops.filter(({ alias }) => !alias).map(({ name }) => name));
compare("native/kernels.cc", expectSome("kernels in native/kernels.cc", table), launched);
let cases = 0;
for (const room of rooms) {
  expectSome(`ops in ${room.name}`, room.ops);
  expectSome(`cases in ${room.name}`, room.cases);
  cases += room.cases.length;
  for (const { name } of room.ops)
    if (name !== room.name && !name.startsWith(`${room.name}.`)) problems.push(`op ${name} is not named after its room ${room.name}`);
  const seen = new Set<string>();
  for (const { name, op, forward, backward } of room.cases) {
    if (seen.has(name)) problems.push(`${room.name}: two cases are called "${name}"`);
    seen.add(name);
    if (!room.ops.includes(op)) problems.push(`${room.name}, case "${name}": op ${op.name} is not in the room's list`);
    for (const tolerance of [forward, backward])
      if (tolerance && tolerance.reason.trim() === "") problems.push(`${room.name}, case "${name}": its tolerance has no reason`);
  }
  const { calls } = await traceRoom(room, FLOOR_LIMITS);
  const reached = new Set([...calls.map(({ op }) => op.name), ...room.cases.map(({ op }) => op.name)]);
  for (const name of new Set(room.ops.map((op) => op.name)))
    if (!reached.has(name)) problems.push(`op ${name} is reached by no case of its room, forward or backward`);
}

// Shared code names no op and imports no room.
const shared = [...files("src", /^src\/[^/]+\.ts$/), ...files("src/backends", /\.ts$/), ...files("src/testing", /\.ts$/)].filter(
  (path) => !COMPOSITION.includes(path),
);
for (const path of SHARED) if (!shared.includes(path)) problems.push(`${path} is missing, so shared code was not looked at`);
const naming = new RegExp(`["'\`](${[...opNames].map((name) => name.replace(/\./g, "\\.")).join("|")})["'\`]`);
for (const path of shared) {
  const text = read(path);
  if (/from\s+"[^"]*\/ops\//.test(text)) problems.push(`${path} is shared code, and imports a room`);
  const named = text.match(naming);
  if (named) problems.push(`${path} is shared code, and names the op ${named[1]}`);
}

// Suppressions and sizes. (The linter asks for a reason in its own.)
const sources = expectSome(
  "source files",
  SOURCES.flatMap((folder) => files(folder, /\.(ts|mjs|cc|h|wgsl)$/)),
);
for (const path of sources)
  if (lines(path) > MAX_LINES) problems.push(`${path} has ${lines(path)} lines, more than ${MAX_LINES}: does it hold one thing?`);
if (lines("src/tape.ts") >= MAX_TAPE_LINES) problems.push(`src/tape.ts has ${lines("src/tape.ts")} lines, and must stay below ${MAX_TAPE_LINES}`);

for (const problem of problems) console.error(problem);
console.log(
  `${rooms.length} rooms, ${opNames.size} ops, ${cases} cases, ${shaderFiles.length} shaders, ${shared.length} shared files, ${sources.length} sources`,
);
if (problems.length > 0) process.exitCode = 1;
