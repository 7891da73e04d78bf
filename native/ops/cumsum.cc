// Running sums along the middle axis of [outer, length, inner]: vectors along a row where its elements are neighbours,
// else across rows. What has been summed is carried in float64, which costs one addition per vector and keeps long rows
// accurate. Where rows are few they are cut into parts by the shape alone; a first round sums the parts, so that the
// result does not depend on the threads.
#include <algorithm>
#include <utility>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work.
constexpr int64_t grain = 1 << 14;
constexpr int64_t partElements = 1 << 15;
// With fewer items of work than this, rows are cut into parts.
constexpr int64_t fewItems = 16;
// Neighbouring rows of one item: long runs of memory, with sums that stay in the cache nearest to the processor.
constexpr int64_t leastWidth = 64, mostWidth = 512;

// Processors foresee memory that is read upwards; downwards they are told, as many elements ahead.
constexpr int64_t ahead = 1024;
// Up to as many rows have their sums in registers.
constexpr int64_t few = 8;

// Lanes move by `by` places in the direction of the sums; zeros come in behind them.
template <bool reverse, int by, int... i>
BIRKHOFF_INLINE vf shifted(vf v, std::integer_sequence<int, i...>) {
  if constexpr (reverse)
    return __builtin_shufflevector(v, vf{}, (by + i)...);
  else
    return __builtin_shufflevector(vf{}, v, (lanes - by + i)...);
}

// Running sums within a vector, in log2(lanes) additions.
template <bool reverse, int by = 1>
BIRKHOFF_INLINE vf prefix(vf v) {
  if constexpr (by < lanes)
    return prefix<reverse, 2 * by>(v + shifted<reverse, by>(v, std::make_integer_sequence<int, lanes>{}));
  else
    return v;
}

// The elements [begin, end) of one row, from `carry` on; gives what has been summed then. Without `writes` y is left
// alone.
template <bool reverse, bool writes>
double along(const float* x, float* y, int64_t begin, int64_t end, double carry) {
  const auto step = [&](int64_t i, int64_t n) {
    if constexpr (reverse) {
      __builtin_prefetch(x + i - ahead);
      if constexpr (writes) __builtin_prefetch(y + i - ahead, 1);
    }
    const vf sums = prefix<reverse>(n == lanes ? load(x + i) : loadPartial(x + i, n));
    if constexpr (writes) {
      const vf result = broadcast(static_cast<float>(carry)) + sums;
      if (n == lanes)
        store(y + i, result);
      else
        storePartial(y + i, n, result);
    }
    carry += sums[reverse ? 0 : lanes - 1];
  };
  const int64_t whole = begin + (end - begin) / lanes * lanes;
  if (reverse && whole < end) step(whole, end - whole);
  for (int64_t i = begin; i < whole; i += lanes) step(reverse ? whole + begin - lanes - i : i, lanes);
  if (!reverse && whole < end) step(whole, end - whole);
  return carry;
}

// The elements [begin, end) of a few neighbouring rows, `inner` apart; their sums stay in registers.
template <bool reverse, bool writes, int64_t n>
void acrossFew(const float* x, float* y, int64_t inner, int64_t begin, int64_t end, double* carry) {
  double sums[n];
  std::copy(carry, carry + n, sums);
  for (int64_t k = begin; k < end; k++) {
    const int64_t at = (reverse ? begin + end - 1 - k : k) * inner;
    for (int64_t c = 0; c < n; c++) {
      sums[c] += static_cast<double>(x[at + c]);
      if constexpr (writes) y[at + c] = static_cast<float>(sums[c]);
    }
  }
  std::copy(sums, sums + n, carry);
}

template <bool reverse, bool writes, int64_t most = few>
void acrossUpTo(const float* x, float* y, int64_t inner, int64_t n, int64_t begin, int64_t end, double* carry) {
  if (n == most) return acrossFew<reverse, writes, most>(x, y, inner, begin, end, carry);
  if constexpr (most > 1) acrossUpTo<reverse, writes, most - 1>(x, y, inner, n, begin, end, carry);
}

