/** What an experiment is: data, networks, training and seeds, as one JSON file says it and command-line options override it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { IMAGE_FORMATS, type ImageFormat } from "../data/generatedImages.ts";
import { PLANTED_NAMES } from "../data/planted.ts";
import { TRANSFORM_KINDS } from "../data/transforms.ts";
import { ArgumentError, describe, FileError } from "../errors.ts";
import type { MatrixOptions } from "../nn/matrices.ts";
import type { MatrixStart } from "../nn/start.ts";

const count = z.int().min(1);
const amount = z.number().min(0);
const share = z.number().min(0).max(1);
const seed = z
  .int()
  .min(0)
  .max(2 ** 32 - 1);

const generated = z.strictObject({
  kind: z.literal("generated"),
  /** Planted symmetry. */
  symmetry: z.enum(PLANTED_NAMES).default("cyclic"),
  /** Length of signals, side of images. Default: 8, of images 5. */
  size: z.int().min(2).optional(),
  /** Kernels of the teacher. Default: twice the length of a signal. */
  prototypes: count.optional(),
  /** Standard deviation on the teacher's answers. */
  noise: amount.default(0.1),
});

const images = z.strictObject({
  kind: z.literal("images"),
  /** Relative to where the command runs. */
  folder: z.string().min(1),
  /** Of its files. Default: what the folder holds; of generated images idx. */
  format: z.enum(Object.keys(IMAGE_FORMATS) as ImageFormat[]).optional(),
  /** Random images in the sizes of the format's well-known data set, in place of those of the folder. */
  generated: z.boolean().optional(),
  transform: z.enum(TRANSFORM_KINDS).default("rot90"),
  /** Largest angle of partial rotations in degrees. */
  maximum: z.number().min(0).max(360).optional(),
  /** Default: all that are not held out. */
  train: count.optional(),
  /** "test": those of the data set's own test files. Default: a fifth, at most 2000. */
  heldOut: z.union([count, z.literal("test")]).optional(),
  /** Images are averaged down to this side. Default: as they are. */
  side: count.optional(),
  /** Training images are transformed anew whenever they are seen, as in the paper. Default: once. */
  redraw: z.boolean().optional(),
  /** What is to be told of an image; with rot90 alone "classAndTurn", its class and by how many quarters it was turned. Default: its class. */
  target: z.enum(["class", "classAndTurn"]).optional(),
});

/** Groups on k × k pixels that a fixed network can be given, and that learned matrices can be compared with. */
export const KERNEL_GROUPS = ["rot90", "flip", "dihedral"] as const;

const architecture = {
  /** Group elements, the identity included. Default: as many as are planted, else 4. */
  elements: z.int().min(2).optional(),
  /** Default: what the data plant. */
  group: z.enum(KERNEL_GROUPS).optional(),
  /** Sinkhorn iterations. Default 20. */
  iterations: count.optional(),
  /** What learned matrices are, and where they start: as in `MatrixOptions`. Default doublyStochastic, uniform. */
  constraint: z.enum(["doublyStochastic", "rowStochastic", "none"]).optional(),
  start: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("uniform") }),
      z.strictObject({ kind: z.literal("identity"), sharpness: share.optional() }),
      z.strictObject({ kind: z.literal("permutations"), sharpness: share.optional() }),
    ])
    .optional(),
  frozen: z.boolean().optional(),
  /** Of learned networks for images: as in `Symmetry`. */
  factorised: z.boolean().optional(),
  shared: z.enum(["learned", "tied"]).optional(),
  /** Of images: "convolutional" (default), `DigitNetwork`, or "residual", `ResidualNetwork`. */
  architecture: z.enum(["convolutional", "residual"]).optional(),
  /** Of images: channels per layer (default 16; of plain networks as many as give the same number of parameters), of residual networks in the first block. */
  width: count.optional(),
  /** Side of kernels (5; residual 7), convolutions (3) or residual blocks (2), side of pooling windows (2). */
  kernelSize: count.optional(),
  layers: count.optional(),
  pool: count.optional(),
  /** Units of a ReLU layer of each element before they are pooled (0, none); of residual networks of the layer behind pooling (256). */
  hidden: z.int().min(0).optional(),
  /** Of residual networks: probability with which one of these is 0 in training (0.3). */
  dropout: z.number().min(0).lt(1).optional(),
};

