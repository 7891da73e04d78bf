// Sinkhorn normalisation: forward, and the gradients of its iterations and of its fixed point.
#include "sinkhorn.h"

#include "sinkhorn-lanes-forward.h"
#include "sinkhorn-lanes-implicit.h"
#include "sinkhorn-lanes-tiny.h"
#include "sinkhorn-rows-forward.h"
#include "sinkhorn-rows-implicit.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Up to this side a vector holds one number of each of `lanes` matrices, whatever the batch.
constexpr int64_t lanesSide = 32;

bool inLanes(const sinkhorn::Run& run) { return std::max(run.sides.n, run.sides.m) <= lanesSide; }

using sinkhorn::eachGroup, sinkhorn::four, sinkhorn::isFour;

void forwardInLanes(const sinkhorn::Forward& run) {
  using sinkhorn::ForwardInLanes;
  if (!run.plain()) return eachGroup<ForwardInLanes<false>>(run);
  isFour(run.sides) ? eachGroup<ForwardInLanes<true, four>>(run) : eachGroup<ForwardInLanes<true>>(run);
}

void backwardInLanes(const sinkhorn::Backward& run) {
  using sinkhorn::BackwardInLanes;
  if (!run.plain) return eachGroup<BackwardInLanes<false>>(run);
  isFour(run.sides) ? eachGroup<BackwardInLanes<true, four>>(run) : eachGroup<BackwardInLanes<true>>(run);
}

}  // namespace

void sinkhornForward(const Call& call, Context& context) {
  const sinkhorn::Forward run(call, context);
  inLanes(run) ? forwardInLanes(run) : sinkhorn::eachMatrix<sinkhorn::ForwardInRows>(run);
}

void sinkhornBackward(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  inLanes(run) ? backwardInLanes(run) : sinkhorn::eachMatrix<sinkhorn::BackwardInRows>(run);
}

void sinkhornTiny(const Call& call, Context& context) {
  using sinkhorn::TinyInLanes;
  const sinkhorn::Sides sides(call.inputs[0], call.text("order") == "column");
  const sinkhorn::Tiny run({sides, call.integer("iterations"), call.scalar("temperature"), context}, call, context);
  if (!run.ones()) return eachGroup<TinyInLanes<false>>(run);
  isFour(sides) ? eachGroup<TinyInLanes<true, four>>(run) : eachGroup<TinyInLanes<true>>(run);
}

void sinkhornImplicit(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  inLanes(run) ? eachGroup<sinkhorn::ImplicitInLanes>(run) : sinkhorn::eachMatrix<sinkhorn::ImplicitInRows>(run);
}

}  // namespace birkhoff::BIRKHOFF_ISA
