#include "platform.h"

#include <cstdlib>

namespace birkhoff {

void* alignedAllocate(size_t bytes) noexcept {
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

void alignedFree(void* memory) noexcept { std::free(memory); }

}  // namespace birkhoff
