/** What the kernel is tried with: empty, one, and around every threshold of its plan. One table for every device. */
import { around, type Case, defineCase, normal, type Tolerance, values } from "birkhoff/testing";
import { GROUP, op } from "./swiglu.ts";

const TOLERANCE: Tolerance = {
  relative: 2e-6,
  absolute: 1e-37,
  reason: "WGSL's exp(-x) is off by up to 3 + 2x units in the last place, which count as e^-x; then a few roundings",
};

const entry = (name: string, shape: readonly number[], more: Partial<Case> = {}): Case =>
  defineCase({ name, op, inputs: [{ shape, fill: normal(3) }, { shape }], attrs: {}, forward: TOLERANCE, ...more });

export const cases: readonly Case[] = [
  ...around(GROUP).map((count) => entry(`${count} elements`, [count])),
  entry("several axes", [3, 5, 7]),
  entry("a gate without a gradient", [9], { inputs: [{ shape: [9], gradient: false }, { shape: [9] }] }),
  entry("saturated gates", [4], {
    inputs: [{ shape: [4], fill: values([-1000, -90, 90, 1000]) }, { shape: [4] }],
    // Not from the algorithm: beyond rounding, silu is 0 on the left and the identity on the right.
    invariants: ({ inputs: [gate, up], outputs: [y] }) => {
      for (let i = 0; i < y.length; i++) {
        const wanted = gate[i] > 0 ? gate[i] * up[i] : 0;
        if (!(Math.abs(y[i] - wanted) <= 1e-5 * Math.abs(wanted) + 1e-30)) throw new Error(`expected ${wanted}, but received ${y[i]}`);
      }
    },
  }),
  // A second row of workgroups. Too much for a software GPU.
  entry("more workgroups than an axis holds", [65535 * GROUP + 1], { large: true, finiteDifferences: { off: "four million elements" } }),
];