/** What training does without unless told. */
const further = {
  /** Of the linear map behind the pooling of images; default learningRate. */
  headLearningRate: amount.optional(),
  closure: amount.optional(),
  identity: amount.optional(),
  sharpness: amount.optional(),
  overlap: amount.optional(),
  /** Of the matrices: falls, or rises, by the same factor in every step behind the warm-up. */
  temperature: z.strictObject({ from: z.number().positive(), to: z.number().positive() }).optional(),
};

const training = z.strictObject({
  /** Steps, or passes over the images (hundreds of generated batches). */
  steps: count.optional(),
  epochs: count.optional(),
  batchSize: count.optional(),
  learningRate: amount.optional(),
  /** Of the matrices' logits. */
  matrixLearningRate: amount.optional(),
  /** Steps at the start in which the matrices rest. */
  warmup: z.int().min(0).optional(),
  weightDecay: amount.optional(),
  /** Weights of regularisers. */
  norm: amount.optional(),
  entropy: amount.optional(),
  ...further,
  /** Share of the steps at the end over which learning rates fall to zero. */
  decay: share.optional(),
});

export const NETWORK_KINDS = ["learned", "plain", "fixed"] as const;

const network = z.strictObject({
  /** In tables; default the kind. */
  name: z
    .string()
    .regex(/^[^\n]{1,60}$/, "1 to 60 characters")
    .optional(),
  kind: z.enum(NETWORK_KINDS),
  ...architecture,
  /** What differs from the experiment's training. */
  training: training.optional(),
});

const schema = z.strictObject({
  /** Of the results' file. */
  name: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,60}$/, "small letters, digits, dots and hyphens"),
  /** For people. */
  about: z.string().optional(),
  data: z.discriminatedUnion("kind", [generated, images]),
  /** What all networks have in common. */
  network: z.strictObject(architecture).optional(),
  networks: z.array(network).min(1),
  training: training.optional(),
  seeds: z.union([
    z
      .array(seed)
      .min(1)
      .refine((list) => new Set(list).size === list.length, "each seed once"),
    z.strictObject({ from: seed, count }),
  ]),
});

/** As it stands in a file. */
export type Configuration = z.infer<typeof schema>;
export type DataSettings = Configuration["data"];
export type GeneratedSettings = z.infer<typeof generated>;
export type ImageSettings = z.infer<typeof images>;
export type NetworkKind = (typeof NETWORK_KINDS)[number];
type TrainingOptions = z.infer<typeof training>;
/** JSON has no undefined: what is there has a value. */
type Filled<T> = { readonly [K in keyof T]-?: Exclude<T[K], undefined> };

/** One network with all that it has in common with the others filled in. */
export interface NetworkSettings extends Omit<z.infer<typeof network>, "name" | "training"> {
  readonly name: string;
}

export type TrainSettings = Filled<Omit<TrainingOptions, keyof typeof further>> & Pick<TrainingOptions, keyof typeof further>;
/** Steps and warm-up are those of the data's epochs where they are left open. */
export type TrainingSettings = Omit<TrainSettings, "steps" | "warmup"> & Partial<Pick<TrainSettings, "steps" | "warmup">>;

/** Of a network with learned matrices, for its layers. */
export const matrixOptions = ({ constraint, start, frozen, iterations = 20 }: NetworkSettings): MatrixOptions => ({
  iterations,
  ...(constraint && { constraint }),
  ...(frozen && { frozen }),
  ...(start && { start: start as MatrixStart }),
});

/** One network on one seed. */
export interface Run {
  readonly data: DataSettings;
  readonly network: NetworkSettings;
  readonly training: TrainingSettings;
  readonly seed: number;
  /** Of all that decides about the outcome, the seed and the place of files left out. */
  readonly settings: string;
}

const TRAINING: Readonly<Record<DataSettings["kind"], TrainingSettings>> = {
  generated: {
    epochs: 20,
    warmup: 300,
    batchSize: 64,
    learningRate: 0.01,
    matrixLearningRate: 0.1,
    weightDecay: 1e-4,
    norm: 1e-4,
    entropy: 0,
    decay: 0.5,
  },
  images: { epochs: 24, batchSize: 32, learningRate: 0.02, matrixLearningRate: 0.2, weightDecay: 1e-4, norm: 0.01, entropy: 0, decay: 0.5 },
};

/** What a field with several forms takes, by its last name. */
const UNIONS: Readonly<Record<string, string>> = {
  seeds: "an array of integers, or { from, count },",
  heldOut: 'an integer of at least 1, or "test",',
};

