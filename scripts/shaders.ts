/**
 * Reads every shaders/<room>/<file>.wgsl and writes src/generated/<room>.ts, one export per file and variant, and dist/shaders/<room>/<file>.wgsl, the text with its
 * comments and all that it includes, for other programs. `--check` writes nothing and fails when a generated module is missing, stale or orphaned.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Shader } from "../src/op.ts";
import { reflect } from "../src/reflect.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const shaders = join(root, "shaders");
const generated = join(root, "src", "generated");
const published = join(root, "dist", "shaders");
const LIBRARY = "lib";
const ENABLE = /^enable\s[^;]*;/gm;
const DIRECTIVE = /\/\/#(include|variant) (.*)$/gm;
const VARIANT = /^\/\/#variant\s+(\S+)\s+"([^"]+)"\s+"([^"]+)"\s*$/gm;

const wgslIn = (folder: string): string[] =>
  readdirSync(join(shaders, folder))
    .filter((file) => file.endsWith(".wgsl"))
    .sort();

const camelCase = (name: string): string => name.replace(/[-_]+(\w)/g, (_, letter: string) => letter.toUpperCase());

/** What the GPU's compiler skips is not shipped; lines stay where they are, for its messages. */
const compact = (text: string): string => text.replace(/\/\/.*$/gm, "").replace(/^[ \t]+|[ \t]+$/gm, "");

/** The inside of a template literal, which keeps the shader readable in the generated file. */
const escaped = (text: string): string => text.replace(/[\\`]|\$\{/g, "\\$&");

/** A constant of each text that several shaders may contain, by the text. */
type Pieces = ReadonlyMap<string, string>;
const pieceName = (file: string): string => camelCase(`${file.replace(/\.wgsl$/, "").replace("/", "-")}-text`);
/** As `reflect` includes it: what it enables has moved to the front. */
const pieceText = (text: string): string => compact(text.replace(ENABLE, "")).trim();

const literal = (text: string, pieces: Pieces): string => {
  let body = escaped(compact(text));
  for (const [piece, name] of pieces) body = body.replace(escaped(piece), () => `\${${name}}`);
  return `\`${body}\``;
};

const show = (value: unknown): string => {
  if (value === undefined) return "undefined";
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(key)}: ${show(item)}`)
    .join(", ")} }`;
};

const declaration = (exported: string, { name, source, ...facts }: Shader, pieces: Pieces): string => {
  const lines = Object.entries({ name, ...facts }).map(([key, value]) => `  ${key}: ${show(value)},`);
  return `export const ${camelCase(exported)}: Shader = {\n${lines.join("\n")}\n  source: ${literal(source, pieces)},\n};\n`;
};

const header = (room: string): string => `/** Written by scripts/shaders.ts from shaders/${room}/; change those files instead. */\n`;

const problems: string[] = [];
/** What other programs get, by path: pieces as they are, shaders whole. */
const texts = new Map<string, string>();
const libs = Object.fromEntries(wgslIn(LIBRARY).map((file) => [`${LIBRARY}/${file}`, readFileSync(join(shaders, LIBRARY, file), "utf8")]));
const libraryPieces: Pieces = new Map(Object.entries(libs).map(([file, text]) => [pieceText(text), pieceName(file)]));

/**
 * The texts that a file stands for, by name: its own, and one for each line `//#variant <suffix> "lib/a.wgsl" "lib/b.wgsl"`,
 * in which b is included instead of a.
 */
const textsOf = (file: string, text: string): [string, string][] => {
  const name = file.replace(/\.wgsl$/, "");
  const variants = [...text.matchAll(VARIANT)].map(([, suffix, from, to]): [string, string] => {
    const other = text.replace(`//#include "${from}"`, `//#include "${to}"`);
    if (other === text) throw new Error(`${file}: expected a line //#include "${from}" for #variant ${suffix} to replace, but found none`);
    return [`${name}-${suffix}`, other];
  });
  return [[name, text], ...variants];
};

/** Every text stands in the module once, and those of the library in a module of their own, so that bundles hold no text twice. */
const moduleOf = (room: string): string | undefined => {
  const parts: string[] = [];
  const before = problems.length;
  for (const file of wgslIn(room)) {
    try {
      const variants = textsOf(file, readFileSync(join(shaders, room, file), "utf8"));
      const pieces = new Map(libraryPieces);
      if (variants.length > 1) {
        const [[name, text]] = variants;
        const own = compact(text).trim();
        parts.push(`const ${pieceName(name)} = \`${escaped(own)}\`;\n`);
        pieces.set(own, pieceName(name));
      }
      for (const [name, own] of variants) {
        const shader = reflect(`${room}/${name}`, own, libs);
        parts.push(declaration(name, shader, pieces));
        // Nobody resolves them a second time.
        texts.set(`${shader.name}.wgsl`, shader.source.replace(DIRECTIVE, "// $1 $2"));
      }
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  if (problems.length > before || parts.length === 0) return undefined;
  const body = parts.join("\n");
  const used = [...libraryPieces.values()].filter((name) => body.includes(`\${${name}}`)).sort();
  const imported = used.length > 0 ? `import { ${used.join(", ")} } from "./${LIBRARY}.ts";\n` : "";
  return `${header(room)}import type { Shader } from "../op.ts";\n${imported}\n${body}`;
};

const rooms = readdirSync(shaders, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== LIBRARY)
  .map((entry) => entry.name)
  .sort();
for (const [file, text] of Object.entries(libs)) texts.set(file, text);
const modules = new Map(rooms.map((room) => [`${room}.ts`, moduleOf(room)]));
modules.set(`${LIBRARY}.ts`, header(LIBRARY) + [...libraryPieces].map(([text, name]) => `\nexport const ${name} = \`${escaped(text)}\`;\n`).join(""));

const check = process.argv.includes("--check");
let written = 0;
/** Whether the file is stale. Renamed into place: whoever reads it meanwhile sees the old text or the new one, never half. */
const put = (path: string, text: string): boolean => {
  if (existsSync(path) && readFileSync(path, "utf8") === text) return false;
  if (check) return true;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.${process.pid}`, text);
  renameSync(`${path}.${process.pid}`, path);
  written++;
  return true;
};
mkdirSync(generated, { recursive: true });
for (const [file, text] of modules)
  if (text !== undefined && put(join(generated, file), text) && check)
    problems.push(`src/generated/${file} is missing or stale: run \`npx tsx scripts/shaders.ts\``);
for (const file of readdirSync(generated).filter((name) => name.endsWith(".ts") && !modules.has(name))) {
  if (check) problems.push(`src/generated/${file} has no folder under shaders/`);
  else rmSync(join(generated, file));
}
if (!check) {
  for (const [file, text] of texts) put(join(published, file), text);
  for (const file of readdirSync(published, { recursive: true, encoding: "utf8" }))
    if (file.endsWith(".wgsl") && !texts.has(file.replaceAll("\\", "/"))) rmSync(join(published, file));
}
console.log(`shaders: ${rooms.length} rooms, ${written} files written, ${problems.length} problems`);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
