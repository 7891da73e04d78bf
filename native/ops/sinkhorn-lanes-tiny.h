// The gradient of a plain run that kept no record: one group of matrices is run again, and back, without leaving the
// nearest cache.
#pragma once

#include "sinkhorn-lanes-backward.h"
#include "sinkhorn-lanes-forward.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

struct Tiny : Forward {
  Backward back;

  Tiny(const Run& run, const Call& call, Context& context)
      : Forward(run, call.flag("uniform"), floats(context, call.inputs[0])),
        back(run, call.inputs[1].f32(), call.outputs[0].f32()) {}
  // Every mass is 1.
  bool ones() const { return plainRow() == 1 && plainColumn() == 1; }
};

// `ones` as above, `side` as in the two passes.
template <bool ones, int side = 0>
class TinyInLanes {
  using There = ForwardInLanes<true, side>;
  using Back = BackwardInLanes<ones, side>;

 public:
  static constexpr bool pairs = false;
  static int64_t area(const Tiny& run) { return There::area(run) + Back::area(run.back); }
  TinyInLanes(const Tiny& run, float* area) : there_(run, area), back_(run.back, area + There::area(run)) {}

  void operator()(int64_t first) {
    there_(first);
    back_.from(first, there_.shares(), there_.record());
  }

 private:
  There there_;
  Back back_;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
