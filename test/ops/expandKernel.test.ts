/** Permutation matrices turn kernels, channels come in the convolution's order, wrong calls are refused, one kernel runs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { expandKernel } from "../../src/ops/expandKernel/index.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

type Image = readonly (readonly number[])[];

/** numpy.rot90 once: counter-clockwise, result[i][j] = image[j][k − 1 − i]. */
const rot90 = (image: Image): number[][] => image.map((_, i) => image.map((_row, j) => image[j][image.length - 1 - i]));

/** Matrices of rot90 applied 1, 2 and 3 times: row n has its one where position n comes from. */
const quarterTurns = (k: number): number[][][] => {
  const matrices: number[][][] = [];
  let positions = Array.from({ length: k }, (_, i) => Array.from({ length: k }, (_column, j) => i * k + j));
  for (let turn = 1; turn < 4; turn++) {
    positions = rot90(positions);
    matrices.push(positions.flat().map((source) => Array.from({ length: k * k }, (_, m) => Number(m === source))));
  }
  return matrices;
};

test("a kernel with known corners is turned as numpy.rot90 turns it", () => {
  expect(
    rot90([
      [1, 2],
      [3, 4],
    ]),
  ).toEqual([
    [2, 4],
    [1, 3],
  ]);
});

describe.each([2, 3, 5])("C4 on %i × %i pixels", (k) => {
  const images = Array.from({ length: 6 }, (_, c) =>
    Array.from({ length: k }, (_row, i) => Array.from({ length: k }, (_column, j) => 100 * c + 10 * i + j)),
  );

  test("the expansion is the four turned kernels, in the order of output channels o, then g", async () => {
    const w = device.tensor(images.flat(2), [3, 2, k, k]);
    const out = expandKernel(device.tensor(quarterTurns(k)), w);
    expect(out.shape).toEqual([12, 2, k, k]);
    const want = [0, 1, 2].flatMap((o) =>
      [0, 1, 2, 3].flatMap((turns) =>
        [0, 1].map((i) => {
          let image: Image = images[2 * o + i];
          for (let t = 0; t < turns; t++) image = rot90(image);
          return image;
        }),
      ),
    );
    expect([...(await out.read())]).toEqual(want.flat(2));
  });

  test("shifted and turned: a group axis inside of the kernel", async () => {
    // Element b moves group element a to a + b and turns the pixels b times.
    const turns = [[...Array(k * k).keys()].map((n) => [...Array(k * k).keys()].map((m) => Number(m === n))), ...quarterTurns(k)];
    const d = 4 * k * k;
    const matrices = [1, 2, 3].map((b) =>
      Array.from({ length: d }, (_, row) =>
        Array.from({ length: d }, (_column, m) => {
          const from = (Math.floor(row / (k * k)) - b + 4) % 4;
          return Math.floor(m / (k * k)) === from ? turns[b][row % (k * k)][m % (k * k)] : 0;
        }),
      ),
    );
    const w = device.tensor(images.slice(0, 4).flat(2), [1, 1, 4, k, k]);
    const out = expandKernel(device.tensor(matrices), w);
    expect(out.shape).toEqual([4, 4, k, k]);
    const want = [0, 1, 2, 3].flatMap((b) =>
      [0, 1, 2, 3].map((a) => {
        let image: Image = images[(a - b + 4) % 4];
        for (let t = 0; t < b; t++) image = rot90(image);
        return image;
      }),
    );
    expect([...(await out.read())]).toEqual(want.flat(2));
  });
});

test.each([
  [
    [2, 3, 4],
    [8, 3, 4],
  ],
  [
    [2, 3, 2, 2],
    [8, 3, 2, 2],
  ],
  [
    [2, 3, 1, 2, 2],
    [8, 3, 2, 2],
  ],
  [
    [2, 3, 4, 1, 1],
    [8, 12, 1, 1],
  ],
])("w of shape %j expands to %j", (w, out) => {
  expect(expandKernel(device.zeros([3, 4, 4]), device.zeros(w)).shape).toEqual(out);
  expect(expandKernel(device.zeros([4, 4, 4]), device.zeros(w), { identity: false }).shape).toEqual(out);
});

test("one dispatch forward and one for each gradient", async () => {
  await using gpu = deviceOf(await openWebGPU({ allowSoftware: true }));
  const [r, w] = [gpu.full([3, 9, 9], 0.1), gpu.full([4, 2, 3, 3], 0.5)];
  r.requiresGrad = true;
  w.requiresGrad = true;
  const out = expandKernel(r, w);
  expect(gpu.counters.dispatches).toBe(1);
  out.backward(gpu.ones(out.shape));
  expect(gpu.counters.dispatches).toBe(3);
  await gpu.synchronize();
});

describe("wrong calls", () => {
  const call = (r: number[], w: number[], options?: object) => (): unknown => expandKernel(device.zeros(r), device.zeros(w), options);
  test.each([
    [
      call([3, 9, 9], [2, 9]),
      "expandKernel: expected shape [Cout, Cin, d], [Cout, Cin, k, k] or [Cout, Cin, g_in, k, k] for `w`, but received [2, 9]",
    ],
    [call([3, 9, 9], [1, 1, 1, 1, 3, 3]), "for `w`, but received [1, 1, 1, 1, 3, 3]"],
    [
      call([3, 9, 9], [2, 2, 2, 4]),
      "expandKernel: expected shape [matrices, 8, 8], since a kernel of `w` has 8 numbers, for `R`, but received [3, 9, 9]",
    ],
    [call([9, 9], [2, 2, 9]), "numbers, for `R`, but received [9, 9]"],
    [call([3, 9, 8], [2, 2, 9]), "for `R`, but received [3, 9, 8]"],
    [call([3, 9, 9], [2, 2, 9], { identity: 1 }), "expandKernel: expected true or false for `identity`, but received 1"],
    [() => expandKernel(device.zeros([3, 9, 9], "int32"), device.zeros([2, 2, 9])), "expandKernel: expected dtype float32 for `R`"],
    [() => expandKernel(device.zeros([3, 9, 9]), 2 as never), "expandKernel: expected a tensor for `w`, but received 2"],
  ] as const)("%#", (run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: "ERR_ARGUMENT" }));
  });
});
