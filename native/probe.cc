// For the benches: what a processor can do at most (multiply-adds on registers, copies beyond the caches), and what
// plain loops make of it.
#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

namespace {

// Chains of multiply-adds that do not wait for one another: two units of a latency of four to five need ten, and with
// the two factors they fit into the sixteen registers of the older instruction sets.
constexpr int chains = 12;

// y[i] = the end of item i's chains, so that none of them is left out: 2 · chains · lanes · rounds operations an item.
// With lanes of 16, 8 or 4, `flop` an item is a multiple of 384.
void fmaPeak(const Call& call, Context& context) {
  const Tensor& y = call.outputs[0];
  const auto rounds = static_cast<int64_t>(call.scalar("flop")) / (2 * chains * lanes);
  context.parallel(y.size, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) {
      vf sums[chains];
      for (int c = 0; c < chains; c++) sums[c] = broadcast(static_cast<float>(item + c));
      const vf factor = broadcast(0.999f), term = broadcast(0.001f);
      for (int64_t round = 0; round < rounds; round++) {
        for (int c = 0; c < chains; c++) sums[c] = fma(sums[c], factor, term);
      }
      vf all{};
      for (int c = 0; c < chains; c++) all = all + sums[c];
      y.f32()[item] = sum(all);
    }
  });
}

// y = x, `repeat` times, by the library's own copy, which goes past the caches where that is faster.
void copyPeak(const Call& call, Context& context) {
  const Tensor& x = call.inputs[0];
  const auto repeat = static_cast<int64_t>(call.scalar("repeat"));
  const int64_t grain = std::max<int64_t>(1, x.size / context.threads());
  for (int64_t i = 0; i < repeat; i++) {
    context.parallel(x.size, grain, [&](int64_t begin, int64_t end, int) {
      std::memcpy(call.outputs[0].f32() + begin, x.f32() + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
}

// c = a · b by three loops, the innermost along rows of b: what the benches measure products against.
void plainMatmul(const Call& call, Context& context) {
  const Tensor &a = call.inputs[0], &b = call.inputs[1], &c = call.outputs[0];
  const int64_t m = a.shape[a.shape.size() - 2], k = a.shape.back(), n = c.shape.back();
  context.parallel(c.size / std::max<int64_t>(1, n), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      float* to = c.f32() + row * n;
      std::fill_n(to, n, 0.0f);
      for (int64_t l = 0; l < k; l++) {
        const float factor = a.f32()[row * k + l];
        const float* from = b.f32() + (row / m * k + l) * n;
        for (int64_t j = 0; j < n; j++) to[j] += factor * from[j];
      }
    }
  });
}

constexpr KernelEntry table[] = {
    {"probe.fma", fmaPeak},
    {"probe.copy", copyPeak},
    {"probe.matmul", plainMatmul},
};

}  // namespace

std::span<const KernelEntry> probeKernels() { return table; }

}  // namespace birkhoff::BIRKHOFF_ISA
