/**
 * What a shader declares, read from its text: bindings per entry point, overrides, constants and the layout of `Params`.
 * The only file that knows the WGSL parser.
 */
import type * as Library from "wgsl_reflect";
// @ts-expect-error The package's main is CommonJS under "type": "module", and its ES module has no types beside it.
import * as library from "wgsl_reflect/wgsl_reflect.module.js";
import { ArgumentError, checkObject, expected } from "./errors.ts";
import type { ParamsLayout, Shader, ShaderBinding } from "./op.ts";

const { WgslParser, WgslReflect } = library as typeof Library;

const INCLUDE = /^\/\/#include\s+"([^"]+)"\s*$/;
const ENABLE = /^enable\s[^;]*;/gm;
/** What the parser does not know, and nothing that is read from the text depends on. */
const UNKNOWN_TYPES = /\bsubgroup_matrix_(?:left|right|result)<[^<>]*>/g;
const UNKNOWN_SYNTAX = /@diagnostic\([^)]*\)|(?<=\bsubgroupMatrix\w+)<\w+(?:, *\w+)?>/g;
const SCALARS = ["f32", "i32", "u32"] as const;
type Scalar = (typeof SCALARS)[number];

const fail = (name: string, what: string, argument: string, received: string): ArgumentError =>
  new ArgumentError(`${name}: expected ${what} for \`${argument}\`, but received ${received}`);

/**
 * Reads a WGSL module.
 *
 * The first lines may be directives `//#include "lib/grid.wgsl"`: each named piece is appended once after the text, so
 * that line numbers stay those of the file. What a piece enables (`enable subgroups;`) moves to the front of the first line.
 *
 * @param name `"<room>/<file>"`, for messages
 * @param source WGSL text. All bindings in group 0; a uniform must be called `params` and have the type `struct Params` made of
 * f32, i32, u32, 4-vectors of them and arrays of such vectors; a binding `status` must be `array<atomic<u32>, 2>`.
 * @param libs what `//#include` may name
 * @throws ArgumentError naming the file, and what was expected where
 * @example
 * ```ts
 * const shader = reflect(
 *   "mine/double",
 *   `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
 *    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] *= 2.0; }`,
 * );
 * shader.entries.main.bindings[0]; // => { name: "x", binding: 0, kind: "read_write", type: "array<f32>", least: 4 }
 * ```
 */
export const reflect = (name: string, source: string, libs: Readonly<Record<string, string>> = {}): Shader => {
  for (const [argument, text] of Object.entries({ name, source })) if (typeof text !== "string") throw expected("reflect", "text", argument, text);
  const full = join(name, source, checkObject("reflect", libs, "libs"));
  let module: Library.WgslReflect;
  let nodes: readonly Library.Node[];
  try {
    const ast = new WgslParser().parse(full.replace(UNKNOWN_TYPES, "f32").replace(UNKNOWN_SYNTAX, ""));
    nodes = ast;
    module = new WgslReflect();
    module.updateAST(ast);
  } catch (error) {
    throw new ArgumentError(`${name}: expected WGSL for \`source\`, but received text that does not parse: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const entries: Record<string, { bindings: ShaderBinding[] }> = {};
  for (const entry of module.entry.compute) entries[entry.name] = { bindings: bindings(`${name} (${entry.name})`, entry.resources) };
  if (Object.keys(entries).length === 0) throw fail(name, "at least one @compute entry point", "source", "none");
  const params = module.getStructInfo("Params");
  return {
    name,
    source: full,
    consts: constants(nodes),
    overrides: overrides(name, nodes, module),
    params: params ? layout(name, params) : undefined,
    entries,
  };
};

/** The text followed by every piece it asks for, directly or through another piece. */
const join = (name: string, source: string, libs: Readonly<Record<string, string>>): string => {
  const seen = new Set<string>();
  let full = source;
  const follow = (text: string, from: string): void => {
    for (const line of text.split("\n")) {
      const file = INCLUDE.exec(line.trimEnd())?.[1];
      if (file === undefined) {
        if (line.startsWith("//") && !line.includes("#include")) continue;
        if (line.trim() === "") continue;
        if (line.includes("#include")) throw fail(from, 'a line of the form //#include "lib/file.wgsl"', "#include", JSON.stringify(line.trim()));
        break;
      }
      if (seen.has(file)) continue;
      if (!Object.hasOwn(libs, file))
        throw fail(
          from,
          Object.keys(libs).length ? `one of ${Object.keys(libs).join(", ")}` : "no include (there are no pieces)",
          "#include",
          JSON.stringify(file),
        );
      seen.add(file);
      full += `${full.endsWith("\n") ? "" : "\n"}\n// ${file}\n${libs[file]}`;
      follow(libs[file], file);
    }
  };
  follow(source, name);
  const late = source.split("\n").find((line) => INCLUDE.test(line.trimEnd()) && !seen.has(INCLUDE.exec(line.trimEnd())?.[1] ?? ""));
  if (late !== undefined) throw fail(name, "includes before the first line of code", "#include", JSON.stringify(late.trim()));
  // Language extensions come before anything else, and on the first line they move no other.
  const enables = [...seen].flatMap((file) => libs[file].match(ENABLE) ?? []);
  return enables.length === 0
    ? full
    : `${[...new Set(enables)].join(" ")} ${full.slice(0, source.length)}${full.slice(source.length).replace(ENABLE, "")}`;
};

