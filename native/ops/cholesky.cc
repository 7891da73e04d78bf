// The inverse of a Cholesky factor; the maths is that of src/ops/cholesky/reference.ts.
#include <algorithm>

#include "gemm.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Columns that are factorised together, and vectors of columns of the inverse that one thread takes.
constexpr int64_t block = 32;
constexpr int stripVectors = 2;
constexpr int64_t strip = stripVectors * lanes;
constexpr float pivotEps = 1.1920929e-7f;

struct Factor {
  Context& context;
  const float* a;
  float* l;
  int64_t n;

  float root(float pivot, float entry) const {
    if (pivot > static_cast<float>(n) * pivotEps * entry && pivot < infinity) return __builtin_sqrtf(pivot);
    context.fault(static_cast<double>(pivot));
    return 1;
  }
  // Elements [first, end) of a row, from what the columns before them bring.
  void solve(int64_t row, int64_t first, int64_t end) const {
    float* own = l + row * n;
    for (int64_t j = first; j < std::min(end, row + 1); j++) {
      const float rest = a[row * n + j] - gemm::dot(own, l + j * n, j);
      own[j] = j == row ? root(rest, a[row * n + j]) : rest / l[j * n + j];
    }
  }
};

}  // namespace

void cholesky(const Call& call, Context& context) {
  const int64_t n = call.inputs[0].shape[0];
  if (n == 0) return;
  const Factor factor{context, call.inputs[0].f32(), context.scratch(n * n), n};
  for (int64_t first = 0; first < n; first += block) {
    const int64_t end = std::min(n, first + block);
    for (int64_t row = first; row < end; row++) factor.solve(row, first, end);
    context.parallel(n - end, gemm::taskOperations / 4 / (end * block) + 1, [&](int64_t begin, int64_t stop, int) {
      for (int64_t row = begin; row < stop; row++) factor.solve(end + row, first, end);
    });
  }
  const float* l = factor.l;
  float* w = call.outputs[0].f32();
  // Rows of a strip of W lie behind each other while they are made.
  float* areas = context.scratch(n * strip * context.threads());
  context.parallel((n + strip - 1) / strip, 1, [&](int64_t begin, int64_t stop, int thread) {
    float* made = areas + thread * n * strip;
    for (int64_t i = begin; i < stop; i++) {
      const int64_t first = i * strip, columns = std::min(strip, n - first);
      for (int64_t row = 0; row < n; row++) {
        float* to = w + row * n + first;
        if (row < first) {
          std::fill_n(to, columns, 0.0f);
          continue;
        }
        vf sums[1][stripVectors] = {};
        addProducts<false>(sums, row - first, l + row * n + first, 0, 1, made, strip);
        float* own = made + (row - first) * strip;
        for (int v = 0; v < stripVectors; v++) store(own + v * lanes, -sums[0][v]);
        if (row < first + columns) own[row - first] += 1;
        for (int v = 0; v < stripVectors; v++) store(own + v * lanes, load(own + v * lanes) / l[row * n + row]);
        std::copy_n(own, columns, to);
      }
    }
  });
}

void choleskyLower(const Call& call, Context& context) {
  const int64_t n = call.inputs[0].shape[0];
  const float* x = call.inputs[0].f32();
  float* y = call.outputs[0].f32();
  const bool fold = call.flag("fold");
  context.parallel(n, gemm::taskOperations / 4 / std::max<int64_t>(1, n) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      for (int64_t c = 0; c <= row; c++) y[row * n + c] = fold ? -(x[row * n + c] + x[c * n + row]) : x[row * n + c];
      y[row * n + row] /= 2;
      std::fill_n(y + row * n + row + 1, n - row - 1, 0.0f);
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
