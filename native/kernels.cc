// Every native kernel, by op. Compiled once per instruction-set level, like the rooms in ops/.
// A room adds one block of declarations and one line per op.
#include "kernels.h"

#include <initializer_list>

namespace birkhoff::BIRKHOFF_ISA {

#define KERNEL(function) void function(const Call& call, Context& context)

#undef KERNEL

namespace {
constexpr std::initializer_list<KernelEntry> table = {
};
}  // namespace

std::span<const KernelEntry> kernels() { return {table.begin(), table.size()}; }

}  // namespace birkhoff::BIRKHOFF_ISA
