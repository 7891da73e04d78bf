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

#undef KERNEL

namespace {
constexpr KernelEntry table[] = {
    {"elementwise.unary", elementwiseUnary},
    {"elementwise.unaryBackward", elementwiseUnaryBackward},
    {"elementwise.affine", elementwiseAffine},
    {"elementwise.binary", elementwiseBinary},
    {"elementwise.binaryBackward", elementwiseBinaryBackward},
};
}  // namespace

std::span<const KernelEntry> kernels() { return table; }

}  // namespace birkhoff::BIRKHOFF_ISA
