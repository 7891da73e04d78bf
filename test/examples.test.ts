/** Every example of the documentation runs, says what is true, and type-checks; every public function has one. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import * as files from "../src/files.ts";
import * as birkhoff from "../src/index.ts";
import * as symmetry from "../src/symmetry/index.ts";
import * as testing from "../src/testing/index.ts";
import {
  compile,
  ENTRIES,
  type Example,
  exportsOf,
  filesBelow,
  hasExample,
  markdownExamples,
  ROOT,
  readmes,
  sourceExamples,
  typedModule,
} from "./support/examples.ts";

const sources = filesBelow("src", ".ts").filter((file) => !file.startsWith("src/generated/"));
const examples = [...sources.flatMap(sourceExamples), ...readmes().flatMap(markdownExamples)];
const publicNames = exportsOf("src/index.ts");

/** Fewer than this would mean that the search is broken. */
const LEAST_EXAMPLES = 100;

const isFunction = (value: unknown): boolean => typeof value === "function";

const plain = (value: unknown): unknown => {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return Array.from(value as unknown as ArrayLike<number>);
  return Array.isArray(value) ? value.map(plain) : value;
};

/** Numbers agree to half a unit of the last digit that the example writes anywhere. */
const agrees = (got: unknown, want: unknown, digits: number): boolean => {
  if (typeof got === "number" && typeof want === "number") {
    return Object.is(got, want) || got === want || Math.abs(got - want) <= 0.5000001 * 10 ** -digits;
  }
  if (Array.isArray(got) && Array.isArray(want)) return got.length === want.length && got.every((entry, i) => agrees(entry, want[i], digits));
  return Object.is(got, want);
};

const $check = async (value: unknown, want: unknown, claim: string): Promise<void> => {
  const got = plain(await value);
  const digits = Math.max(0, ...[...claim.matchAll(/\.(\d+)/g)].map(([, decimals]) => decimals.length));
  if (typeof want === "object" && want !== null && !Array.isArray(want)) expect(got).toEqual(want);
  else expect(agrees(got, want, digits > 0 ? digits : 6), `expected ${claim}, but received ${JSON.stringify(got)}`).toBe(true);
};

const $throws = async (run: () => Promise<unknown>, name: string): Promise<void> => {
  const error = await run().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error instanceof Error ? error.name : `nothing (${name} expected)`).toBe(name);
};

const $import = (name: string): Promise<object> => import(name);

/** The example's own module, so that what is not public can be shown too, and the package. */
const modulesOf = async ({ file }: Example): Promise<{ file: string; exports: object }[]> => [
  ...(file.endsWith(".ts") ? [{ file, exports: (await import(pathToFileURL(join(ROOT, file)).href)) as object }] : []),
  { file: ENTRIES.birkhoff, exports: birkhoff },
  { file: ENTRIES["birkhoff/files"], exports: files },
  { file: ENTRIES["birkhoff/symmetry"], exports: symmetry },
  { file: ENTRIES["birkhoff/testing"], exports: testing },
];

const run = async (example: Example): Promise<void> => {
  const modules = (await modulesOf(example)).map(({ exports }) => exports).reverse();
  await using device = await birkhoff.openDevice({ device: "reference" });
  const values = { ...Object.assign({}, ...modules), device, $check, $throws, $import, console: { log: () => undefined } };
  const body = await compile(example, { birkhoff, "birkhoff/symmetry": symmetry, "birkhoff/testing": testing });
  const call = new Function(...Object.keys(values), body) as (...args: readonly unknown[]) => Promise<void>;
  await call(...Object.values(values));
};

describe("examples run", () => {
  for (const example of examples) test(example.title, () => run(example));
});

describe("a false example fails", () => {
  const claims = [
    "1 + 1; // => 3",
    "await device.tensor([1, 2]).read(); // => [1, 2, 3]",
    "console.log(0.5); // => 0.51",
    "input(0); // => { input: 1 }",
    "device.ones([2]); // throws ArgumentError",
    "device.tensor([1], [2]); // throws StateError",
    'import { nothing } from "birkhoff";\nnothing();',
  ];
  test.each(claims)("%s", async (code) => {
    await expect(run({ title: "false", file: "README.md", code })).rejects.toThrow();
  });
});

describe("the documentation", () => {
  test("has a comment on everything public, and an example on every function and class", () => {
    const listed = new Set(publicNames.map(({ name }) => name));
    expect(
      Object.keys(birkhoff).filter((name) => !listed.has(name)),
      "exports that the search misses",
    ).toEqual([]);
    const functions = publicNames.filter(({ name, keyword }) => keyword === "class" || isFunction(Reflect.get(birkhoff, name)));
    expect(functions.length).toBeGreaterThan(80);
    expect.soft(examples.length).toBeGreaterThan(LEAST_EXAMPLES);
    const silent = [...publicNames, ...exportsOf("src/symmetry/index.ts"), ...exportsOf("src/testing/index.ts")].filter(
      ({ doc, keyword }) => !doc && keyword !== "interface" && keyword !== "type",
    );
    expect.soft(silent.map(({ name, file }) => `${name} (${file})`)).toEqual([]);
    const without = functions.filter((entry) => !hasExample(entry));
    expect
      .soft(
        without.map(({ name, file }) => `${name} (${file})`),
        "without an example",
      )
      .toEqual([]);
  });

  test("has examples that type-check", async () => {
    mkdirSync(join(ROOT, "build"), { recursive: true });
    const folder = mkdtempSync(join(ROOT, "build/examples-"));
    try {
      const files = await Promise.all(
        examples.map(async (example, i) => {
          const modules = (await modulesOf(example)).map(({ file, exports }) => ({ file, values: Object.keys(exports) }));
          writeFileSync(join(folder, `${i}.ts`), `// ${example.title}\n${typedModule(example, "../..", modules)}`);
          return `${i}.ts`;
        }),
      );
      const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false };
      writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, files, include: [] }));
      const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
      const failure = await promisify(execFile)(process.execPath, [tsc, "-p", folder, "--pretty", "false"]).then(
        () => "",
        (error: { stdout?: string }) => `${error.stdout ?? error}`,
      );
      const titled = failure.replace(/^.*?(\d+)\.ts\((\d+),\d+\)/gm, (_, index: string) => examples[Number(index)]?.title ?? index);
      expect(titled).toBe("");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
