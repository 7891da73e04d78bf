/** Sentence embeddings by `@huggingface/transformers`, which is loaded only when it is asked for. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { DataError, type HostMatrix } from "birkhoff";

const PACKAGE = "@huggingface/transformers";

/** What is used of the library. */
export interface Transformers {
  readonly env: { localModelPath: string; allowRemoteModels: boolean; allowLocalModels: boolean };
  pipeline(task: "feature-extraction", model: string, options: { readonly dtype: string }): Promise<Extractor>;
}

interface Extractor {
  (texts: string[], options: { readonly pooling: "mean" | "cls"; readonly normalize: boolean }): Promise<Embedded>;
  dispose?(): Promise<unknown>;
}

interface Embedded {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
  dispose?(): void;
}

export interface EmbedOptions {
  readonly dtype?: string;
  readonly pooling?: "mean" | "cls";
  /** Texts per call. Default 32. */
  readonly batchSize?: number;
  readonly onBatch?: (done: number, of: number) => void;
}

/**
 * The library, as installed where the command runs, or beside this file.
 *
 * @param models folder with models; nothing is downloaded when it is given
 */
export const loadTransformers = async (models?: string): Promise<Transformers> => {
  let path: string | undefined;
  for (const from of [join(process.cwd(), "package.json"), import.meta.url]) {
    try {
      path ??= createRequire(from).resolve(PACKAGE);
    } catch {
      // Not there: the next place, or the message below.
    }
  }
  if (path === undefined) throw new Error(`${PACKAGE} is not installed here: run \`npm install ${PACKAGE}\``);
  const loaded = (await import(pathToFileURL(path).href)) as Partial<Transformers> & { readonly default?: Partial<Transformers> };
  const { pipeline, env } = { ...loaded.default, ...loaded };
  if (!pipeline || !env) throw new Error(`${PACKAGE} was found at ${path}, but it exports no pipeline and env`);
  if (models !== undefined) {
    env.localModelPath = models;
    env.allowLocalModels = true;
    env.allowRemoteModels = false;
  }
  return { pipeline, env };
};

/** One embedding per text, not normalised: [n, d]. Frees the model afterwards. */
export const embed = async ({ pipeline }: Transformers, model: string, texts: readonly string[], options: EmbedOptions = {}): Promise<HostMatrix> => {
  const { dtype = "fp32", pooling = "mean", batchSize = 32, onBatch } = options;
  const extractor = await pipeline("feature-extraction", model, { dtype });
  try {
    let data: Float32Array | undefined;
    let d = 0;
    for (let start = 0; start < texts.length; start += batchSize) {
      const batch = texts.slice(start, start + batchSize);
      const output = await extractor(batch, { pooling, normalize: false });
      const [rows, columns] = output.dims;
      d ||= columns;
      if (output.dims.length !== 2 || rows !== batch.length || columns !== d || output.data.length !== rows * columns)
        throw new DataError(`embed: expected [${batch.length}, ${d || "d"}] from ${model}, but received [${output.dims.join(", ")}]`);
      data ??= new Float32Array(texts.length * d);
      data.set(output.data, start * d);
      output.dispose?.();
      onBatch?.(start + batch.length, texts.length);
    }
    return { shape: [texts.length, d], data: data ?? new Float32Array(0) };
  } finally {
    await extractor.dispose?.();
  }
};
