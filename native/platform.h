// Everything that differs between operating systems and processors, apart from the vector type in simd.h.
#pragma once

#include <cstddef>
#include <thread>

namespace birkhoff {

inline constexpr size_t alignment = 64;

// The address sanitizer sees an access past the end only where nothing was rounded up.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool exactSizes = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool exactSizes = true;
#else
inline constexpr bool exactSizes = false;
#endif
#else
inline constexpr bool exactSizes = false;
#endif

// Null when there is no memory.
void* alignedAllocate(size_t bytes) noexcept;
void alignedFree(void* memory) noexcept;

// The address of a symbol in a shared library, which stays loaded. Throws std::runtime_error with the system's reason.
void* loadSymbol(const char* library, const char* symbol);

// Tells the processor that this thread is waiting in a loop.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Where the calling thread runs now; -1 where the system does not say.
int currentProcessor() noexcept;

// Lets `other` run on every processor that this process may use but `processor`, if those are at least `fewest`.
// Does nothing where the system has no such thing.
void keepOff(std::thread& other, int processor, int fewest) noexcept;

}  // namespace birkhoff
