// The kernels of each instruction-set level that this build holds.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "kernel.h"

namespace birkhoff {

using KernelTable = std::span<const KernelEntry> (*)();

#define BIRKHOFF_LEVEL(name)                   \
  namespace name {                             \
  std::span<const KernelEntry> kernels();      \
  std::span<const KernelEntry> probeKernels(); \
  std::span<const KernelEntry> testKernels();  \
  }
#if defined(__x86_64__)
BIRKHOFF_LEVEL(portable)
BIRKHOFF_LEVEL(avx2)
BIRKHOFF_LEVEL(avx512)
#elif defined(__aarch64__)
BIRKHOFF_LEVEL(neon)
#else
BIRKHOFF_LEVEL(portable)
#endif
#undef BIRKHOFF_LEVEL

struct Level {
  const char* name = "";
  std::vector<KernelTable> tables;

  // Null when the level has no kernel of that name.
  Kernel find(std::string_view op) const;
};

// Levels that this processor can run, best first; never empty.
std::vector<Level> availableLevels();

}  // namespace birkhoff
