// Every native kernel, by op. Compiled once per instruction-set level, like the rooms in ops/.
// A room adds one block of declarations and one line per op.
#include "kernels.h"

#include <initializer_list>

namespace birkhoff::BIRKHOFF_ISA {

#define KERNEL(function) void function(const Call& call, Context& context)

KERNEL(elementwiseUnary);
KERNEL(elementwiseUnaryBackward);
KERNEL(elementwiseAffine);
KERNEL(elementwiseBinary);
KERNEL(elementwiseBinaryBackward);

#undef KERNEL

namespace {
constexpr std::initializer_list<KernelEntry> table = {
    {"elementwise.unary", elementwiseUnary},
    {"elementwise.unaryBackward", elementwiseUnaryBackward},
    {"elementwise.affine", elementwiseAffine},
    {"elementwise.binary", elementwiseBinary},
    {"elementwise.binaryBackward", elementwiseBinaryBackward},
};
}  // namespace

std::span<const KernelEntry> kernels() { return {table.begin(), table.size()}; }

}  // namespace birkhoff::BIRKHOFF_ISA
