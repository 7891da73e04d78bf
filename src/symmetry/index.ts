/// <reference lib="esnext.disposable" preserve="true" />
/** Which symmetry a network has learned: `birkhoff/symmetry`. Everything works on arrays of the host. */
export { cayleyTable, compose, identityPermutation, inverse, isPermutation } from "../data/permutations.ts";
export { analyzeStack, type StackAnalysis, type StackAnalysisOptions } from "./analysis.ts";
export { type ClosureResult, closure } from "./closure.ts";
export { type CoefficientFit, fitCoefficients } from "./coefficients.ts";
export { type CompareOptions, compareElements, type ElementResult, type StackResult } from "./elements.ts";
export { type EquivarianceRow, equivarianceError, type ImageAction, networkEquivariance } from "./equivariance.ts";
export { type GroupIdentity, identifyGroup, LARGEST_LISTED_GROUP } from "./identify.ts";
export { type LayerConsistency, layerConsistency } from "./layers.ts";
export {
  nearestPermutation,
  permutationDistance,
  permutationMass,
  relativeRowEntropy,
  rowAgreement,
  rowArgmax,
  rowEntropy,
  type Values,
} from "./matrices.ts";
export { type GroupMatch, matchGroup } from "./relabelling.ts";
export { type RoundedNetwork, roundNetwork } from "./round.ts";