// Many neighbouring rows: every step is a loop along memory, which the compiler turns into vectors.
template <bool reverse, bool writes>
void across(const float* __restrict x, float* __restrict y, int64_t inner, int64_t n, int64_t begin, int64_t end,
            double* __restrict carry) {
  for (int64_t k = begin; k < end; k++) {
    const int64_t at = (reverse ? begin + end - 1 - k : k) * inner;
    for (int64_t c = 0; c < n; c++) {
      carry[c] += static_cast<double>(x[at + c]);
      if constexpr (writes) y[at + c] = static_cast<float>(carry[c]);
    }
  }
}

// n rows that lie next to each other; `carry` has an entry for each.
template <bool reverse, bool writes>
void scanRows(const float* x, float* y, int64_t inner, int64_t n, int64_t begin, int64_t end, double* carry) {
  if (inner == 1)
    carry[0] = along<reverse, writes>(x, y, begin, end, carry[0]);
  else if (n <= few)
    acrossUpTo<reverse, writes>(x, y, inner, n, begin, end, carry);
  else
    across<reverse, writes>(x, y, inner, n, begin, end, carry);
}

template <bool reverse>
void scan(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &y = call.outputs[0];
  const size_t axis = static_cast<size_t>(call.integer("axis"));
  const int64_t length = x.shape[axis];
  int64_t inner = 1;
  for (size_t k = axis + 1; k < x.shape.size(); k++) inner *= x.shape[k];

  // An item is up to `width` neighbouring rows: as many as leave enough items.
  const int64_t planes = x.size / (length * inner), wanted = (fewItems + planes - 1) / planes;
  const int64_t width = std::clamp((inner / wanted + leastWidth - 1) / leastWidth * leastWidth, leastWidth, mostWidth);
  const int64_t widest = std::min(inner, width), perPlane = (inner + width - 1) / width;
  const int64_t items = planes * perPlane;
  const int64_t partTerms = items < fewItems ? std::max<int64_t>(1, partElements / widest) : length;
  const int64_t parts = (length + partTerms - 1) / partTerms;

  const auto run = [&](int64_t item, int64_t part, auto writes, double* carry) {
    const int64_t column = item % perPlane * width;
    const int64_t at = item / perPlane * length * inner + column;
    const int64_t begin = part * partTerms, end = std::min(length, begin + partTerms);
    scanRows<reverse, writes.value>(x.f32() + at, y.f32() + at, inner, std::min(width, inner - column), begin, end,
                                    carry);
  };

  if (parts == 1) {
    return context.parallel(items, grain / (length * widest) + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t item = begin; item < end; item++) {
        double carry[mostWidth];
        std::fill(carry, carry + widest, 0.0);
        run(reverse ? items - 1 - item : item, 0, std::true_type{}, carry);
      }
    });
  }
  double* carries = reinterpret_cast<double*>(context.scratch(2 * items * parts * widest));
  std::fill(carries, carries + items * parts * widest, 0.0);
  context.parallel(items * parts, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) run(i / parts, i % parts, std::false_type{}, carries + i * widest);
  });
  // Totals become what lies before each part.
  for (int64_t item = 0; item < items; item++) {
    double sums[mostWidth] = {};
    for (int64_t k = 0; k < parts; k++) {
      double* total = carries + (item * parts + (reverse ? parts - 1 - k : k)) * widest;
      for (int64_t c = 0; c < widest; c++) sums[c] += std::exchange(total[c], sums[c]);
    }
  }
  context.parallel(items * parts, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) run(i / parts, i % parts, std::true_type{}, carries + i * widest);
  });
}

}  // namespace

void cumsum(const Call& call, Context& context) {
  if (call.outputs[0].size == 0) return;
  if (call.flag("reverse"))
    scan<true>(call, context);
  else
    scan<false>(call, context);
}

}  // namespace birkhoff::BIRKHOFF_ISA