/** Of what is told apart by its kind. */
const KINDS = { data: "generated, images", start: "uniform, identity, permutations" } as const;

/** What zod says of one field, in the library's words. */
const wanted = (issue: z.core.$ZodIssue): string => {
  switch (issue.code) {
    case "invalid_type":
      return (
        { int: "an integer", number: "a number", string: "text", array: "an array", object: "an object" }[issue.expected as string] ?? issue.expected
      );
    case "too_small":
      if (!issue.inclusive) return `a number above ${issue.minimum}`;
      return issue.origin === "number" || issue.origin === "int" ? `a number of at least ${issue.minimum}` : `at least ${issue.minimum} of them`;
    case "too_big":
      return issue.inclusive ? `a number of at most ${issue.maximum}` : `a number below ${issue.maximum}`;
    case "invalid_value":
      return issue.values.length === 1 ? describe(issue.values[0]) : `one of ${issue.values.join(", ")}`;
    case "unrecognized_keys":
      return `no field ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`;
    case "invalid_union":
      return "discriminator" in issue && issue.discriminator !== undefined
        ? `one of ${KINDS[issue.path[0] === "data" ? "data" : "start"]}`
        : UNIONS[String(issue.path[issue.path.length - 1])];
    default:
      return issue.message;
  }
};

const at = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], value);

/** The deepest issue: of a union, that of the alternative which the value comes nearest to. */
const deepest = (issue: z.core.$ZodIssue): z.core.$ZodIssue => {
  if (issue.code !== "invalid_union") return issue;
  const inner = issue.errors.flatMap(([first]) =>
    first && (first.path.length > 0 || first.code === "custom" || first.code === "unrecognized_keys") ? [first] : [],
  );
  return inner.length === 1 ? { ...deepest(inner[0]), path: [...issue.path, ...inner[0].path] } : issue;
};

/**
 * A configuration out of a value, as `JSON.parse` gives it.
 *
 * @param where what the value is called in errors, for instance its file
 * @throws ArgumentError that names the field, what was expected there, and what came.
 */
export const checkConfiguration = (value: unknown, where: string): Configuration => {
  const result = schema.safeParse(value);
  if (result.success) {
    const names = result.data.networks.map(({ name, kind }) => name ?? kind);
    const twice = names.find((name, i) => names.indexOf(name) < i);
    if (twice !== undefined)
      throw new ArgumentError(`${where}: expected another name for each of \`networks\`, but received ${describe(twice)} twice`);
    return result.data;
  }
  const issue = deepest(result.error.issues[0]);
  const field = issue.path.reduce<string>(
    (path, key) => (typeof key === "number" ? `${path}[${key}]` : path === "" ? String(key) : `${path}.${String(key)}`),
    "",
  );
  const came = issue.code === "unrecognized_keys" ? "it" : at(value, issue.path) === undefined ? "nothing" : describe(at(value, issue.path));
  throw new ArgumentError(`${where}: expected ${wanted(issue)} for \`${field || "configuration"}\`, but received ${came}`);
};

/**
 * A configuration file.
 *
 * @throws FileError for a file that cannot be read or is no JSON; ArgumentError as `checkConfiguration`.
 */
export const readConfiguration = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new FileError(
      `birkhoff discover: expected a JSON file for \`--config\`, but received ${JSON.stringify(path)} (${(error as Error).message})`,
      { cause: error },
    );
  }
};

/** The same text for equal values, whatever the order of their keys. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );

const hashOf = ({ data, network: { name: _, ...network }, training }: Omit<Run, "seed" | "settings">): string => {
  const { folder: __, ...rest } = data as ImageSettings;
  return createHash("sha256")
    .update(canonical({ data: rest, network, training }))
    .digest("hex")
    .slice(0, 12);
};

/** All pairs of network and seed, seed by seed. */
export const runsOf = ({ data, network: common, networks, training: shared, seeds }: Configuration): Run[] => {
  const list = Array.isArray(seeds) ? seeds : Array.from({ length: seeds.count }, (_, i) => seeds.from + i);
  return list.flatMap((seed) =>
    networks.map(({ training: own, ...entry }) => {
      const network = { ...common, ...entry, name: entry.name ?? entry.kind };
      const training = { ...TRAINING[data.kind], ...shared, ...own } as TrainingSettings;
      return { data, network, training, seed, settings: hashOf({ data, network, training }) };
    }),
  );
};
