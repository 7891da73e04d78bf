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

void forwardInLanes(const sinkhorn::Forward& run) {
  if (!run.plain()) return sinkhorn::eachGroup<sinkhorn::ForwardInLanes<false>>(run);
  sinkhorn::isTiny(run.sides) ? sinkhorn::eachGroup<sinkhorn::ForwardInLanes<true, sinkhorn::tiny>>(run)
                              : sinkhorn::eachGroup<sinkhorn::ForwardInLanes<true>>(run);
}

}  // namespace

void sinkhornForward(const Call& call, Context& context) {
  const sinkhorn::Forward run(call, context);
  inLanes(run) ? forwardInLanes(run) : sinkhorn::eachMatrix<sinkhorn::ForwardInRows>(run);
}

void sinkhornBackward(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  inLanes(run) ? sinkhorn::backwardInLanes(run) : sinkhorn::eachMatrix<sinkhorn::BackwardInRows>(run);
}

void sinkhornTiny(const Call& call, Context& context) {
  const Tensor& logits = call.inputs[0];
  const sinkhorn::Sides sides(logits, call.text("order") == "column");
  const sinkhorn::Run run(sides, call.integer("iterations"), call.scalar("temperature"), context);
  const sinkhorn::Forward there(run, call.flag("uniform"), logits.f32());
  const sinkhorn::Backward back(run, call.inputs[1].f32(), call.outputs[0].f32());
  if (there.plainRow() != 1 || there.plainColumn() != 1) return sinkhorn::tinyBackward<false>(there, back);
  sinkhorn::isTiny(sides) ? sinkhorn::tinyBackward<true, sinkhorn::tiny>(there, back)
                          : sinkhorn::tinyBackward<true>(there, back);
}

void sinkhornImplicit(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  inLanes(run) ? sinkhorn::eachGroup<sinkhorn::ImplicitInLanes>(run)
               : sinkhorn::eachMatrix<sinkhorn::ImplicitInRows>(run);
}

}  // namespace birkhoff::BIRKHOFF_ISA
