// Running sums along the middle axis of [outer, length, inner]: vectors along a row where its elements are neighbours, else across rows.
// What has been summed is carried in float64, which costs one addition per vector and keeps long rows accurate. Where rows are few they
// are cut into parts by the shape alone; a first round sums the parts, so that the result does not depend on the threads.
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
constexpr int64_t fewItems = 64;
// Columns that are summed side by side: registers for their sums, and whole cache lines of x.
constexpr int64_t width = 4 * lanes;

// As many float64 as fit a register, and the floats they come from.
constexpr int64_t half = lanes / 2;
typedef double vd __attribute__((vector_size(half * 8)));
typedef float vh __attribute__((vector_size(half * 4)));

template <bool reverse, int by, int... i>
BIRKHOFF_INLINE vf shifted(vf v, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(vf{}, v, (reverse ? (i + by < lanes ? lanes + i + by : i) : (i >= by ? lanes + i - by : i))...);
}

// Running sums within a vector, in log2(lanes) additions.
template <bool reverse, int by = 1>
BIRKHOFF_INLINE vf prefix(vf v) {
  if constexpr (by < lanes) return prefix<reverse, 2 * by>(v + shifted<reverse, by>(v, std::make_integer_sequence<int, lanes>{}));
  else return v;
}

// The elements [begin, end) of one row, from `carry` on; gives what has been summed then. Without `writes` y is left alone.
template <bool reverse, bool writes>
double along(const float* x, float* y, int64_t begin, int64_t end, double carry) {
  const auto step = [&](int64_t i, int64_t n) {
    const vf sums = prefix<reverse>(n == lanes ? load(x + i) : loadPartial(x + i, n));
    if constexpr (writes) {
      const vf result = broadcast(static_cast<float>(carry)) + sums;
      if (n == lanes) store(y + i, result);
      else storePartial(y + i, n, result);
    }
    carry += sums[reverse ? 0 : lanes - 1];
  };
  const int64_t whole = begin + (end - begin) / lanes * lanes;
  if (reverse && whole < end) step(whole, end - whole);
  for (int64_t i = begin; i < whole; i += lanes) step(reverse ? whole + begin - lanes - i : i, lanes);
  if (!reverse && whole < end) step(whole, end - whole);
  return carry;
}

// The elements [begin, end) of `vectors` · half neighbouring rows, `inner` apart.
template <bool reverse, bool writes, int64_t vectors>
void across(const float* x, float* y, int64_t inner, int64_t begin, int64_t end, double* carry) {
  vd sums[vectors];
  __builtin_memcpy(sums, carry, sizeof sums);
  for (int64_t k = begin; k < end; k++) {
    const int64_t at = (reverse ? begin + end - 1 - k : k) * inner;
    for (int64_t u = 0; u < vectors; u++) {
      vh piece;
      __builtin_memcpy(&piece, x + at + u * half, sizeof piece);
      sums[u] += __builtin_convertvector(piece, vd);
      if constexpr (writes) {
        const vh result = __builtin_convertvector(sums[u], vh);
        __builtin_memcpy(y + at + u * half, &result, sizeof result);
      }
    }
  }
  __builtin_memcpy(carry, sums, sizeof sums);
}

template <bool reverse, bool writes>
void acrossFew(const float* x, float* y, int64_t inner, int64_t n, int64_t begin, int64_t end, double* carry) {
  for (int64_t k = begin; k < end; k++) {
    const int64_t at = (reverse ? begin + end - 1 - k : k) * inner;
    for (int64_t c = 0; c < n; c++) {
      carry[c] += static_cast<double>(x[at + c]);
      if constexpr (writes) y[at + c] = static_cast<float>(carry[c]);
    }
  }
}

// n <= width rows that lie next to each other; `carry` has an entry for each.
template <bool reverse, bool writes>
void scanRows(const float* x, float* y, int64_t inner, int64_t n, int64_t begin, int64_t end, double* carry) {
  if (inner == 1) {
    carry[0] = along<reverse, writes>(x, y, begin, end, carry[0]);
    return;
  }
  if (n == width) return across<reverse, writes, width / half>(x, y, inner, begin, end, carry);
  int64_t c = 0;
  for (; c + half <= n; c += half) across<reverse, writes, 1>(x + c, y + c, inner, begin, end, carry + c);
  if (c < n) acrossFew<reverse, writes>(x + c, y + c, inner, n - c, begin, end, carry + c);
}

template <bool reverse>
void scan(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &y = call.outputs[0];
  const size_t axis = static_cast<size_t>(call.integer("axis"));
  const int64_t length = x.shape[axis];
  int64_t inner = 1;
  for (size_t k = axis + 1; k < x.shape.size(); k++) inner *= x.shape[k];

  // An item is up to `width` neighbouring rows.
  const int64_t widest = std::min(inner, width), perPlane = (inner + width - 1) / width;
  const int64_t items = x.size / (length * inner) * perPlane;
  const int64_t partTerms = items < fewItems ? std::max<int64_t>(1, partElements / widest) : length;
  const int64_t parts = (length + partTerms - 1) / partTerms;

  const auto run = [&](int64_t item, int64_t part, auto writes, double* carry) {
    const int64_t column = item % perPlane * width;
    const int64_t at = item / perPlane * length * inner + column;
    const int64_t begin = part * partTerms, end = std::min(length, begin + partTerms);
    scanRows<reverse, writes.value>(x.f32() + at, y.f32() + at, inner, std::min(width, inner - column), begin, end, carry);
  };

  if (parts == 1) {
    return context.parallel(items, grain / (length * widest) + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t item = begin; item < end; item++) {
        double carry[width] = {};
        run(item, 0, std::true_type{}, carry);
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
    double sums[width] = {};
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
  if (call.flag("reverse")) scan<true>(call, context);
  else scan<false>(call, context);
}

}  // namespace birkhoff::BIRKHOFF_ISA
