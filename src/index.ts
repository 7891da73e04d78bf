/// <reference lib="esnext.disposable" preserve="true" />
/** birkhoff: compute kernels for machine learning, with a thin autograd. */
export type { Backend, BackendInfo, Buffer, Counters, DeviceKind, GpuMemory, GpuRange } from "./backend.ts";
export { type CustomOp, type CustomOpDefinition, type CustomPass, customOp } from "./customOp.ts";
export { type ClassBalancedOptions, classBalancedBatches } from "./data/balanced.ts";
export { decodeNpy, type EncodeNpyOptions, encodeNpy, type NpyArray, type NpyData } from "./data/npy.ts";
export {
  cubeGroup,
  cyclicGroup,
  dihedralGroup,
  flipGroup,
  generateGroup,
  type Permutation,
  type PermutationSet,
  permutationMatrices,
  rotationGroup,
} from "./data/permutations.ts";
export {
  decodeSafetensors,
  encodeSafetensors,
  type HostTensor,
  type Safetensors,
  type SafetensorsDType,
  type StateDict,
} from "./data/safetensors.ts";
export type { LoadOptions, LoadResult } from "./data/stateDict.ts";
export type { Device, FromBufferOptions, TensorData } from "./device.ts";
export { ArgumentError, BirkhoffError, DataError, DeviceError, FileError, OutOfMemoryError, StateError } from "./errors.ts";
export { encodeOnnx } from "./export/onnx.ts";
export { loadPaperState } from "./export/paper.ts";
export { type HostLayer, type PlainNetwork, toPlain } from "./export/plain.ts";
export { type ValueAndGrad, valueAndGrad, zeroGrad } from "./grad.ts";
export { isGradEnabled, noGrad } from "./gradMode.ts";
export {
  BoundKernel,
  type BufferRange,
  Kernel,
  type KernelBuffers,
  type KernelCall,
  type KernelFunction,
  type KernelInput,
  type KernelOperand,
  type KernelOptions,
  type KernelSlot,
  prepareKernel,
} from "./kernel/index.ts";
export { type Convolution, SymmetricNetwork, type Symmetry } from "./nn/convolutions.ts";
export { GroupConv2d, GroupLift2d, GroupLinear, PermutedConv, type PermutedConvOptions, shiftTwist } from "./nn/group.ts";
export { type Initializer, initializer } from "./nn/init.ts";
export { type Aggregation, ProductOfInvariances, type ProductOfInvariancesOptions } from "./nn/invariances.ts";
export { BatchNorm, Conv2d, Dropout, Linear } from "./nn/layers.ts";
export {
  anchorCoverage,
  anchorDiversity,
  LearnedAnchors,
  type LearnedAnchorsOptions,
  mixtureEntropy,
  mixtureOverlap,
} from "./nn/learnedAnchors.ts";
export {
  type Constraint,
  type FactorisedStacks,
  LearnedMatrices,
  type LearnedStack,
  type MatrixOptions,
  type MatrixSettings,
  type Regularized,
  type SinkhornSettings,
  TiedMatrices,
} from "./nn/matrices.ts";
export { Module, parameter } from "./nn/module.ts";
export { DigitNetwork, type DigitNetworkOptions, groupPool } from "./nn/networks.ts";
export type { PlainLayer, PlainModule } from "./nn/plain.ts";
export {
  closureRegularizer,
  entropyRegularizer,
  identityRegularizer,
  type NearestOptions,
  normRegularizer,
  overlapRegularizer,
  sharpnessRegularizer,
} from "./nn/regularizers.ts";
export { ResidualNetwork, type ResidualNetworkOptions } from "./nn/residual.ts";
export type { MatrixStart } from "./nn/start.ts";
export { matrixGroups, restMatrices } from "./nn/training.ts";
export {
  FactorisedWeightSharingConv1d,
  FactorisedWeightSharingConv2d,
  FactorisedWeightSharingConv3d,
  WeightSharingConv1d,
  WeightSharingConv2d,
  WeightSharingConv3d,
  WeightSharingLift1d,
  WeightSharingLift2d,
  WeightSharingLift3d,
  type WeightSharingOptions,
} from "./nn/weightSharing.ts";
export { type Dimensions, KernelCache, type Sharing, type WeightSharingConvOptions, weightSharingConv } from "./nn/weightSharingConv.ts";
export { WeightSharingLinear } from "./nn/weightSharingLinear.ts";
export {
  type Attrs,
  type BufferRef,
  type Call,
  type DType,
  elements,
  FLOOR_LIMITS,
  type Gradient,
  grid,
  type IndirectWorkgroups,
  input,
  type Limits,
  type NativeSymbol,
  type Op,
  output,
  type ParamsLayout,
  type Pass,
  type Plan,
  type ReferenceRun,
  type Scalars,
  type Shader,
  type ShaderBinding,
  type Shape,
  type Spec,
  scratch,
  type VjpContext,
  type Workgroups,
} from "./op.ts";
export { type OpenDeviceOptions, openDevice } from "./open.ts";
export * from "./ops/assignment/index.ts";
export * from "./ops/cast/index.ts";
export * from "./ops/cholesky/index.ts";
export * from "./ops/conv/index.ts";
export * from "./ops/crossEntropy/index.ts";
export * from "./ops/cumsum/index.ts";
export * from "./ops/elementwise/index.ts";
export * from "./ops/expandKernel/index.ts";
export * from "./ops/hyperConnection/index.ts";
export * from "./ops/matmul/index.ts";
export * from "./ops/norm/index.ts";
export * from "./ops/pool/index.ts";
export * from "./ops/random/index.ts";
export * from "./ops/reduce/index.ts";
export * from "./ops/relativeProjection/index.ts";
export * from "./ops/shape/index.ts";
export * from "./ops/sinkhorn/index.ts";
export * from "./ops/transport/index.ts";
export * from "./ops/zeroPersistence/index.ts";
export * from "./optim.ts";
export { reflect } from "./reflect.ts";
export { type Alignment, type AlignmentMethod, type AlignmentOptions, applyAlignment, fitAlignment } from "./relative/alignment.ts";
export { type AnchorOptions, parallelAnchors, type StratifiedOptions, stratifiedAnchors, uniformAnchors } from "./relative/anchors.ts";
export type { PointMetric } from "./relative/distance.ts";
export { applyInverseProjection, fitInverseProjection, type InverseProjection, type InverseProjectionOptions } from "./relative/inverse.ts";
export { type HostMatrix, takeRows } from "./relative/matrix.ts";
export { type JaccardOptions, meanReciprocalRank, type NeighbourOptions, neighbourhoodJaccard } from "./relative/neighbours.ts";
export { type ClassificationOptions, type ClassificationScores, classificationScores } from "./relative/scores.ts";
export {
  type CoverageOptions,
  coverageAnchors,
  type FarthestPointOptions,
  farthestPointAnchors,
  type KMeansAnchors,
  type KMeansOptions,
  kMeansAnchors,
} from "./relative/selection.ts";
export { type CkaOptions, linearCka, linearHsic, type RbfCkaOptions, rbfCka, type Svcca, type SvccaOptions, svcca } from "./relative/similarity.ts";
export {
  type DetectableEffectOptions,
  minimumDetectableEffect,
  type PairedTest,
  type PairedTestOptions,
  pairedTTest,
  type SampleSummary,
  studentCdf,
  studentQuantile,
  summarize,
} from "./relative/statistics.ts";
export { applyTransform, type FittedStep, fitTransform, invertTransform, type Transform, type TransformStep } from "./relative/transform.ts";
export { keep, scope } from "./scope.ts";
export type { Tensor } from "./tensor.ts";
export { type GradcheckOptions, type GradcheckResult, gradcheck } from "./testing/gradcheck.ts";
