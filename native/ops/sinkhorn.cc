// Sinkhorn normalisation, forward and backward.
#include "sinkhorn.h"

#include "sinkhorn-lanes.h"
#include "sinkhorn-rows.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Up to this side a vector holds one number of each of `lanes` matrices, whatever the batch.
constexpr int64_t lanesSide = 32;

}  // namespace

void sinkhornForward(const Call& call, Context& context) {
  const Tensor& logits = call.inputs[0];
  const int64_t n = logits.shape.back();
  const bool history = call.flag("history");
  const sinkhorn::Forward run{logits.size / (n * n),
                              n,
                              call.integer("iterations"),
                              static_cast<float>(call.scalar("temperature")),
                              logits.f32(),
                              call.outputs[0].f32(),
                              history ? call.outputs[1].f32() : nullptr,
                              &context};
  n <= lanesSide ? sinkhorn::forwardInLanes(run) : sinkhorn::forwardInRows(run);
}

void sinkhornBackward(const Call& call, Context& context) {
  const Tensor& p = call.inputs[0];
  const int64_t n = p.shape.back();
  const sinkhorn::Backward run{p.size / (n * n),
                               n,
                               call.integer("iterations"),
                               static_cast<float>(call.scalar("temperature")),
                               p.f32(),
                               call.inputs[1].f32(),
                               call.inputs[2].f32(),
                               call.outputs[0].f32()};
  n <= lanesSide ? sinkhorn::backwardInLanes(run, context) : sinkhorn::backwardInRows(run, context);
}

}  // namespace birkhoff::BIRKHOFF_ISA
