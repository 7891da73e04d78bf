// The gradient of a plain run that kept no record: one group of matrices is run again, and back, without leaving the
// nearest cache.
#pragma once

#include "sinkhorn-lanes-backward.h"
#include "sinkhorn-lanes-forward.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// `ones`: every mass is 1.
template <bool ones>
void tinyBackward(const Forward& run, const Backward& back) {
  const int64_t forwardArea = ForwardInLanes<true>::area(run), area = forwardArea + BackwardInLanes<ones>::area(back);
  float* scratch = run.context->scratch(area * run.context->threads());
  run.context->parallel(groupsOf(run.sides), grainInLanes(run), [&](int64_t begin, int64_t end, int thread) {
    ForwardInLanes<true> there(run, scratch + thread * area);
    BackwardInLanes<ones> andBack(back, scratch + thread * area + forwardArea);
    for (int64_t group = begin; group < end; group++) {
      there(group * lanes);
      andBack.from(group * lanes, there.shares(), there.record());
    }
  });
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
