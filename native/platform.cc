#include "platform.h"

#include <dlfcn.h>
#if defined(__linux__)
#include <sched.h>
#endif

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

#if defined(__linux__)

int currentProcessor() noexcept { return sched_getcpu(); }

void keepOff(std::thread& other, int processor, int fewest) noexcept {
  cpu_set_t allowed;
  // Process 0 is the calling thread, whose set nobody has narrowed. Fails where there are more processors than bits.
  if (processor < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  CPU_CLR(processor, &allowed);
  if (CPU_COUNT(&allowed) >= fewest) pthread_setaffinity_np(other.native_handle(), sizeof allowed, &allowed);
}

#else

int currentProcessor() noexcept { return -1; }

void keepOff(std::thread&, int, int) noexcept {}

#endif

}  // namespace birkhoff
