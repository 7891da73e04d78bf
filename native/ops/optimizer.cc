// SGD and AdamW in place on all parameters of a group, the norm of many gradients, and clipping by it.
// The formulas are those of src/ops/optimizer/reference.ts.
#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work, and per partial sum of the norm.
constexpr int64_t grain = 16384;

vf take(const float* p, int64_t n) { return n >= lanes ? load(p) : loadPartial(p, n); }
void put(float* p, int64_t n, vf v) { n >= lanes ? store(p, v) : storePartial(p, n, v); }

// f(k, begin, end) for pieces of the tensors first … first + count - 1 of `list`, all of them in one parallel loop.
template <class F>
void eachPiece(Context& context, const std::vector<Tensor>& list, int64_t first, int64_t count, F&& f) {
  int64_t total = 0;
  for (int64_t k = 0; k < count; k++) total += list[first + k].size;
  context.parallel(total, grain, [&](int64_t begin, int64_t end, int) {
    int64_t start = 0;
    for (int64_t k = 0; k < count && start < end; k++) {
      const int64_t size = list[first + k].size;
      const int64_t from = std::max(begin, start) - start, to = std::min(end, start + size) - start;
      if (from < to) f(k, from, to);
      start += size;
    }
  });
}

// min(1, limit / (norm + 1e-6)), NaN for a NaN norm.
float clipFactor(float norm, float limit) {
  const float factor = limit / (norm + 1e-6f);
  return factor > 1.0f ? 1.0f : factor;
}

struct Slice {
  float *parameter, *state;
  const float* gradient;
};

// update(slice, i, n) for vectors of n elements at i of every parameter.
template <class F>
void eachParameter(const Call& call, Context& context, F&& update) {
  const std::vector<int64_t>& offsets = call.integers("offsets");
  const int64_t count = static_cast<int64_t>(offsets.size());
  eachPiece(context, call.inputs, 1, count, [&](int64_t k, int64_t begin, int64_t end) {
    float* state = call.inputs[0].size > 0 ? call.inputs[0].f32() + offsets[k] : nullptr;
    const Slice slice{call.inputs[1 + k].f32(), state, call.inputs[1 + count + k].f32()};
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) update(slice, i, static_cast<int64_t>(lanes));
    if (i < end) update(slice, i, end - i);
  });
}

float factorOf(const Call& call) {
  return call.flag("clip") ? clipFactor(*call.inputs.back().f32(), static_cast<float>(call.scalar("limit"))) : 1.0f;
}

}  // namespace

void optimizerSgd(const Call& call, Context& context) {
  const float lr = static_cast<float>(call.scalar("lr")), momentum = static_cast<float>(call.scalar("momentum"));
  const float decay = static_cast<float>(call.scalar("decay")), factor = factorOf(call);
  const bool velocity = call.flag("velocity"), nesterov = call.flag("nesterov");
  eachParameter(call, context, [&](const Slice& s, int64_t i, int64_t n) {
    const vf weight = take(s.parameter + i, n);
    vf d = take(s.gradient + i, n) * factor + decay * weight;
    if (velocity) {
      const vf v = momentum * take(s.state + i, n) + d;
      put(s.state + i, n, v);
      d = nesterov ? d + momentum * v : v;
    }
    put(s.parameter + i, n, weight - lr * d);
  });
}

void optimizerAdamw(const Call& call, Context& context) {
  const float keep = static_cast<float>(call.scalar("keep")), rate1 = static_cast<float>(call.scalar("rate1"));
  const float beta2 = static_cast<float>(call.scalar("beta2")), rate2 = static_cast<float>(call.scalar("rate2"));
  const float step = static_cast<float>(call.scalar("step")), eps = static_cast<float>(call.scalar("eps"));
  const float correction = static_cast<float>(call.scalar("correction")), factor = factorOf(call);
  const int64_t total = call.inputs[0].size / 2;
  eachParameter(call, context, [&](const Slice& s, int64_t i, int64_t n) {
    const vf g = take(s.gradient + i, n) * factor;
    vf first = take(s.state + i, n), second = take(s.state + total + i, n);
    first += rate1 * (g - first);
    second = beta2 * second + rate2 * g * g;
    put(s.state + i, n, first);
    put(s.state + total + i, n, second);
    // The lanes past the end hold 0 / eps, or 0 / 0 that nobody sees.
    put(s.parameter + i, n, keep * take(s.parameter + i, n) - step * first / (sqrt(second) * correction + eps));
  });
}

void optimizerNorm(const Call& call, Context& context) {
  int64_t pieces = 0;
  for (const Tensor& tensor : call.inputs) pieces += (tensor.size + grain - 1) / grain;
  // One sum for every piece of one tensor, so that the result does not depend on the number of threads.
  struct Piece {
    const float* data;
    int64_t count;
    double sum;
  };
  Piece* list = reinterpret_cast<Piece*>(
      context.scratch(std::max<int64_t>(1, pieces) * static_cast<int64_t>(sizeof(Piece) / sizeof(float))));
  pieces = 0;
  for (const Tensor& tensor : call.inputs) {
    for (int64_t i = 0; i < tensor.size; i += grain)
      list[pieces++] = {tensor.f32() + i, std::min(grain, tensor.size - i), 0.0};
  }
  context.parallel(pieces, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; k++) {
      const float* data = list[k].data;
      const int64_t count = list[k].count;
      vf sums[4] = {};
      int64_t i = 0;
      for (; i + 4 * lanes <= count; i += 4 * lanes) {
        for (int j = 0; j < 4; j++) {
          const vf g = load(data + i + j * lanes);
          sums[j] = fma(g, g, sums[j]);
        }
      }
      for (; i < count; i += lanes) {
        const vf g = take(data + i, count - i);
        sums[0] = fma(g, g, sums[0]);
      }
      list[k].sum = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
  });
  double total = 0;
  for (int64_t k = 0; k < pieces; k++) total += list[k].sum;
  const float norm = static_cast<float>(std::sqrt(total));
  *call.outputs[0].f32() = norm;
  if (call.flag("check") && !std::isfinite(norm)) context.fault(norm);
}

void optimizerClip(const Call& call, Context& context) {
  const float factor = clipFactor(*call.inputs.back().f32(), static_cast<float>(call.scalar("limit")));
  eachPiece(context, call.inputs, 0, static_cast<int64_t>(call.outputs.size()),
            [&](int64_t k, int64_t begin, int64_t end) {
              const float* g = call.inputs[k].f32();
              float* y = call.outputs[k].f32();
              int64_t i = begin;
              for (; i + lanes <= end; i += lanes) store(y + i, load(g + i) * factor);
              if (i < end) storePartial(y + i, end - i, loadPartial(g + i, end - i) * factor);
            });
}

}  // namespace birkhoff::BIRKHOFF_ISA
