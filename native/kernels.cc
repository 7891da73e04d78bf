// Every native kernel, by op. Compiled once per instruction-set level, like the rooms in ops/.
// A room adds one block of declarations and one line per op.
#include "kernels.h"

namespace birkhoff::BIRKHOFF_ISA {

#define KERNEL(function) void function(const Call& call, Context& context)

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

#undef KERNEL

namespace {
constexpr KernelEntry table[] = {
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
};
}  // namespace

std::span<const KernelEntry> kernels() { return table; }

}  // namespace birkhoff::BIRKHOFF_ISA
