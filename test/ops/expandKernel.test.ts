/** Permutation matrices turn kernels, channels come in the convolution's order, all forms of R agree, wrong calls are refused, one kernel runs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import { cyclicGroup, permutationMatrices, rotationGroup } from "../../src/data/permutations.ts";
import type { Device } from "../../src/device.ts";
import { shiftTwist } from "../../src/nn/group.ts";
import { deviceOf, openDevice } from "../../src/open.ts";
import { expandKernel } from "../../src/ops/expandKernel/index.ts";
import { differentiate } from "../../src/tape.ts";
import { KINDS } from "../support/devices.ts";

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

describe("forms of R", () => {
  const C4 = rotationGroup(3).elements;
  const wave = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(1 + i));
  const quarter = permutationMatrices(cyclicGroup(4).elements.slice(1));

  test("a shift of the group axis and a turn of the pixels are the factors of the regular representation", async () => {
    const twisted = shiftTwist(C4).slice(1);
    const w = device.tensor(wave(2 * 3 * 36), [2, 3, 4, 3, 3]);
    const full = expandKernel(device.tensor(permutationMatrices(twisted), [3, 36, 36]), w);
    const group = device.tensor(quarter, [3, 4, 4]);
    const space = device.tensor(permutationMatrices(C4.slice(1)), [3, 9, 9]);
    const positions = device.tensor(
      twisted.flatMap((element) => [...element]),
      [3, 36],
      "int32",
    );
    for (const R of [{ group, space }, positions]) {
      const out = expandKernel(R, w);
      expect(out.shape).toEqual(full.shape);
      expect(await out.read()).toEqual(await full.read());
    }
  });

  test("positions outside of a kernel are told at the next read, on every device", async () => {
    for (const kind of KINDS) {
      await using one = await openDevice({ device: kind });
      const w = one.zeros([1, 1, 4]);
      for (const wrong of [4, -1]) {
        const out = expandKernel(one.tensor([[0, 1, wrong, 2]], [1, 4], "int32"), w);
        await expect(out.read()).rejects.toThrow(`expandKernel: expected positions in [0, 4) for \`R\`, but received ${wrong}`);
      }
    }
  });
});

test("one dispatch forward and one for each gradient; the factors share one more", async () => {
  await using gpu = deviceOf(await openWebGPU({ allowSoftware: true }));
  const w = gpu.full([4, 2, 4, 3, 3], 0.5);
  const [r, group, space] = [36, 4, 9].map((side) => gpu.full([3, side, side], 0.1));
  for (const tensor of [w, r, group, space]) tensor.requiresGrad = true;
  const positions = gpu.zeros([3, 36], "int32");
  for (const [R, forward, both] of [
    [r, 1, 3],
    [{ group, space }, 1, 5],
    [positions, 1, 3],
  ] as const) {
    const before = gpu.counters.dispatches;
    const out = expandKernel(R, w);
    expect(gpu.counters.dispatches - before).toBe(forward);
    differentiate([{ output: out, cotangent: gpu.ones(out.shape) }], "test");
    expect(gpu.counters.dispatches - before).toBe(both);
  }
  await gpu.synchronize();
});

describe("wrong calls", () => {
  const call = (r: number[], w: number[], options?: object) => (): unknown => expandKernel(device.zeros(r), device.zeros(w), options);
  const factors =
    (group: number[], space: number[], w = [2, 2, 4, 3, 3]) =>
    (): unknown =>
      expandKernel({ group: device.zeros(group), space: device.zeros(space) }, device.zeros(w));
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
    [
      () => expandKernel(device.zeros([3, 9, 9], "int32"), device.zeros([2, 2, 9])),
      "expandKernel: expected shape [matrices, 9] for positions, or dtype float32 for matrices, for `R`, but received [3, 9, 9]",
    ],
    [() => expandKernel(device.zeros([3, 9], "int32"), device.zeros([2, 2, 9], "int32")), "expandKernel: expected dtype float32 for `w`"],
    [factors([3, 4, 5], [3, 9, 9]), "expandKernel: expected shape [matrices, g_in, g_in] for `R.group`, but received [3, 4, 5]"],
    [factors([3, 9, 9], [3, 4, 4]), "shape [matrices, 4, 4], since `w` has a group axis of 4, for `R.group`, but received [3, 9, 9]"],
    [factors([2, 4, 4], [3, 9, 9]), "shape [2, 9, 9], behind 4 positions of `R.group`, for `R.space`, but received [3, 9, 9]"],
    [factors([3, 5, 5], [3, 9, 9], [1, 1, 36]), "a side that divides the 36 numbers of a kernel of `w` for `R.group`, but received [3, 5, 5]"],
    [() => expandKernel({ group: device.zeros([1, 1, 1]) } as never, device.zeros([1, 1, 1])), "expected a tensor for `R.space`"],
    [() => expandKernel(3 as never, device.zeros([1, 1, 1])), "a tensor, or an object with `group` and `space`, for `R`, but received 3"],
    [() => expandKernel(device.zeros([3, 9, 9]), 2 as never), "expandKernel: expected a tensor for `w`, but received 2"],
  ] as const)("%#", (run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: "ERR_ARGUMENT" }));
  });
});
