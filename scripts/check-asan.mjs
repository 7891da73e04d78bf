/** `npm run check:asan`: the native tests with an addon built under the address and undefined-behaviour sanitizers. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { driver, sources } from "../native/flags.mjs";
import { headersPrefix } from "./build-native.mjs";
import { compileNative, recordCases, works } from "./compile-native.mjs";
import { local, main, root, run } from "./run.mjs";

const TESTS = ["test/native.test.ts", "test/conformance.native.test.ts"];

await main(import.meta, async () => {
  const compiler = process.env.CXX ?? "g++";
  if (process.platform !== "linux" || !works(compiler)) throw new Error("check:asan needs Linux and g++ (Debian: apt-get install g++)");
  const prefix = headersPrefix();
  if (!prefix) throw new Error("check:asan needs Node's headers beside Node (include/node/node_api.h)");
  const napi = createRequire(import.meta.url)("node-addon-api").include_dir;
  // Some of the tests look at the ordinary build.
  run([process.execPath, "scripts/build-native.mjs", "--required"]);
  const sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g", "-fPIC"];
  const node = [`-I${prefix}/include/node`, `-I${join(root, napi)}`, "-DNAPI_VERSION=8", "-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL"];
  // One set of flags, so that program and addon share their objects.
  const shared = { name: "asan", compiler, arch: process.arch, flags: [...sanitizers, ...node] };
  const program = await compileNative({ ...shared, sources: [...sources, ...driver], link: [], output: "driver" });
  const addon = await compileNative({ ...shared, sources: ["native/addon.cc", ...sources], link: ["-shared"], output: "birkhoff_test.node" });
  run([program, "--quick", recordCases()]);
  // Node itself is not built for the sanitizer, so its library must be there first; what Node keeps at exit is no leak of ours.
  const library = spawnSync(compiler, ["-print-file-name=libasan.so"], { encoding: "utf8" }).stdout.trim();
  const env = { ...process.env, LD_PRELOAD: library, ASAN_OPTIONS: "detect_leaks=0", UBSAN_OPTIONS: "print_stacktrace=1", BIRKHOFF_ADDON: addon };
  run(local("vitest/vitest.mjs", "run", ...TESTS), { env });
  return 0;
});