const bindings = (where: string, resources: readonly Library.VariableInfo[]): ShaderBinding[] => {
  const found = resources.map((resource): ShaderBinding => {
    const { name, group, binding } = resource;
    const type = resource.type as Library.TypeInfo & { readonly stride?: number };
    const facts = { type: type.getTypeName().replace(/, 0>$/, ">"), least: Math.max(type.size, type.stride ?? 0) };
    if (group !== 0) throw fail(where, "@group(0)", name, `@group(${group})`);
    // ResourceType is a const enum of the library: 0 is a uniform buffer, 1 a storage buffer.
    if (resource.resourceType === 0) {
      if (name !== "params" || type.name !== "Params") throw fail(where, "the one uniform to be `params: Params`", name, type.getTypeName());
      return { name, binding, kind: "uniform", ...facts };
    }
    if (resource.resourceType !== 1) throw fail(where, "a storage or uniform buffer", name, type.getTypeName());
    const access = resource.access === "" ? "read" : resource.access;
    if (access !== "read" && access !== "read_write") throw fail(where, "access read or read_write", name, access);
    if (name === "status" && (access !== "read_write" || !/^array<atomic<u32>,\s*2>$/.test(type.getTypeName()))) {
      throw fail(where, "var<storage, read_write> of type array<atomic<u32>, 2>", name, `${access} ${type.getTypeName()}`);
    }
    return { name, binding, kind: access, ...facts };
  });
  found.sort((a, b) => a.binding - b.binding);
  for (let i = 1; i < found.length; i++) {
    if (found[i].binding === found[i - 1].binding) throw fail(where, "a binding number of its own", found[i].name, `that of ${found[i - 1].name}`);
  }
  return found;
};

/** Module-scope integers, so that codes are read from the shader instead of repeated. */
const constants = (nodes: readonly Library.Node[]): Record<string, number> => {
  const found: Record<string, number> = {};
  for (const node of nodes) {
    if (node.astNodeType !== "const") continue;
    const { name, type, value } = node as Library.Const;
    const literal = value as Library.LiteralExpr;
    if ((type?.name === "u32" || type?.name === "i32") && literal.astNodeType === "literalExpr") found[name] = literal.scalarValue;
  }
  return found;
};

const overrides = (name: string, nodes: readonly Library.Node[], module: Library.WgslReflect): Record<string, number | undefined> => {
  const found: Record<string, number | undefined> = {};
  for (const node of nodes) {
    if (node.astNodeType !== "override") continue;
    const override = node as Library.Override;
    if (override.attributes?.some((attribute) => attribute.name === "id"))
      throw fail(name, "an override without @id, which hides its name", override.name, "one with @id");
    const value = override.value === null ? undefined : module._constValues.get(override.name);
    if (override.value !== null && value === undefined)
      throw fail(name, "a default made of literals and other overrides", override.name, "another expression");
    found[override.name] = value;
  }
  return found;
};

const layout = (name: string, struct: Library.StructInfo): ParamsLayout => {
  const fields: Record<string, ParamsLayout["fields"][string]> = {};
  for (const { name: field, type, offset } of struct.members) {
    const shown = type.getTypeName();
    const [, element, count] = /^(?:array<(.+?)(?:,\s*(\d+))?>|.*)$/.exec(shown) ?? [];
    const array = element !== undefined;
    const single = array ? element : shown;
    const scalar = SCALARS.find((candidate) => candidate === single);
    const vector = vectorElement(single);
    const kind = array ? vector : (scalar ?? vector);
    if (!kind || (array && count === undefined)) {
      throw fail(name, "f32, i32, u32, vec4 of these, or a sized array of such vec4", `Params.${field}`, shown);
    }
    fields[field] = { offset, type: kind, count: scalar && !array ? 1 : 4 * Number(count ?? 1), stride: 4 };
  }
  return { size: struct.size, fields };
};

const vectorElement = (type: string): Scalar | undefined => {
  const match = /^vec4(?:<(f32|i32|u32)>|([fiu]))$/.exec(type);
  return SCALARS.find((scalar) => scalar === match?.[1] || scalar[0] === match?.[2]);
};
