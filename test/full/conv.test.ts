/** Every legal combination of stride, dilation, groups, padding and kernel in two dimensions; the cases of every run cover them in threes. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNative } from "../../src/backends/native/index.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { sized } from "../../src/ops/conv/case.ts";
import { checkCase } from "../../src/testing/check.ts";

const CHANNELS = 4;
const product = <A, B>(rows: readonly A[], column: readonly B[]): (readonly [A, B])[] =>
  rows.flatMap((row) => column.map((entry) => [row, entry] as const));

let device: Device;
beforeAll(async () => {
  device = deviceOf(await openNative());
});
afterAll(() => device.close());

describe.each([1, 2, 3])("stride %i", (stride) => {
  describe.each([1, 2])("dilation %i", (dilation) => {
    describe.each([1, 2, CHANNELS])("groups %i", (groups) => {
      // "same" is defined for stride 1 alone.
      const paddings = [[0, 0], [1, 1], [2, 0], [0, 3], ...(stride === 1 ? (["same"] as const) : [])] as const;
      test.each(product(paddings, [1, 2, 3, 4, 5, 6, 7]))("padding %j, kernel %i", async (padding, kernel) => {
        const total = dilation * (kernel - 1);
        const [before, after] = padding === "same" ? [Math.floor(total / 2), Math.ceil(total / 2)] : padding;
        for (const result of ["y", "x", "w"] as const) {
          const entry = sized(result, {
            result,
            channels: CHANNELS,
            features: 2 * CHANNELS,
            // Holds the largest kernel of all, 13 pixels wide.
            size: [14, 15],
            kernel: [kernel, kernel],
            stride: [stride, stride],
            dilation: [dilation, dilation],
            padding: [before, before, after, after],
            groups,
            bias: true,
          });
          expect((await checkCase(device, entry)).problem, result).toBeUndefined();
        }
      });
    });
  });
});
