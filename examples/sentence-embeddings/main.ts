/** Two models, the same texts: embeds, writes NumPy files, compares. README.md lists the options. */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { BirkhoffError, encodeNpy, type HostMatrix } from "birkhoff";
import { compare } from "./compare.ts";
import { embed, loadTransformers } from "./embed.ts";
import { readTexts } from "./texts.ts";

const OPTIONS = {
  texts: { type: "string" },
  model: { type: "string", multiple: true },
  models: { type: "string" },
  dtype: { type: "string", default: "fp32" },
  pooling: { type: "string", default: "mean" },
  anchors: { type: "string" },
  seed: { type: "string", default: "0" },
  out: { type: "string", default: "embeddings" },
} as const;

class UsageError extends Error {}

const whole = (name: string, text: string): number => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new UsageError(`expected a whole number for --${name}, but received ${text}`);
  return value;
};

const main = async (): Promise<void> => {
  const { values } = parseArgs({ options: OPTIONS });
  const { texts: path, model: models = [], pooling, dtype, out } = values;
  if (path === undefined) throw new UsageError("expected a file for --texts");
  if (models.length !== 2) throw new UsageError(`expected --model twice, but received it ${models.length} times`);
  if (pooling !== "mean" && pooling !== "cls") throw new UsageError(`expected mean or cls for --pooling, but received ${pooling}`);
  const { labels, names, columns } = readTexts(path);
  const anchors = values.anchors === undefined ? Math.min(300, Math.ceil(labels.length / 4)) : whole("anchors", values.anchors);
  if (anchors < 2 || anchors > labels.length - 2)
    throw new UsageError(`expected 2 to ${labels.length - 2} for --anchors, so that texts are left to look at, but received ${anchors}`);
  const seed = whole("seed", values.seed);

  const transformers = await loadTransformers(values.models);
  mkdirSync(out, { recursive: true });
  const spaces: HostMatrix[] = [];
  for (const [i, model] of models.entries()) {
    const space = await embed(transformers, model, columns[i], {
      dtype,
      pooling,
      onBatch: (done, of) => process.stderr.write(`${model}: ${done} of ${of} texts\n`),
    });
    // Both models may be called the same in different folders.
    const file = join(out, `${i + 1}-${basename(model)}.npy`);
    writeFileSync(file, encodeNpy(space));
    console.log(`${file}: [${space.shape.join(", ")}]`);
    spaces.push(space);
  }
  writeFileSync(join(out, "labels.npy"), encodeNpy({ shape: [labels.length], data: labels }));
  writeFileSync(join(out, "labels.json"), `${JSON.stringify(names)}\n`);

  const { heldOut, cka, jaccard, own, translations } = compare(spaces[0], spaces[1], labels, anchors, seed);
  console.log(`${anchors} parallel anchors, ${heldOut} texts to look at`);
  console.log(`CKA ${cka.toFixed(3)}, neighbourhoods in common ${jaccard.toFixed(3)}`);
  console.log(`nearest class mean in ${models[1]}: accuracy ${own.toFixed(3)}`);
  for (const { method, mrr, accuracy } of translations)
    console.log(`${models[0]} translated by ${method}: accuracy ${accuracy.toFixed(3)}, mean reciprocal rank ${mrr.toFixed(3)}`);
};

try {
  await main();
} catch (error) {
  const known =
    error instanceof UsageError || error instanceof BirkhoffError || (error instanceof Error && error.message.includes("is not installed"));
  console.error(known || (error instanceof Error && "code" in error) ? (error as Error).message : error);
  process.exitCode = 1;
}
