// Products of matrices with transposes, repeated and summed batches; the maths is that of src/ops/matmul/reference.ts.
#include <vector>

#include "activation.h"
#include "gemm.h"
#include "half.h"
#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

using gemm::Alone, gemm::Epilogue, gemm::Product, gemm::product, gemm::productWork, gemm::taskOperations;

// One batch axis: strides in elements.
struct Axis {
  int64_t size, a, b, c;
};

// Threads take whole matrices of a batch with fewer multiplications than this, …
constexpr int64_t batchOperations = 1 << 20;
// … or whose work area (floats) stays in a thread's cache.
constexpr int64_t batchWork = 1 << 18;

// Whether `count` pieces of one size keep the threads busy for four fifths of the time.
bool even(int64_t count, int64_t threads) { return 5 * count >= 4 * threads * gemm::panels(count, threads); }

// Batch axes of all products, neighbours merged where all three operands allow it, split into those of the result and
// those summed.
void batchAxes(const Call& call, int64_t matrixA, int64_t matrixB, int64_t matrixC, std::vector<Axis>& kept,
               std::vector<Axis>& summed) {
  const std::vector<int64_t>&a = call.inputs[0].shape, &b = call.inputs[1].shape, &c = call.outputs[0].shape;
  const size_t rank = std::max(a.size(), b.size());
  std::vector<Axis> axes;
  Axis step{1, matrixA, matrixB, matrixC};
  for (size_t fromEnd = 3; fromEnd <= rank; fromEnd++) {
    const auto size = [&](const std::vector<int64_t>& shape) {
      return fromEnd <= shape.size() ? shape[shape.size() - fromEnd] : 1;
    };
    const int64_t all = size(a) == 1 ? size(b) : size(a);
    axes.insert(axes.begin(), {all, size(a) == 1 ? 0 : step.a, size(b) == 1 ? 0 : step.b, size(c) == 1 ? 0 : step.c});
    step.a *= size(a);
    step.b *= size(b);
    step.c *= size(c);
  }
  std::vector<Axis> merged;
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    if (!merged.empty()) {
      Axis& last = merged.back();
      if (last.a == axis.a * axis.size && last.b == axis.b * axis.size && last.c == axis.c * axis.size) {
        last = {last.size * axis.size, axis.a, axis.b, axis.c};
        continue;
      }
    }
    merged.push_back(axis);
  }
  for (const Axis& axis : merged) (axis.c != 0 ? kept : summed).push_back(axis);
}

int64_t count(const std::vector<Axis>& axes) {
  int64_t result = 1;
  for (const Axis& axis : axes) result *= axis.size;
  return result;
}

// Moves the operands to batch `number`.
void seek(Product& p, const std::vector<Axis>& axes, int64_t number) {
  for (size_t i = axes.size(); i-- > 0;) {
    const int64_t at = number % axes[i].size;
    number /= axes[i].size;
    p.a += at * axes[i].a;
    p.b += at * axes[i].b;
    p.c += at * axes[i].c;
  }
}

// Loops of all threads.
struct Shared {
  Context& context;
  int threads;
  template <class Body>
  void operator()(int64_t count, int64_t grain, Body&& body) const {
    context.parallel(count, grain, body);
  }
};

using Apply = decltype(Epilogue::apply);

// y = f(y), or null when the activation is none.
Apply activationOf(const std::string& kind) {
  Apply found = nullptr;
  withActivation(kind, [&]<class F>(F) {
    found = [](float* y, int64_t count) {
      int64_t i = 0;
      for (; i + lanes <= count; i += lanes) store(y + i, F{}(load(y + i)));
      if (i < count) storePartial(y + i, count - i, F{}(loadPartial(y + i, count - i)));
    };
  });
  return found;
}

}  // namespace

