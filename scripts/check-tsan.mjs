/** `npm run check:tsan`: pool, queue and every kernel under the thread sanitizer, in a driver without Node. */
import { driver, sources } from "../native/flags.mjs";
import { compileNative, recordCases, works } from "./compile-native.mjs";
import { main, run } from "./run.mjs";

await main(import.meta, async () => {
  const compiler = process.env.CXX ?? "g++";
  if (!works(compiler)) throw new Error(`${compiler} does not start; install it (Debian: apt-get install g++)`);
  const flags = ["-fsanitize=thread", "-O1", "-g"];
  const file = await compileNative({
    name: "tsan",
    compiler,
    arch: process.arch,
    sources: [...sources, ...driver],
    flags,
    link: [],
    output: "driver",
  });
  const recorded = recordCases();
  run([file, "--quick", recorded], { env: { ...process.env, TSAN_OPTIONS: "halt_on_error=1 second_deadlock_stack=1" } });
  return 0;
});
