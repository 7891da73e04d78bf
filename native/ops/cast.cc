// Numbers in another precision.
#include "half.h"

namespace birkhoff::BIRKHOFF_ISA {

void cast(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &y = call.outputs[0];
  y.dtype == DType::float16 ? narrow(context, x.f32(), y.f16(), x.size) : widen(context, x.f16(), y.f32(), x.size);
}

}  // namespace birkhoff::BIRKHOFF_ISA
