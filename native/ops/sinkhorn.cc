// Sinkhorn normalisation: forward, and the gradients of its iterations and of its fixed point.
#include "sinkhorn.h"

#include "sinkhorn-lanes-forward.h"
#include "sinkhorn-lanes-implicit.h"
#include "sinkhorn-rows-forward.h"
#include "sinkhorn-rows-implicit.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Up to this side a vector holds one number of each of `lanes` matrices, whatever the batch.
constexpr int64_t lanesSide = 32;

bool inLanes(const sinkhorn::Run& run) { return std::max(run.sides.n, run.sides.m) <= lanesSide; }

}  // namespace

void sinkhornForward(const Call& call, Context& context) {
  const sinkhorn::Forward run(call, context);
  inLanes(run) ? sinkhorn::forwardInLanes(run) : sinkhorn::eachMatrix<sinkhorn::ForwardInRows>(run);
}

void sinkhornBackward(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  inLanes(run) ? sinkhorn::backwardInLanes(run) : sinkhorn::eachMatrix<sinkhorn::BackwardInRows>(run);
}

void sinkhornImplicit(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  inLanes(run) ? sinkhorn::eachGroup<sinkhorn::ImplicitInLanes>(run)
               : sinkhorn::eachMatrix<sinkhorn::ImplicitInRows>(run);
}

}  // namespace birkhoff::BIRKHOFF_ISA
