// The kernels of each instruction-set level that this build holds.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel.h"

namespace birkhoff {

#if defined(__x86_64__) || defined(_M_X64)
namespace portable {
std::span<const KernelEntry> kernels();
}
namespace avx2 {
std::span<const KernelEntry> kernels();
}
namespace avx512 {
std::span<const KernelEntry> kernels();
}
#elif defined(__aarch64__)
namespace neon {
std::span<const KernelEntry> kernels();
}
#else
namespace portable {
std::span<const KernelEntry> kernels();
}
#endif

struct Level {
  const char* name;
  std::span<const KernelEntry> (*kernels)();
};

// Levels that this processor can run, best first; never empty.
std::vector<Level> availableLevels();

// Null when the level has no kernel of that name.
Kernel findKernel(const Level& level, std::string_view op);

}  // namespace birkhoff
