/** Every case at every instruction set that this processor has: the suite of every run takes the best alone. */
import { describe } from "vitest";
import { openNative, type SimdLevel } from "../../src/backends/native/index.ts";
import { loadAddon } from "../../src/backends/native/load.ts";
import { conformance } from "../support/suite.ts";

describe.each(loadAddon().addon.levels() as SimdLevel[])("%s", (simd) => {
  conformance(() => openNative({ simd }));
});
