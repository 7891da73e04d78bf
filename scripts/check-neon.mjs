/** `npm run check:neon`: cross-compiles the driver for 64-bit ARM and runs it, in an emulator unless this is such a machine. */
import { driver, sources } from "../native/flags.mjs";
import { compileNative, recordCases, works } from "./compile-native.mjs";
import { main, run } from "./run.mjs";

await main(import.meta, async () => {
  const here = process.arch === "arm64";
  const compiler = here ? (process.env.CXX ?? "g++") : "aarch64-linux-gnu-g++";
  const emulator = ["qemu-aarch64", "qemu-aarch64-static"].find(works);
  const lacking = [...(works(compiler) ? [] : [compiler]), ...(here || emulator ? [] : ["qemu-aarch64"])];
  if (lacking.length > 0) {
    throw new Error(`check:neon needs ${lacking.join(" and ")}; on Debian: apt-get install ${here ? "g++" : "g++-aarch64-linux-gnu qemu-user"}`);
  }
  // Linked statically, so that the emulator needs no ARM libraries.
  const file = await compileNative({
    name: "neon",
    compiler,
    arch: "arm64",
    sources: [...sources, ...driver],
    flags: [],
    link: ["-static"],
    output: "driver",
  });
  const recorded = recordCases();
  run(here ? [file, recorded] : [emulator, file, "--quick", recorded]);
  return 0;
});
