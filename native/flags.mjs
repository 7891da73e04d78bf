// What the native code is built from and with: the one list that binding.gyp and the check scripts share.
//   node native/flags.mjs sources | kernels | common | level <name>
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Plain C++, compiled once for the baseline processor. */
export const sources = ["kernel.cc", "parallel.cc", "memory.cc", "foreign.cc", "queue.cc", "levels.cc", "platform.cc"].map(
  (file) => `native/${file}`,
);

/** Tests without Node. */
export const driver = ["native/test/driver.cc", "native/test/math.cc", "native/test/replay.cc"];

/** Compiled once per level. */
export const kernels = [
  "native/kernels.cc",
  "native/probe.cc",
  ...readdirSync(join(root, "native/ops"))
    .filter((file) => file.endsWith(".cc"))
    .sort()
    .map((file) => `native/ops/${file}`),
  // In the same libraries, but nothing links it that does not ask for it: see levels.cc.
  "native/test/kernels.cc",
];

export const common = ["-std=gnu++20", "-O3", "-Wall", "-Wextra", "-Werror", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden"];

// GCC 12 warns about variables inside its own AVX-512 headers (PR 105593).
const gccOnly = process.platform === "darwin" ? [] : ["-Wno-maybe-uninitialized", "-Wno-uninitialized"];

/** From the least to the most demanding: also the order in which they must be linked, see binding.gyp. */
export const levels = {
  x64: {
    portable: [],
    avx2: ["-mavx2", "-mfma", "-mf16c"],
    avx512: ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", ...gccOnly],
  },
  arm64: { neon: [] },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [what, name] = process.argv.slice(2);
  const lists = { sources, driver, kernels, common, level: levels.x64[name] ?? levels.arm64[name] };
  console.log(lists[what].join(" "));
}
