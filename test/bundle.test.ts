/** The built package under Vite: what a page gets, and what it is spared. */
import { fileURLToPath } from "node:url";
import { build, type Rolldown } from "vite";
import { expect, test } from "vitest";
import * as conv from "../src/generated/conv.ts";
import * as sinkhorn from "../src/generated/sinkhorn.ts";
import type { Shader } from "../src/op.ts";

const ENTRY = "\0entry";

/** All code of a browser bundle of `source`. */
const bundle = async (source: string): Promise<string> => {
  const warnings: string[] = [];
  const result = (await build({
    configFile: false,
    logLevel: "silent",
    root: fileURLToPath(new URL("..", import.meta.url)),
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? ENTRY : undefined),
        load: (id) => (id === ENTRY ? source : undefined),
      },
    ],
    build: { write: false, rolldownOptions: { input: "entry", onwarn: ({ message }) => warnings.push(message) } },
  })) as Rolldown.RolldownOutput;
  expect(warnings).toEqual([]);
  return result.output.map((file) => (file.type === "chunk" ? file.code : "")).join("\n");
};

const entryPoints = (shaders: Readonly<Record<string, Shader>>): string[] => Object.values(shaders).flatMap(({ entries }) => Object.keys(entries));

test("a browser bundle of everything holds no code for Node", async () => {
  const code = await bundle('import * as birkhoff from "birkhoff"; import * as testing from "birkhoff/testing"; console.log(birkhoff, testing);');
  expect(code).toContain("navigator");
  expect(code).not.toMatch(/["'`]node:\w+|createRequire|dlopen|BIRKHOFF_ADDON|\.node["'`]/);
});

test("what a program does not use is shaken out", async () => {
  const code = await bundle('import { openDevice, sinkhorn } from "birkhoff"; console.log(openDevice, sinkhorn);');
  for (const entry of entryPoints(sinkhorn)) expect(code).toContain(`fn ${entry}(`);
  for (const entry of entryPoints(conv)) expect(code).not.toContain(`fn ${entry}(`);
  for (const unused of ["WgslParser", "zeroPersistence", "AdamW", "conv2d"]) expect(code).not.toContain(unused);
});

test("a page gets one shader and its layout alone", async () => {
  const code = await bundle(
    'import { affine } from "birkhoff/shaders/elementwise"; import text from "birkhoff/shaders/elementwise/affine.wgsl?raw"; console.log(affine.params, text);',
  );
  expect(code).toContain("y = scale · x + shift");
  expect(code.length).toBeLessThan(5000);
});
