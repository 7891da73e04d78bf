/// <reference lib="esnext.disposable" preserve="true" />
/** For people who write kernels: the package's ops with their definitions and cases, the conformance run, guarded devices, gradient checks and case generators. */
export { type CustomOp, type CustomOpDefinition, type CustomPass, customOp } from "../customOp.ts";
export { deviceOf } from "../open.ts";
export { findOp, rooms } from "../ops/index.ts";
export * from "./cases.ts";
export { type CheckResult, checkCase, checkCases, gradcheckCase } from "./check.ts";
export { type CaseResult, type Conformance, caseInputs, compareCase, errorRatio, runCase } from "./conformance.ts";
export { type GradcheckOptions, type GradcheckResult, gradcheck } from "./gradcheck.ts";
export { type GuardedBackend, guarded } from "./guarded.ts";
export { testRandom } from "./random.ts";
