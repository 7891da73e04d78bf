#include "kernels.h"

// The tests' own addon and driver have some kernels more. Nothing else refers to those, so nothing else links them.
#if defined(BIRKHOFF_TEST)
#define BIRKHOFF_TABLES(level) \
  { level::kernels, level::probeKernels, level::testKernels }
#else
#define BIRKHOFF_TABLES(level) \
  { level::kernels, level::probeKernels }
#endif

namespace birkhoff {

std::vector<Level> availableLevels() {
  std::vector<Level> levels;
#if defined(__x86_64__)
  // These also ask whether the operating system saves the registers.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
    levels.push_back({"avx512", BIRKHOFF_TABLES(avx512)});
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    levels.push_back({"avx2", BIRKHOFF_TABLES(avx2)});
  }
  levels.push_back({"portable", BIRKHOFF_TABLES(portable)});
#elif defined(__aarch64__)
  levels.push_back({"neon", BIRKHOFF_TABLES(neon)});
#else
  levels.push_back({"portable", BIRKHOFF_TABLES(portable)});
#endif
  return levels;
}

Kernel Level::find(std::string_view op) const {
  for (const KernelTable table : tables) {
    for (const KernelEntry& entry : table()) {
      if (entry.op == op) return entry.kernel;
    }
  }
  return nullptr;
}

}  // namespace birkhoff
