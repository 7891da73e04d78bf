/** For people who write kernels: case tables, the conformance run, guarded devices and gradient checks. */
export { type CustomOp, type CustomOpDefinition, type CustomPass, customOp } from "../customOp.ts";
export { deviceOf } from "../open.ts";
export * from "./cases.ts";
export { caseInputs, type CaseResult, compareCase, type Conformance, errorRatio, runCase } from "./conformance.ts";
export { gradcheck, type GradcheckOptions, type GradcheckResult } from "./gradcheck.ts";
export { guarded, type GuardedBackend } from "./guarded.ts";
