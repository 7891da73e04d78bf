#include "platform.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>

namespace birkhoff {

void* alignedAllocate(size_t bytes) noexcept {
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

void alignedFree(void* memory) noexcept { std::free(memory); }

void* loadSymbol(const char* library, const char* symbol) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  void* address = handle ? dlsym(handle, symbol) : nullptr;
  if (!address) throw std::runtime_error(dlerror());
  return address;
}

}  // namespace birkhoff
