/**
 * Finds the examples of doc comments and Markdown files, and turns each into a function that can be run.
 *
 * An example stands behind `@example`, in a ```ts fence or on the rest of that line; in Markdown every ```ts fence is one.
 * It may use `device` and everything that `birkhoff` exports without importing it. Two comments at the end of a line that
 * holds one expression are checked:
 *
 *     y.shape; // => [2, 3]                     equal, and numbers to the digits that are written
 *     reshape(y, [4]); // throws ArgumentError  an error of that class
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

export interface Example {
  /** What it documents, and where it stands. */
  readonly title: string;
  /** Path from the root. */
  readonly file: string;
  readonly code: string;
}

/** An export of an entry point, followed to its declaration. */
export interface Documented {
  readonly name: string;
  readonly file: string;
  readonly keyword: string;
  /** Text of the doc comment; undefined without one. */
  readonly doc: string | undefined;
}

/** Entry points of the package and their sources. */
export const ENTRIES: Readonly<Record<string, string>> = {
  birkhoff: "src/index.ts",
  "birkhoff/files": "src/files.ts",
  "birkhoff/symmetry": "src/symmetry/index.ts",
  "birkhoff/testing": "src/testing/index.ts",
};

const DECLARATION = /^(?:export )?(?:abstract |async )?(const|function\*?|class|interface|type) (\w+)/;
const MEMBER = /^\s+(?:readonly |static |get |set |async )*#?(\w+)/;

const textOf = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const withoutStars = (comment: string): string => comment.replace(/^\s*\* ?/gm, "");
const lineAt = (text: string, offset: number): number => text.slice(0, offset).split("\n").length;

const fences = (text: string): { readonly code: string; readonly offset: number }[] =>
  [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => ({ code: match[1], offset: match.index }));

/** Fenced blocks of a doc comment, and text that stands on the line of `@example`. */
const examplesIn = (doc: string): string[] => {
  const parts = doc.split(/^@example\b/m).slice(1);
  return parts.flatMap((part) => {
    const [line] = part.split("\n");
    return line.trim() === "" ? fences(part).map(({ code }) => code) : [line.trim()];
  });
};

/** Examples of every doc comment in a source file. */
export const sourceExamples = (file: string): Example[] => {
  const text = textOf(file);
  let owner = "";
  return [...text.matchAll(/\/\*\*([\s\S]*?)\*\/\n?([^\n]*)/g)].flatMap((match) => {
    const declared = DECLARATION.exec(match[2]);
    if (declared) owner = declared[2];
    const name = declared ? owner : `${owner}.${MEMBER.exec(match[2])?.[1] ?? "?"}`;
    const line = lineAt(text, match.index);
    return examplesIn(withoutStars(match[1])).map((code) => ({ title: `${name} (${file}:${line})`, file, code }));
  });
};

/** The ```ts blocks of a Markdown file. */
export const markdownExamples = (file: string): Example[] => {
  const text = textOf(file);
  return fences(text).map(({ code, offset }) => ({ title: `${file}:${lineAt(text, offset)}`, file, code }));
};

/** Paths from the root of the files below a folder whose name ends like this. */
export const filesBelow = (folder: string, end: string): string[] =>
  readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(end))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort();

/** README.md of the package and of every room, as far as they exist. */
export const readmes = (): string[] =>
  ["README.md", ...filesBelow("docs", ".md"), ...filesBelow("src/ops", "README.md"), "src/symmetry/README.md"].filter((file) =>
    existsSync(join(ROOT, file)),
  );

