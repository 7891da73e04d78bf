// The gradient of a plain run that kept no record: one group of matrices is run again, and back, without leaving the
// nearest cache.
#pragma once

#include "sinkhorn-lanes-backward.h"
#include "sinkhorn-lanes-forward.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// `ones`: every mass is 1. `side` as in the two passes.
template <bool ones, int side = 0>
void tinyBackward(const Forward& run, const Backward& back) {
  using There = ForwardInLanes<true, side>;
  using Back = BackwardInLanes<ones, side>;
  const int64_t groups = (run.sides.count + lanes - 1) / lanes;
  const int64_t forwardArea = There::area(run), area = forwardArea + Back::area(back);
  const int64_t grain = std::max<int64_t>(1, 40000 / (run.sides.size() * run.iterations + 1));
  float* scratch = run.context->scratch(area * run.context->threads());
  run.context->parallel(groups, grain, [&](int64_t begin, int64_t end, int thread) {
    There there(run, scratch + thread * area);
    Back andBack(back, scratch + thread * area + forwardArea);
    for (int64_t group = begin; group < end; group++) {
      there(group * lanes);
      andBack.from(group * lanes, there.shares(), there.record());
    }
  });
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
