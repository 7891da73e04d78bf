// Every native kernel, by op. Compiled once per instruction-set level, like the rooms in ops/.
// A room adds one block of declarations and one line per op.
#include "kernels.h"

namespace birkhoff::BIRKHOFF_ISA {

#define KERNEL(function) void function(const Call& call, Context& context)

KERNEL(assignmentGreedy);
KERNEL(assignmentMatrix);

KERNEL(cast);
KERNEL(cholesky);
KERNEL(choleskyLower);

KERNEL(conv);
KERNEL(convData);
KERNEL(convWeight);

KERNEL(crossEntropyForward);
KERNEL(crossEntropyBackward);

KERNEL(cumsum);

KERNEL(elementwiseUnary);
KERNEL(elementwiseUnaryBackward);
KERNEL(elementwiseAffine);
KERNEL(elementwiseBinary);
KERNEL(elementwiseBinaryBackward);

KERNEL(normForward);
KERNEL(normFixed);
KERNEL(normBackward);
KERNEL(normParameters);
KERNEL(normTrack);

KERNEL(poolMax);
KERNEL(poolMaxBackward);
KERNEL(poolAverage);
KERNEL(poolAverageBackward);
KERNEL(poolGlobalAverage);
KERNEL(poolGlobalAverageBackward);

KERNEL(matmul);
KERNEL(matmulBiasBackward);

KERNEL(random);

KERNEL(reduceForward);
KERNEL(reduceArgmax);
KERNEL(reduceBackward);

KERNEL(relativeProjection);
KERNEL(relativeProjectionTop);
KERNEL(relativeProjectionRange);
KERNEL(relativeProjectionBackward);
KERNEL(relativeProjectionStatistics);
KERNEL(relativeProjectionStatisticsBackward);
KERNEL(relativeProjectionColumns);

KERNEL(shapePermute);
KERNEL(shapeExpand);
KERNEL(shapeConcat);
KERNEL(shapeSlice);
KERNEL(shapeSliceBackward);
KERNEL(shapeGather);
KERNEL(shapeGatherBackward);

KERNEL(optimizerSgd);
KERNEL(optimizerAdamw);
KERNEL(optimizerNorm);
KERNEL(optimizerClip);

KERNEL(expandKernelForward);
KERNEL(expandKernelBackwardMatrices);
KERNEL(expandKernelBackwardWeight);
KERNEL(expandKernelFactorised);
KERNEL(expandKernelBackwardFactorised);
KERNEL(expandKernelBackwardSpace);
KERNEL(expandKernelGather);
KERNEL(expandKernelScatter);

KERNEL(hyperConnectionForward);
KERNEL(hyperConnectionBackward);

KERNEL(sinkhornForward);
KERNEL(sinkhornBackward);
KERNEL(sinkhornImplicit);
KERNEL(sinkhornTiny);

KERNEL(transport);
KERNEL(transportBackward);

KERNEL(zeroPersistenceForward);
KERNEL(zeroPersistenceBackward);
KERNEL(zeroPersistenceLoss);
KERNEL(zeroPersistenceLossBackward);

#undef KERNEL

namespace {
constexpr KernelEntry table[] = {
    {"assignment.greedy", assignmentGreedy},
    {"assignment.matrix", assignmentMatrix},
    {"cast", cast},
    {"cholesky", cholesky},
    {"cholesky.lower", choleskyLower},
    {"conv", conv},
    {"conv.data", convData},
    {"conv.weight", convWeight},
    {"crossEntropy.forward", crossEntropyForward},
    {"crossEntropy.backward", crossEntropyBackward},
    {"cumsum", cumsum},
    {"elementwise.unary", elementwiseUnary},
    {"elementwise.unaryBackward", elementwiseUnaryBackward},
    {"elementwise.affine", elementwiseAffine},
    {"elementwise.binary", elementwiseBinary},
    {"elementwise.binaryBackward", elementwiseBinaryBackward},
    {"norm.forward", normForward},
    {"norm.fixed", normFixed},
    {"norm.backward", normBackward},
    {"norm.parameters", normParameters},
    {"norm.track", normTrack},
    {"pool.max", poolMax},
    {"pool.maxBackward", poolMaxBackward},
    {"pool.average", poolAverage},
    {"pool.averageBackward", poolAverageBackward},
    {"pool.globalAverage", poolGlobalAverage},
    {"pool.globalAverageBackward", poolGlobalAverageBackward},
    {"matmul", matmul},
    {"matmul.biasBackward", matmulBiasBackward},
    {"random", random},
    {"reduce.forward", reduceForward},
    {"reduce.argmax", reduceArgmax},
    {"reduce.backward", reduceBackward},
    {"relativeProjection", relativeProjection},
    {"relativeProjection.top", relativeProjectionTop},
    {"relativeProjection.range", relativeProjectionRange},
    {"relativeProjection.backward", relativeProjectionBackward},
    {"relativeProjection.statistics", relativeProjectionStatistics},
    {"relativeProjection.statisticsBackward", relativeProjectionStatisticsBackward},
    {"relativeProjection.columns", relativeProjectionColumns},
    {"shape.permute", shapePermute},
    {"shape.expand", shapeExpand},
    {"shape.concat", shapeConcat},
    {"shape.slice", shapeSlice},
    {"shape.sliceBackward", shapeSliceBackward},
    {"shape.gather", shapeGather},
    {"shape.gatherBackward", shapeGatherBackward},
    {"optimizer.sgd", optimizerSgd},
    {"optimizer.adamw", optimizerAdamw},
    {"optimizer.norm", optimizerNorm},
    {"optimizer.clip", optimizerClip},
    {"expandKernel", expandKernelForward},
    {"expandKernel.backwardMatrices", expandKernelBackwardMatrices},
    {"expandKernel.backwardWeight", expandKernelBackwardWeight},
    {"expandKernel.factorised", expandKernelFactorised},
    {"expandKernel.backwardFactorised", expandKernelBackwardFactorised},
    {"expandKernel.backwardSpace", expandKernelBackwardSpace},
    {"expandKernel.gather", expandKernelGather},
    {"expandKernel.scatter", expandKernelScatter},
    {"hyperConnection", hyperConnectionForward},
    {"hyperConnection.backward", hyperConnectionBackward},
    {"sinkhorn", sinkhornForward},
    {"sinkhorn.backward", sinkhornBackward},
    {"sinkhorn.implicit", sinkhornImplicit},
    {"sinkhorn.tiny", sinkhornTiny},
    {"transport", transport},
    {"transport.backward", transportBackward},
    {"zeroPersistence.forward", zeroPersistenceForward},
    {"zeroPersistence.backward", zeroPersistenceBackward},
    {"zeroPersistence.loss", zeroPersistenceLoss},
    {"zeroPersistence.lossBackward", zeroPersistenceLossBackward},
};
}  // namespace

std::span<const KernelEntry> kernels() { return table; }

}  // namespace birkhoff::BIRKHOFF_ISA
