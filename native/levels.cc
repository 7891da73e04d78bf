#include "kernels.h"

namespace birkhoff {

std::vector<Level> availableLevels() {
  std::vector<Level> levels;
#if defined(__x86_64__)
  // These also ask whether the operating system saves the registers.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
    levels.push_back({"avx512", avx512::kernels});
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) levels.push_back({"avx2", avx2::kernels});
  levels.push_back({"portable", portable::kernels});
#elif defined(__aarch64__)
  levels.push_back({"neon", neon::kernels});
#else
  levels.push_back({"portable", portable::kernels});
#endif
  return levels;
}

Kernel findKernel(const Level& level, std::string_view op) {
  for (const KernelEntry& entry : level.kernels()) {
    if (entry.op == op) return entry.kernel;
  }
  return nullptr;
}

}  // namespace birkhoff
