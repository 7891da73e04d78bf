import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { ArgumentError } from "../../src/errors.ts";
import { deviceOf } from "../../src/open.ts";
import { gumbel, normal, randomBits, uniform } from "../../src/ops/random/index.ts";
import { philox, type Words } from "../../src/ops/random/reference.ts";

const device = deviceOf(openReference());

describe("Philox 4×32-10", () => {
  // kat_vectors of Random123 (Salmon et al. 2011).
  test.each<[Words, [number, number], Words]>([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])("known answer of counter %j", (counter, key, answer) => {
    expect(philox(counter, key)).toEqual(answer);
  });

  test("the words of counter 0 under key 0 are the first of seed 0", async () => {
    const bits = randomBits(device, [4], { seed: 0 });
    expect([...(await bits.read())]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  });
});

test("seed and stream beyond 32 bits reach key and counter whole", async () => {
  const [seed, stream] = [2 ** 53 - 1, 2 ** 40 + 5];
  const bits = randomBits(device, [6], { seed, stream });
  const key = [0xffffffff, 2 ** 21 - 1] as const;
  const block = (b: number): Words => philox([b, 0, 5, 256], key);
  expect([...(await bits.read())]).toEqual([...block(0), ...block(1).slice(0, 2)]);
});

test("uniform numbers are the upper 24 bits, and longer tensors begin as shorter ones", async () => {
  const bits = await randomBits(device, [100], { seed: 5, stream: 2 }).read();
  const numbers = await uniform(device, [7, 3], { seed: 5, stream: 2 }).read();
  expect([...numbers]).toEqual([...bits.slice(0, 21)].map((word) => (word >>> 8) / 2 ** 24));
});

describe("one seed on three devices", () => {
  const others: Device[] = [];
  beforeAll(async () => {
    others.push(deviceOf(await openNative()), deviceOf(await openWebGPU({ allowSoftware: true })));
  });
  afterAll(async () => {
    for (const other of others) await other.close();
  });
  const options = { seed: 2 ** 40 + 17, stream: 3 };

  test("gives the same bits and uniform numbers", async () => {
    for (const source of [randomBits, uniform]) {
      const want = await source(device, [5003], options).read();
      for (const other of others) expect(await source(other, [5003], options).read(), other.kind).toEqual(want);
    }
  });

  test("gives normal and Gumbel numbers equal to 1e-5", async () => {
    for (const source of [normal, gumbel]) {
      const want = await source(device, [40001], options).read();
      for (const other of others) {
        const got = await source(other, [40001], options).read();
        const errors = Array.from(got, (value, i) => Math.abs(value - want[i]));
        expect(Math.max(...errors), other.kind).toBeLessThan(1e-5);
      }
    }
  });

  test("takes one dispatch", () => {
    for (const other of others) {
      uniform(other, [16], { seed: 1 }).dispose();
      const before = other.counters.dispatches;
      uniform(other, [16], { seed: 2, stream: 9 }).dispose();
      expect(other.counters.dispatches - before).toBe(1);
    }
  });
});

test("another seed or stream gives other numbers", async () => {
  const first = [...(await normal(device, [8], { seed: 1 }).read())];
  for (const options of [{ seed: 2 }, { seed: 1, stream: 1 }, { seed: 1 + 2 ** 32 }]) {
    const other = [...(await normal(device, [8], options).read())];
    expect(other.filter((value, i) => value === first[i])).toEqual([]);
  }
});

test("wrong arguments are named", () => {
  const message = (fn: () => unknown): string => {
    try {
      fn();
    } catch (error) {
      expect(error).toBeInstanceOf(ArgumentError);
      return (error as Error).message;
    }
    throw new Error("nothing was thrown");
  };
  expect(message(() => uniform(device, [2], { seed: -1 }))).toBe("uniform: expected a whole number in [0, 2^53) for `seed`, but received -1");
  expect(message(() => gumbel(device, [2], { seed: 1, stream: 0.5 }))).toBe(
    "gumbel: expected a whole number in [0, 2^53) for `stream`, but received 0.5",
  );
  expect(message(() => uniform(device, [2], { seed: 1, low: 2 }))).toBe("uniform: expected a number of at least low (2) for `high`, but received 1");
  expect(message(() => normal(device, [2], { seed: 1, std: -1 }))).toBe("normal: expected a number of at least 0 for `std`, but received -1");
  expect(message(() => normal(device, [2], { seed: 1, mean: Number.NaN }))).toBe("normal: expected a finite number for `mean`, but received NaN");
  expect(message(() => randomBits(device, [-2], { seed: 1 }))).toContain("for `shape`");
});