/** Everything that a module exports, types too. */
export const exportsOf = (file: string): Documented[] => {
  const text = textOf(file);
  const target = (specifier: string): string => join(dirname(file), specifier);
  const starred = [...text.matchAll(/^export \* from "(.+)";/gm)].flatMap(([, specifier]) => exportsOf(target(specifier)));
  const named = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from "(.+)";/gm)].flatMap(([, names, specifier]) => {
    const wanted = names.split(",").flatMap((name) => name.trim().replace(/^type /, "") || []);
    const found = exportsOf(target(specifier));
    return wanted.map((name) => {
      const known = found.find((entry) => entry.name === name);
      if (!known) throw new Error(`${file}: cannot find where ${specifier} declares ${name}`);
      return known;
    });
  });
  const own = [...text.matchAll(/^export (?:abstract |async )?(const|function\*?|class|interface|type) (\w+)/gm)].map((match) => {
    const before = text.slice(0, match.index).trimEnd();
    const start = before.endsWith("*/") ? before.lastIndexOf("/**") : -1;
    return { name: match[2], file, keyword: match[1], doc: start < 0 ? undefined : withoutStars(before.slice(start + 3, -2)).trim() };
  });
  return [...named, ...starred, ...own];
};

export const hasExample = ({ doc }: Documented): boolean => doc !== undefined && examplesIn(doc).length > 0;

/** An example without its imports, and the names that it imports from the package. */
const splitImports = (code: string): { readonly body: string; readonly imports: ReadonlyMap<string, readonly string[]> } => {
  const imports = new Map<string, readonly string[]>();
  const body = code.replace(/^import (?:type )?\{([^}]*)\} from "(birkhoff(?:\/\w+)?)";\n/gm, (_, names: string, from: string) => {
    imports.set(
      from,
      names
        .split(",")
        .map((name) => name.trim())
        .filter((name) => name !== "" && !name.startsWith("type ")),
    );
    return "";
  });
  return { body, imports };
};

/** Rewrites the two checked comments into calls. */
const withChecks = (body: string): string =>
  body.replace(/^(\s*)(\S.*?);?\s*\/\/ (=>|throws) (.+)$/gm, (_, indent: string, statement: string, kind: string, claim: string) => {
    const expression = /^console\.log\((.*)\)$/.exec(statement)?.[1] ?? statement;
    return kind === "=>"
      ? `${indent}await $check((${expression}), (${claim}), ${JSON.stringify(claim)});`
      : `${indent}await $throws(async () => (${expression}), ${JSON.stringify(claim)});`;
  });

/** JavaScript of a function body that runs the example; `available` holds what each entry point exports. */
export const compile = async ({ code, title }: Example, available: Readonly<Record<string, object>>): Promise<string> => {
  const { body, imports } = splitImports(code);
  for (const [from, names] of imports) {
    for (const name of names) if (!(name in available[from])) throw new Error(`${title}: ${from} does not export ${name}`);
  }
  // A function made from text has no loader of its own.
  const loaded = withChecks(body).replace(/\bimport\(/g, "$import(");
  const { code: script } = await transform(`const $example = async () => {\n${loaded}\n};`, { loader: "ts", target: "es2022" });
  return `${script}\nreturn $example();`;
};

/** What an example may use of a module without importing it. */
export interface Available {
  readonly file: string;
  readonly values: readonly string[];
}

/** A module of TypeScript with the example in it, to be type-checked. `root` is how it reaches the root of the package; the nearest of `modules` comes first. */
export const typedModule = ({ code }: Example, root: string, modules: readonly Available[]): string => {
  const { body, imports } = splitImports(code);
  const words = new Set(body.match(/[\w$]+/g));
  const known = new Set([...imports.values()].flat());
  const lines = modules.map(({ file, values }) => {
    const used = [...new Set([...values, ...exportsOf(file).map(({ name }) => name)])].filter((name) => words.has(name) && !known.has(name));
    for (const name of used) known.add(name);
    return `import { ${used.map((name) => (values.includes(name) ? name : `type ${name}`)).join(", ")} } from "${root}/${file}";`;
  });
  for (const [from, names] of imports) lines.push(`import { ${names.join(", ")} } from "${root}/${ENTRIES[from]}";`);
  return [
    ...lines,
    `import type { Device as $Device } from "${root}/src/index.ts";`,
    "declare const device: $Device;",
    `export const example = async (): Promise<void> => {\n${body}\n};`,
    "void device;",
  ].join("\n");
};
