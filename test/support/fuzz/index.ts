/** Everything public, each with its random arguments. */
import { type RelativeTopK, relativeTopK } from "../../../src/index.ts";
import type { Subject } from "./arguments.ts";
import { DEVICES } from "./devices.ts";
import { DISK } from "./disk.ts";
import { FILES } from "./files.ts";
import { HOST } from "./host.ts";
import { LEARNED } from "./learned.ts";
import { MODULES } from "./modules.ts";
import { OPS } from "./ops.ts";
import { SYMMETRY } from "./symmetry.ts";
import { TESTING } from "./testing.ts";

const behind = (entry: string, subjects: Readonly<Record<string, Subject>>): Record<string, Subject> =>
  Object.fromEntries(Object.entries(subjects).map(([name, subject]) => [entry + name, subject]));

export const SUBJECTS: Readonly<Record<string, Subject>> = {
  ...Object.fromEntries(Object.entries(OPS).map(([name, args]) => [name, { args }])),
  // What reaches a bound by a rounding, on one device, does not on another.
  relativeRange: { args: OPS.relativeRange, differs: true },
  relativeTopK: {
    args: OPS.relativeTopK,
    run: ({ own }, ...args) => {
      const { values, indices } = (relativeTopK as (...given: readonly unknown[]) => RelativeTopK)(...args);
      // Which of two equally near anchors comes first is a matter of rounding.
      return [values, own(indices).shape];
    },
  },
  ...MODULES,
  ...LEARNED,
  ...DEVICES,
  ...FILES,
  ...behind("files/", DISK),
  ...HOST,
  ...behind("symmetry/", SYMMETRY),
  ...behind("testing/", TESTING),
};

/** Public functions and classes that are called by no subject of their name, and why. */
export const ELSEWHERE: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["ArgumentError", "BirkhoffError", "DataError", "DeviceError", "FileError", "OutOfMemoryError", "StateError"].map((name) => [
      name,
      "what is thrown",
    ]),
  ),
  ...Object.fromEntries(["Module", "Optimizer", "ParameterGroup", "SymmetricNetwork"].map((name) => [name, "a base, or made by what is called"])),
  ...Object.fromEntries(["Kernel", "BoundKernel", "prepareKernel"].map((name) => [name, "on a GPUDevice: test/kernel.test.ts"])),
  ...Object.fromEntries(["input", "output", "scratch", "grid"].map((name) => [name, "plans of ops, which the device checks"])),
  KernelCache: "an option of weightSharingConv",
  isGradEnabled: "takes nothing",
};
