// What a kernel sees: one op call and the means to run it. No Node, no allocator, no queue.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "parallel.h"

namespace birkhoff {

enum class DType { float32, int32, uint32, float16 };

constexpr int64_t bytesOf(DType dtype) { return dtype == DType::float16 ? 2 : 4; }

// One operand: dense, row-major. `data` is null or one past nothing that may be read when `size` is 0.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::float32;
  std::vector<int64_t> shape;
  int64_t size = 0;  // number of elements

  float* f32() const { return static_cast<float*>(data); }
  int32_t* i32() const { return static_cast<int32_t*>(data); }
  uint32_t* u32() const { return static_cast<uint32_t*>(data); }
  uint16_t* f16() const { return static_cast<uint16_t*>(data); }
  int64_t bytes() const { return size * bytesOf(dtype); }
};

using Attr = std::variant<double, bool, std::string, std::vector<int64_t>>;

// Built once per interned call and reused: only `data` and `scalars` change from run to run.
// The accessors throw std::logic_error for a name or type that TypeScript did not send.
struct Call {
  std::vector<Tensor> inputs, outputs;
  std::vector<std::pair<std::string, Attr>> attrs;
  std::vector<std::string> scalarNames;
  std::vector<double> scalars;

  int64_t integer(const char* attr) const;
  double number(const char* attr) const;
  bool flag(const char* attr) const;
  const std::string& text(const char* attr) const;
  const std::vector<int64_t>& integers(const char* attr) const;
  double scalar(const char* name) const;
};

class Scratch;

class Context {
 public:
  Context(Pool& pool, Scratch& scratch) : pool_(pool), scratch_(scratch) {}

  // Threads that `parallel` may use; its `thread` is below this.
  int threads() const { return pool_.threads(); }

  // Splits [0, count) into pieces of at least `grain` and runs body(begin, end, thread) on the pool; returns when all
  // are done. The split depends on count, grain and threads() alone, but which thread takes which piece does not:
  // use `thread` to find a private work area, never to carry a sum from piece to piece.
  template <class F>
  void parallel(int64_t count, int64_t grain, F&& body) {
    using Body = std::remove_reference_t<F>;
    pool_.split(
        count, grain,
        [](const void* closure, int64_t begin, int64_t end, int thread) {
          (*static_cast<Body*>(const_cast<void*>(closure)))(begin, end, thread);
        },
        static_cast<const void*>(&body));
  }

  // A 64-byte aligned area with undefined contents, valid until the kernel returns. For the kernel's own thread,
  // outside of `parallel`. Several calls give several areas.
  float* scratch(int64_t floats);

  // The data broke the op's precondition; `value` is what came. The first fault wins. From any thread.
  void fault(double value) { faults_.report(value); }

  bool faulted() const { return faults_.any(); }
  double faultValue() const { return faults_.value(); }

 private:
  class Faults {
   public:
    void report(double value) {
      if (!claimed_.exchange(true)) value_.store(value);
    }
    bool any() const { return claimed_.load(); }
    double value() const { return value_.load(); }

   private:
    std::atomic<bool> claimed_{false};
    std::atomic<double> value_{0};
  };

  Pool& pool_;
  Scratch& scratch_;
  Faults faults_;
};

using Kernel = void (*)(const Call& call, Context& context);

// One line of kernels.cc: `op` is exactly the `Op.name` of TypeScript.
struct KernelEntry {
  std::string_view op;
  Kernel kernel;
};

}  // namespace birkhoff
