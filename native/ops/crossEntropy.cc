// Cross-entropy of softmax(logits) against labels. A work item is a row: its largest logit, then its exponentials,
// while it is in the cache.
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

// With fewer classes, every lane takes a row of its own.
constexpr int64_t fewClasses = 2 * lanes;

struct Forward {
  const float* logits;
  const int32_t* labels;
  float* losses;
  float* statistics;
  int64_t classes;
  bool smooth;
  float smoothing;
};

// Up to `lanes` rows from row b on.
void rowsAtOnce(const Forward& f, int64_t b, int64_t rows) {
  float columns[fewClasses][lanes] = {};
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t c = 0; c < f.classes; c++) columns[c][i] = f.logits[(b + i) * f.classes + c];
  }
  vf most = load(columns[0]), exponentials{}, below{};
  for (int64_t c = 1; c < f.classes; c++) most = max(most, load(columns[c]));
  for (int64_t c = 0; c < f.classes; c++) {
    const vf distance = load(columns[c]) - most;
    exponentials += exp(distance);
    below -= distance;
  }
  const vf own = [&] {
    float picked[lanes] = {};
    for (int64_t i = 0; i < rows; i++) {
      const int32_t label = f.labels[b + i];
      picked[i] = label >= 0 && label < f.classes ? columns[label][i] : nan;
    }
    return load(picked);
  }();
  const vi finite = most - most == 0.0f;
  const vf logs = log(exponentials);
  vf loss = select(finite, most - own, broadcast(nan)) + logs;
  if (f.smooth) loss = (1 - f.smoothing) * loss + f.smoothing * (below / static_cast<float>(f.classes) + logs);
  storePartial(f.losses + b, rows, loss);
  const vf kept = select(finite, most, vf{}), sums = select(finite, exponentials, broadcast(nan));
  for (int64_t i = 0; i < rows; i++) {
    f.statistics[2 * (b + i)] = kept[i];
    f.statistics[2 * (b + i) + 1] = sums[i];
  }
}

bool isFinite(float x) { return x - x == 0; }

void oneRow(const Forward& f, int64_t b) {
  const float* row = f.logits + b * f.classes;
  const float most = largest(row, f.classes);
  const bool finite = isFinite(most);
  const float exponentials =
      finite ? static_cast<float>(total(row, f.classes, -infinity, [most](vf v) { return exp(v - most); })) : nan;
  f.statistics[2 * b] = finite ? most : 0;
  f.statistics[2 * b + 1] = exponentials;
  const int32_t label = f.labels[b];
  if (!finite || label < 0 || label >= f.classes) {
    f.losses[b] = nan;
    return;
  }
  const float logs = __builtin_logf(exponentials);
  float loss = (most - row[label]) + logs;
  if (f.smooth) {
    const double below = total(row, f.classes, most, [most](vf v) { return most - v; });
    loss = (1 - f.smoothing) * loss + f.smoothing * (static_cast<float>(below / static_cast<double>(f.classes)) + logs);
  }
  f.losses[b] = loss;
}

}  // namespace

void crossEntropyForward(const Call& call, Context& context) {
  const Tensor& logits = call.inputs[0];
  const int64_t batch = logits.shape[0], classes = logits.shape[1];
  const int32_t* labels = call.inputs[1].i32();
  const std::string& reduction = call.text("reduction");
  float* statistics = call.outputs[1].f32();
  float* losses = reduction == "none" ? call.outputs[0].f32() : context.scratch(batch);
  for (int64_t b = 0; b < batch; b++) {
    if (labels[b] >= 0 && labels[b] < classes) continue;
    context.fault(labels[b]);
    break;
  }
  const Forward f{logits.f32(),
                  labels,
                  losses,
                  statistics,
                  classes,
                  call.flag("smooth"),
                  static_cast<float>(call.scalar("smoothing"))};
  if (classes < fewClasses) {
    context.parallel((batch + lanes - 1) / lanes, grain / (classes * lanes) + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t group = begin; group < end; group++)
        rowsAtOnce(f, group * lanes, std::min<int64_t>(lanes, batch - group * lanes));
    });
  } else {
    context.parallel(batch, grain / classes + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t b = begin; b < end; b++) oneRow(f, b);
    });
  }
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
