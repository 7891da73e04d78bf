#include "platform.h"

#include <cstdlib>

namespace birkhoff {

void* alignedAllocate(size_t bytes) noexcept { return std::aligned_alloc(alignment, bytes); }

void alignedFree(void* memory) noexcept { std::free(memory); }

}  // namespace birkhoff
