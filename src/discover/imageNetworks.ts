/** Networks for images as configurations describe them. */
import { dihedralGroup, flipGroup, type Permutation, type PermutationSet, rotationGroup } from "../data/permutations.ts";
import { plantedSet } from "../data/transforms.ts";
import type { Device } from "../device.ts";
import { expected } from "../errors.ts";
import type { SymmetricNetwork, Symmetry } from "../nn/convolutions.ts";
import { ExpandedConv } from "../nn/expanded.ts";
import { shiftTwist } from "../nn/group.ts";
import { initializer } from "../nn/init.ts";
import { DigitNetwork } from "../nn/networks.ts";
import { ResidualNetwork } from "../nn/residual.ts";
import { mean } from "../ops/reduce/index.ts";
import { type ImageSettings, type KERNEL_GROUPS, matrixOptions, type NetworkSettings } from "./configuration.ts";
import type { Contender, LearnedLayer } from "./experiment.ts";
import { type ImageData, TURNS } from "./imageData.ts";

const WHERE = "birkhoff discover";

const GROUPS: Readonly<Record<(typeof KERNEL_GROUPS)[number], (k: number) => PermutationSet>> = {
  rot90: rotationGroup,
  flip: flipGroup,
  dihedral: dihedralGroup,
};

/** What an architecture has where the configuration does not say. */
const DEFAULTS = {
  convolutional: { kernelSize: 5, layers: 3, hidden: 0 },
  residual: { kernelSize: 7, layers: 2, hidden: 256 },
} as const;

/** The group axis of a layer's input comes in the order in which the layer before matched the planted elements. */
const reorder = (planted: readonly Permutation[], matched: readonly (number | undefined)[], pixels: number): readonly Permutation[] => {
  const g = planted.length;
  if (matched.length !== g || matched.includes(undefined)) return planted;
  const order = matched as readonly number[];
  return planted.map((element) =>
    Int32Array.from({ length: g * pixels }, (_, at) => {
      const source = element[order[Math.floor(at / pixels)] * pixels + (at % pixels)];
      return order.indexOf(Math.floor(source / pixels)) * pixels + (source % pixels);
    }),
  );
};

/** What the matrices of each convolution are held against. */
const described = (network: SymmetricNetwork, kernelSize: number, elements: number, known: PermutationSet | undefined): LearnedLayer[] => {
  const pixels = kernelSize ** 2;
  return network.convolutions
    .filter((convolution) => convolution instanceof ExpandedConv)
    .map((convolution, i) => ({
      name: i === 0 ? "lifting" : `group convolution ${i}`,
      layer: { stack: () => convolution.action() },
      d: i === 0 ? pixels : elements * pixels,
      layout: i === 0 ? [kernelSize, kernelSize] : [elements * kernelSize, kernelSize],
      indexed: false,
      planted: (matched) => known && (i === 0 ? known : { ...known, elements: reorder(shiftTwist(known.elements), matched, pixels) }),
      // Colours turn alike: their mean is what the kernel does to grey images.
      ...(i === 0 && { kernels: () => mean(convolution.expandedKernel(), 1) }),
    }));
};

/** A network for these images with the initial values of the seed. */
export const imageContender = (
  device: Device,
  seed: number,
  { transform, target }: ImageSettings,
  { channels, classes: own }: Pick<ImageData, "channels" | "classes">,
  settings: NetworkSettings,
): Contender => {
  const { name, kind, architecture = "convolutional", factorised = false, shared = false, dropout } = settings;
  const usual = DEFAULTS[architecture];
  const { kernelSize = usual.kernelSize, layers = usual.layers, pool = 2, width = 16, hidden = usual.hidden } = settings;
  const turned = target === "classAndTurn";
  const classes = turned ? TURNS * own : own;
  const set = settings.group ? GROUPS[settings.group](kernelSize) : plantedSet(transform, kernelSize);
  const elements = settings.elements ?? set?.elements.length ?? 4;
  const equivariant = turned && kind !== "plain";
  if (equivariant && elements !== TURNS) throw expected(WHERE, `${TURNS}, one of each turn,`, "networks.elements", elements);
  if (equivariant && architecture === "residual")
    throw expected(WHERE, '"convolutional" where turns are to be told', "networks.architecture", architecture);
  if (dropout !== undefined && architecture !== "residual") throw expected(WHERE, "it in residual networks alone", "networks.dropout", dropout);

  const network = (symmetry: Symmetry, wide: number = width): SymmetricNetwork => {
    const init = initializer(device, seed);
    const common = { ...matrixOptions(settings), width: wide, kernelSize, pool, hidden, inChannels: channels };
    if (architecture === "residual")
      return new ResidualNetwork(init, symmetry, { ...common, classes, blocks: layers, ...(dropout !== undefined && { dropout }) });
    return new DigitNetwork(init, symmetry, { ...common, layers, ...(equivariant ? { classes: own, head: "equivariant" } : { classes }) });
  };
  const unshared = (made: SymmetricNetwork): Contender => ({ name, kind, network: made, head: made.head, layers: [], stacks: [] });
  if (kind === "plain") {
    // As many parameters as the group network has without its matrices: g·width² = (√g·width)².
    const wide = settings.width ?? Math.max(1, Math.round(width * Math.sqrt(elements)));
    return unshared(network({ kind: "none" }, wide));
  }
  if (kind === "fixed") {
    if (!set) throw expected(WHERE, `a group, which ${transform} does not plant,`, "networks.group", settings.group);
    return unshared(network({ kind: "fixed", group: set.elements }));
  }
  const learned = network({ kind: "learned", elements, factorised, shared });
  const known = set?.elements.length === elements ? set : undefined;
  return {
    name,
    kind,
    network: learned,
    head: learned.head,
    layers: described(learned, kernelSize, elements, known),
    stacks: learned.learnedStacks(),
  };
};
