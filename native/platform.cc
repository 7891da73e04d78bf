#include "platform.h"

#if defined(_WIN32)
#include <malloc.h>
#define NOMINMAX
#include <windows.h>
#else
#include <dlfcn.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace birkhoff {

#if defined(_WIN32)

void* alignedAllocate(size_t bytes) noexcept { return _aligned_malloc(bytes, alignment); }

void alignedFree(void* memory) noexcept { _aligned_free(memory); }

void* loadSymbol(const char* library, const char* symbol) {
  // Paths arrive in UTF-8.
  const int length = MultiByteToWideChar(CP_UTF8, 0, library, -1, nullptr, 0);
  std::wstring path(static_cast<size_t>(length > 0 ? length : 1), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, library, -1, path.data(), length);
  const HMODULE handle = LoadLibraryW(path.c_str());
  void* address = handle ? reinterpret_cast<void*>(GetProcAddress(handle, symbol)) : nullptr;
  if (!address) {
    const std::string reason = "error " + std::to_string(GetLastError());
    throw std::runtime_error(std::string(library) +
                             (handle ? std::string(": no symbol ") + symbol : ": cannot be loaded") + ", " + reason);
  }
  return address;
}

#else

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

#endif

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
