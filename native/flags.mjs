// What the native code is built from and with: the one list that binding.gyp and the check scripts share.
//   node native/flags.mjs sources | kernels | common | runtime | level <name>
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
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

// What a compiler that nobody tried warns of shall not keep anybody from building: warnings are errors on Linux alone.
const strict = process.platform === "linux" ? ["-Werror"] : [];
// Visual Studio's Clang is told the standard in binding.gyp, takes these behind a prefix, and shows no symbol unless asked to.
const unix = ["-std=gnu++20", "-O3", "-Wall", "-Wextra", ...strict, "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden"];
const windows = ["/clang:-O3", "/W4", "/clang:-fno-math-errno", "/clang:-ffp-contract=fast"];

export const common = process.platform === "win32" ? windows : unix;

/**
 * C++'s own run-time library, linked into the addon where the compiler has it as an archive, so that an addon that was built with a new compiler runs where
 * that library is older. What the addon does not use of it is left out: the newest parts ask for a newer glibc. libgcc stays outside for the same reason.
 */
const runtime = () => {
  const archive = (name) =>
    spawnSync(process.env.CXX?.split(" ")[0] ?? "g++", [`-print-file-name=${name}`], { encoding: "utf8" }).stdout?.trim() ?? "";
  return isAbsolute(archive("libstdc++.a")) ? ["-static-libstdc++", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections"] : [];
};

// GCC 12 warns about variables inside its own AVX-512 headers (PR 105593).
const gccOnly = process.platform !== "linux" ? [] : ["-Wno-maybe-uninitialized", "-Wno-uninitialized"];

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
  const lists = { sources, driver, kernels, common, runtime: what === "runtime" ? runtime() : [], level: levels.x64[name] ?? levels.arm64[name] };
  console.log(lists[what].join(" "));
}
