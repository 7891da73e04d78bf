/** Combinations of every option, by a covering array: all of them would be some hundred thousand. */
import type { Case } from "../../testing/cases.ts";
import { sized } from "./case.ts";
import { covering, pairs } from "./covering.ts";

/** Every combination of stride, dilation, groups, padding and kernel in threes, and of everything in pairs. */
const STRUCTURE = {
  stride: [1, 2, 3],
  dilation: [1, 2],
  groups: [1, 2, 0],
  padding: [[0, 0], "same", [1, 1], [2, 0], [0, 3]],
  kernel: [1, 2, 3, 4, 5, 6, 7],
} as const;
const REST = {
  result: ["y", "x", "w"],
  axes: [1, 2, 3],
  // None of batch 0: a combination that computes nothing would count as covered. Those are in cases.ts.
  batch: [1, 2],
  channels: [1, 2, 3, 4, 5],
  features: [1, 2, 4, 5],
  out: [1, 3, 5, 9],
  others: [
    { kernel: 1, stride: 1, dilation: 1 },
    { kernel: 2, stride: 1, dilation: 2 },
    { kernel: 3, stride: 2, dilation: 1 },
  ],
} as const;
const combine = (): Case[] => {
  const factors = [...Object.values(STRUCTURE), ...Object.values(REST)];
  const structure = Object.keys(STRUCTURE).length;
  const triples = pairs(structure).flatMap(([a, b]) => Array.from({ length: structure - b - 1 }, (_, c) => [a, b, b + 1 + c]));
  return covering(
    factors.map(({ length }) => length),
    [...triples, ...pairs(factors.length)],
  ).map((row) => {
    const [s, d, g, p, k, r, a, n, c, f, o, x] = row;
    const [axes, other] = [REST.axes[a], REST.others[x]];
    const list = (last: number, rest: number): number[] => [...new Array<number>(axes - 1).fill(rest), last];
    const kernel = list(STRUCTURE.kernel[k], other.kernel);
    const stride = list(STRUCTURE.stride[s], other.stride);
    const dilation = list(STRUCTURE.dilation[d], other.dilation);
    const kind = STRUCTURE.padding[p];
    const total = (axis: number): number => dilation[axis] * (kernel[axis] - 1);
    const padding = kernel.map((_, axis) => (kind === "same" ? [Math.floor(total(axis) / 2), Math.ceil(total(axis) / 2)] : kind));
    const out = list(REST.out[o], 2);
    // The smallest image that gives `out`, and some elements at its end that nothing reads.
    const size = out.map((count, axis) =>
      Math.max(1, (count - 1) * stride[axis] + 1 + total(axis) - padding[axis][0] - padding[axis][1] + (row[5] % stride[axis])),
    );
    const groups = STRUCTURE.groups[g] || REST.channels[c];
    const channels = STRUCTURE.groups[g] === 0 ? groups : groups * REST.channels[c];
    const name = `${axes}d ${REST.result[r]}: kernel ${kernel} stride ${stride} dilation ${dilation} padding ${padding.join(" ")} groups ${groups} batch ${REST.batch[n]} channels ${channels} features ${groups * REST.features[f]} size ${size}`;
    return sized(name, {
      result: REST.result[r],
      batch: REST.batch[n],
      channels,
      features: groups * REST.features[f],
      size,
      kernel,
      stride,
      dilation,
      padding: [...padding.map(([before]) => before), ...padding.map(([, after]) => after)],
      groups,
      bias: row[8] % 2 === 0,
    });
  });
};

export const combined: readonly Case[] = combine();
