/// <reference lib="esnext.disposable" preserve="true" />
/** For people who write kernels: case tables, the conformance run, guarded devices and gradient checks. */
export { type CustomOp, type CustomOpDefinition, type CustomPass, customOp } from "../customOp.ts";
export { deviceOf } from "../open.ts";
export * from "./cases.ts";
export { type CaseResult, type Conformance, caseInputs, compareCase, errorRatio, runCase } from "./conformance.ts";
export { type GradcheckOptions, type GradcheckResult, gradcheck } from "./gradcheck.ts";
export { type GuardedBackend, guarded } from "./guarded.ts";
