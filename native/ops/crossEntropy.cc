// Cross-entropy of softmax(logits) against labels. A work item is a row: its largest logit, then its exponentials, while it is in the cache.
#include <algorithm>
#include <limits>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work.
constexpr int64_t grain = 1 << 12;
// Exponentials summed in float before the sum goes on in double.
constexpr int64_t runLength = 64 * lanes;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

// The row's vectors one after the other; the last one is filled up with `filler`.
template <class Use>
void alongRow(const float* row, int64_t begin, int64_t end, float filler, Use use) {
  int64_t c = begin;
  for (; c + lanes <= end; c += lanes) use(load(row + c));
  if (c == end) return;
  float last[lanes];
  for (int64_t i = 0; i < lanes; i++) last[i] = c + i < end ? row[c + i] : filler;
  use(load(last));
}

float largest(const float* row, int64_t classes) {
  vf most = broadcast(-infinity);
  alongRow(row, 0, classes, -infinity, [&](vf v) { most = max(most, v); });
  return maxOf(most);
}

// Σ f(logit) over the row; f must be 0 at `filler`.
template <class F>
double total(const float* row, int64_t classes, float filler, F f) {
  double result = 0;
  for (int64_t c = 0; c < classes; c += runLength) {
    vf part{};
    alongRow(row, c, std::min(classes, c + runLength), filler, [&](vf v) { part += f(v); });
    result += static_cast<double>(sum(part));
  }
  return result;
}

bool isFinite(float x) { return x - x == 0; }

}  // namespace

void crossEntropyForward(const Call& call, Context& context) {
  const Tensor& logits = call.inputs[0];
  const int64_t batch = logits.shape[0], classes = logits.shape[1];
  const int32_t* labels = call.inputs[1].i32();
  const std::string& reduction = call.text("reduction");
  const bool smooth = call.flag("smooth");
  const float smoothing = static_cast<float>(call.scalar("smoothing"));
  float* statistics = call.outputs[1].f32();
  float* losses = reduction == "none" ? call.outputs[0].f32() : context.scratch(batch);
  for (int64_t b = 0; b < batch; b++) {
    if (labels[b] >= 0 && labels[b] < classes) continue;
    context.fault(labels[b]);
    break;
  }
  context.parallel(batch, grain / classes + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++) {
      const float* row = logits.f32() + b * classes;
      const float most = largest(row, classes);
      const bool finite = isFinite(most);
      const float exponentials = finite ? static_cast<float>(total(row, classes, -infinity, [most](vf v) { return exp(v - most); })) : nan;
      statistics[2 * b] = finite ? most : 0;
      statistics[2 * b + 1] = exponentials;
      const int32_t label = labels[b];
      if (!finite || label < 0 || label >= classes) {
        losses[b] = nan;
        continue;
      }
      const float logs = __builtin_logf(exponentials);
      float loss = (most - row[label]) + logs;
      if (smooth) {
        const double below = total(row, classes, most, [most](vf v) { return most - v; });
        loss = (1 - smoothing) * loss + smoothing * (static_cast<float>(below / static_cast<double>(classes)) + logs);
      }
      losses[b] = loss;
    }
  });
  if (reduction == "none") return;
  double all = 0;
  for (int64_t b = 0; b < batch; b++) all += static_cast<double>(losses[b]);
  call.outputs[0].f32()[0] = static_cast<float>(reduction == "mean" ? all / static_cast<double>(batch) : all);
}

void crossEntropyBackward(const Call& call, Context& context) {
  const Tensor& logits = call.inputs[1];
  const int64_t batch = logits.shape[0], classes = logits.shape[1];
  const float* g = call.inputs[0].f32();
  const int32_t* labels = call.inputs[2].i32();
  const float* statistics = call.inputs[3].f32();
  const std::string& reduction = call.text("reduction");
  const bool perRow = reduction == "none";
  const float over = reduction == "mean" ? 1.0f / static_cast<float>(batch) : 1.0f;
  const float smoothing = static_cast<float>(call.scalar("smoothing"));
  const float even = smoothing / static_cast<float>(classes);
  float* dlogits = call.outputs[0].f32();
  context.parallel(batch, grain / classes + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++) {
      const float scale = over * g[perRow ? b : 0];
      const float* row = logits.f32() + b * classes;
      float* d = dlogits + b * classes;
      const int32_t label = labels[b];
      if (label < 0 || label >= classes) {
        std::fill(d, d + classes, nan);
        continue;
      }
      const float most = statistics[2 * b], share = 1.0f / statistics[2 * b + 1];
      const auto value = [&](vf v) { return scale * (exp(v - most) * share - even); };
      int64_t c = 0;
      for (; c + lanes <= classes; c += lanes) store(d + c, value(load(row + c)));
      if (c < classes) storePartial(d + c, classes - c, value(loadPartial(row + c, classes - c)));
      d[label] -= scale * (1 - smoothing);
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