void matmul(const Call& call, Context& context) {
  const Tensor &a = call.inputs[0], &b = call.inputs[1], &c = call.outputs[0];
  const bool transposeA = call.flag("transposeA"), transposeB = call.flag("transposeB");
  Product p{};
  p.m = c.shape[c.shape.size() - 2];
  p.n = p.cRow = c.shape[c.shape.size() - 1];
  p.k = a.shape[a.shape.size() - (transposeA ? 2 : 1)];
  p.a = floats(context, a);
  p.b = floats(context, b);
  p.c = c.f32();
  p.bias = call.inputs.size() > 2 ? call.inputs[2].f32() : nullptr;
  p.aRow = transposeA ? 1 : p.k;
  p.aStep = transposeA ? p.m : 1;
  p.bStep = transposeB ? 1 : p.n;
  p.bColumn = transposeB ? p.k : 1;
  std::vector<Axis> kept, summed;
  batchAxes(call, p.m * p.k, p.k * p.n, p.m * p.n, kept, summed);
  // A batch that shares b is more rows of a; a summed one whose matrices lie behind each other along k is a longer k.
  while (!kept.empty() && kept.back().b == 0 && kept.back().a == p.m * p.aRow) {
    p.m *= kept.back().size;
    kept.pop_back();
  }
  while (!summed.empty() && summed.back().a == p.k * p.aStep && summed.back().b == p.k * p.bStep) {
    p.k *= summed.back().size;
    summed.pop_back();
  }
  const Epilogue epilogue{activationOf(call.text("activation")), p.c,
                          call.outputs.size() > 1 ? call.outputs[1].f32() : nullptr};
  if (epilogue.apply) p.epilogue = &epilogue;
  const int64_t batches = count(kept), sums = count(summed);
  if (p.k == 0 || sums == 0) {
    for (int64_t i = 0; i < c.size; i++) p.c[i] = p.bias ? p.bias[i % p.n] : 0.0f;
    finish(p, 0, 0, batches * p.m, p.n);
    return;
  }
  const auto one = [&](int64_t batch, float* work, auto&& parallel) {
    Product first = p;
    seek(first, kept, batch);
    for (int64_t q = 0; q < sums; q++) {
      Product next = first;
      seek(next, summed, q);
      next.accumulate = q > 0;
      if (q + 1 < sums) next.epilogue = nullptr;
      product(next, work, parallel);
    }
  };
  const int64_t operations = p.m * p.n * p.k;
  const int64_t each = productWork(p, 1);
  const bool together = operations >= batchOperations && (each > batchWork || !even(batches, context.threads()));
  if (batches == 1 || together) {
    float* work = context.scratch(productWork(p, context.threads()));
    const Shared parallel{context, context.threads()};
    for (int64_t batch = 0; batch < batches; batch++) one(batch, work, parallel);
    return;
  }
  float* work = context.scratch(each * context.threads());
  context.parallel(batches, std::max<int64_t>(1, taskOperations / (operations * sums)),
                   [&](int64_t begin, int64_t end, int thread) {
                     for (int64_t batch = begin; batch < end; batch++) one(batch, work + thread * each, Alone{});
                   });
}

// Sums of the columns of d, which is g, or g · f'(saved) where there is an activation. Chunks of rows have sums of
// their own, which are added in order.
void matmulBiasBackward(const Call& call, Context& context) {
  constexpr int64_t chunkElements = 1 << 15, mostChunks = 64;
  const float* g = call.inputs[0].f32();
  float* total = call.outputs[0].f32();
  const int64_t n = call.outputs[0].size, rows = n == 0 ? 0 : call.inputs[0].size / n;
  if (n == 0) return;
  const int64_t chunk = std::max(chunkElements / n + 1, (rows + mostChunks - 1) / mostChunks);
  const int64_t chunks = std::max<int64_t>(1, (rows + chunk - 1) / chunk);
  float* sums = chunks == 1 ? total : context.scratch(chunks * n);
  // `part(at, count)` gives the elements of d from `at` on.
  const auto add = [&](auto part) {
    context.parallel(chunks, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t piece = begin; piece < end; piece++) {
        float* to = sums + piece * n;
        std::fill_n(to, n, 0.0f);
        for (int64_t row = piece * chunk; row < std::min(rows, (piece + 1) * chunk); row++) {
          int64_t i = 0;
          for (; i + lanes <= n; i += lanes) store(to + i, load(to + i) + part(row * n + i, lanes));
          if (i < n) storePartial(to + i, n - i, loadPartial(to + i, n - i) + part(row * n + i, n - i));
        }
      }
    });
  };
  const auto some = [](const float* p, int64_t count) { return count == lanes ? load(p) : loadPartial(p, count); };
  const bool activated = withDerivative(call.text("activation"), [&](auto f) {
    const float* saved = call.inputs[1].f32();
    float* d = call.outputs[1].f32();
    add([&](int64_t at, int64_t count) {
      const vf v = f(some(g + at, count), some(saved + at, count));
      count == lanes ? store(d + at, v) : storePartial(d + at, count, v);
      return v;
    });
  });
  if (!activated) add([&](int64_t at, int64_t count) { return some(g + at, count); });
  if (chunks == 1) return;
  for (int64_t i = 0; i < n; i += lanes) {
    const int64_t count = std::min<int64_t>(lanes, n - i);
    vf sum{};
    for (int64_t piece = 0; piece < chunks; piece++) sum += some(sums + piece * n + i, count);
    storePartial(total + i, count, sum);
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA
