/** The example of sentence embeddings as a user runs it, in a folder of its own with a small stand-in for the library that it loads. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { beforeEach, expect, test } from "vitest";
import { decodeNpy } from "../src/data/npy.ts";
import { temporaryFolder } from "./support/folder.ts";

const MAIN = fileURLToPath(new URL("../examples/sentence-embeddings/main.ts", import.meta.url));
const TSX = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

/** As `@huggingface/transformers` 4: `env`, `pipeline(task, model, { dtype })`, and what it gives; an embedding is the mean of its words' vectors. */
const LIBRARY = `
const { readFileSync } = require("node:fs");
exports.env = { localModelPath: "/models/", allowRemoteModels: true, allowLocalModels: false };
exports.pipeline = async (task, model, { dtype }) => {
  const { localModelPath, allowRemoteModels, allowLocalModels } = exports.env;
  if (task !== "feature-extraction" || dtype !== "fp32") throw new Error("another task or type");
  if (allowRemoteModels || !allowLocalModels) throw new Error("a test downloads nothing");
  const words = JSON.parse(readFileSync(localModelPath + "/" + model + "/words.json", "utf8"));
  const extractor = async (texts, { pooling, normalize }) => {
    if (pooling !== "mean" || normalize || texts.length > 32) throw new Error("other options");
    const rows = texts.map((text) => {
      const vectors = text.split(" ").map((word) => words[word]);
      return vectors[0].map((_, i) => vectors.reduce((sum, vector) => sum + vector[i], 0) / vectors.length);
    });
    return { dims: [rows.length, rows[0].length], data: Float32Array.from(rows.flat()), dispose() {} };
  };
  extractor.dispose = async () => {};
  return extractor;
};
`;

let folder = "";
beforeEach(() => {
  folder = temporaryFolder();
});

const put = (name: string, content: string): void => {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), content);
};
const install = (): void => {
  put("node_modules/@huggingface/transformers/package.json", JSON.stringify({ name: "@huggingface/transformers", main: "./index.cjs" }));
  put("node_modules/@huggingface/transformers/index.cjs", LIBRARY);
  const english = { a: [0, 0, 1, 0], film: [0, 0, 0, 1], good: [2, 0, 0, 0], great: [3, 0.5, 0, 0], bad: [-2, 0, 0, 0], awful: [-3, 0.5, 0, 0] };
  put("models/english/words.json", JSON.stringify(english));
  // The same meanings, turned, stretched and shifted.
  const turned = Object.values(english).map(([x, y, z, w]) => [5 - 2 * y, 5 + 2 * x, 5 + 2 * w, 5 - 2 * z]);
  const french = ["un", "film", "bon", "superbe", "mauvais", "affreux"].map((word, i) => [word, turned[i]]);
  put("models/french/words.json", JSON.stringify(Object.fromEntries(french)));
};
const adjectives = [
  ["good", "bon"],
  ["great", "superbe"],
  ["bad", "mauvais"],
  ["awful", "affreux"],
];
const texts = Array.from({ length: 40 }, (_, i) => {
  const [english, french] = adjectives[i % 4];
  const extra = i % 3;
  return `${i % 4 < 2 ? "liked" : "hated"}\t${english} film${" a".repeat(extra)}\t${french} film${" un".repeat(extra)}`;
}).join("\n");

const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, ["--import", TSX, MAIN, ...args], { cwd: folder, encoding: "utf8" });
const OPTIONS = ["--texts", "texts.tsv", "--models", "models", "--model", "english", "--model", "french"];

test("embeds, writes NumPy files, and finds that one space is the other turned", () => {
  install();
  put("texts.tsv", `${texts}\n`);
  const { status, stdout, stderr } = run(...OPTIONS, "--out", "out", "--anchors", "12");
  expect(stderr).toContain("english: 40 of 40 texts");
  expect(status).toBe(0);
  expect(stdout).toContain(`${join("out", "1-english.npy")}: [40, 4]`);
  expect(stdout).toContain("12 parallel anchors, 28 texts to look at");
  expect(stdout).toContain("CKA 1.000");
  expect(stdout).toMatch(/english translated by procrustes: accuracy 1\.000/);
  const read = (name: string) => decodeNpy(readFileSync(join(folder, "out", name)));
  expect(read("1-english.npy")).toEqual({ shape: [40, 4], data: expect.any(Float32Array) });
  expect(Array.from(read("1-english.npy").data.slice(0, 4), Number)).toEqual([1, 0, 0, 0.5]);
  expect(Array.from(read("1-english.npy").data.slice(12, 16), Number)).toEqual([-1.5, 0.25, 0, 0.5]);
  expect(Array.from(read("2-french.npy").data.slice(0, 4), Number)).toEqual([5, 7, 6, 5]);
  expect(Array.from(read("labels.npy").data.slice(0, 4), Number)).toEqual([1, 1, 0, 0]);
  expect(JSON.parse(readFileSync(join(folder, "out", "labels.json"), "utf8"))).toEqual(["hated", "liked"]);
});

test("says how to install the library that is missing", () => {
  put("texts.tsv", texts);
  const { status, stderr } = run(...OPTIONS);
  expect(status).toBe(1);
  expect(stderr.trim()).toBe("@huggingface/transformers is not installed here: run `npm install @huggingface/transformers`");
});

test.each<[string, string, readonly string[], RegExp]>([
  ["texts that are not there", "", [], /readTexts: expected a readable text file in "texts\.tsv".*ENOENT/],
  [
    "a line without a label",
    "liked\tgood film\nbad film\n",
    [],
    /expected label, tab, text.*in "texts\.tsv", but received "\\?"?bad film.* on line 2/,
  ],
  ["one text", "liked\tgood film\n", [], /expected at least two texts in "texts\.tsv", but received 1/],
  ["one model", texts, ["--texts", "texts.tsv", "--model", "english"], /expected --model twice, but received it 1 times/],
  ["no texts", texts, ["--model", "english", "--model", "french"], /expected a file for --texts/],
  ["too many anchors", texts, [...OPTIONS, "--anchors", "39"], /expected 2 to 38 for --anchors.*received 39/],
  ["anchors that are no number", texts, [...OPTIONS, "--anchors", "x"], /expected a whole number for --anchors, but received x/],
  ["pooling", texts, [...OPTIONS, "--pooling", "max"], /expected mean or cls for --pooling, but received max/],
  ["a misspelt option", texts, [...OPTIONS, "--anchor", "3"], /Unknown option '--anchor'/],
  ["a model that is not there", texts, [...OPTIONS.slice(0, -1), "german"], /ENOENT.*german/],
])("refuses %s", (_, content, args, message) => {
  install();
  if (content) put("texts.tsv", content);
  const { status, stderr } = run(...(args.length > 0 ? args : OPTIONS));
  expect(stderr).toMatch(message);
  expect(status).toBe(1);
});
