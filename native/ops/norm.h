// What the normalisations share: the view [outer, groups, inner] of src/ops/norm/reference.ts, walks over it, and
// moments.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "simd.h"

// For the bodies of vector loops: a call per vector costs more than the vector.
#define INLINED __attribute__((always_inline))

namespace birkhoff::BIRKHOFF_ISA {
namespace {

constexpr int64_t blockTerms = 16384;
constexpr int64_t grain = 16384;

struct View {
  int64_t outer, groups, inner, channels;
  bool byElement;

  int64_t terms() const { return outer * inner; }
  int64_t blocks() const { return std::max<int64_t>(1, (terms() + blockTerms - 1) / blockTerms); }
  int64_t begin(int64_t block) const { return std::min(terms(), block * blockTerms); }
  bool columns() const { return inner == 1 && outer > 1; }
};

View viewOf(const Call& call) {
  return {call.integer("outer"), call.integer("groups"), call.integer("inner"), call.integer("channels"),
          call.text("by") == "element"};
}

int64_t pieces(int64_t each) { return std::max<int64_t>(1, grain / std::max<int64_t>(1, each)); }

vf take(const float* p, int64_t n) { return n >= lanes ? load(p) : loadPartial(p, n); }
void put(float* p, int64_t n, vf v) { n >= lanes ? store(p, v) : storePartial(p, n, v); }

// The first n lanes of v, then zeros.
vf first(vf v, int64_t n) {
  if (n >= lanes) return v;
  vi index;
  for (int i = 0; i < lanes; i++) index[i] = i;
  return select(index < broadcast(static_cast<int32_t>(n)), v, vf{});
}

// f(i, n) for vectors of n elements at i: n is `lanes` but for the last.
template <class F>
[[gnu::always_inline]] inline void vectors(int64_t begin, int64_t end, F&& f) {
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) f(i, static_cast<int64_t>(lanes));
  if (i < end) f(i, end - i);
}

// f(offset, length, k) for every contiguous run among the elements [k0, k1) of a group.
template <class F>
[[gnu::always_inline]] inline void runs(const View& view, int64_t group, int64_t k0, int64_t k1, F&& f) {
  while (k0 < k1) {
    const int64_t a = k0 / view.inner, c = k0 - a * view.inner;
    const int64_t length = std::min(view.inner - c, k1 - k0);
    f((a * view.groups + group) * view.inner + c, length, k0);
    k0 += length;
  }
}

// Weight and bias of one group: a vector along the row, or one number for all of it.
struct Affine {
  const float *weight, *bias;
  bool byElement;

  vf scale(int64_t c, int64_t n) const {
    return !weight ? broadcast(1.0f) : byElement ? take(weight + c, n) : broadcast(*weight);
  }
  vf shift(int64_t c, int64_t n) const { return !bias ? vf{} : byElement ? take(bias + c, n) : broadcast(*bias); }
};

Affine affineOf(const View& view, const float* weight, const float* bias, int64_t group) {
  const int64_t at = view.byElement ? 0 : group % view.channels;
  return {weight ? weight + at : nullptr, bias ? bias + at : nullptr, view.byElement};
}

// Mean and sum of squared deviations of `count` numbers, relative to the group's first element: differences from it are
// small where the spread is, whatever the mean.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void merge(const Moments& b) {
    if (b.count == 0) return;
    const double all = count + b.count, share = b.count / all, distance = b.mean - mean;
    mean += distance * share;
    squares += b.squares + distance * distance * count * share;
    count = all;
  }
};

Moments momentsOf(const View& view, const float* x, float origin, int64_t group, int64_t k0, int64_t k1) {
  if (k0 >= k1) return {};
  vf total{};
  runs(view, group, k0, k1, [&](int64_t at, int64_t length, int64_t) INLINED {
    vectors(0, length, [&](int64_t i, int64_t n) INLINED { total += first(take(x + at + i, n) - origin, n); });
  });
  const float mean = sum(total) / static_cast<float>(k1 - k0);
  vf squares{}, rest{};
  runs(view, group, k0, k1, [&](int64_t at, int64_t length, int64_t) INLINED {
    vectors(0, length, [&](int64_t i, int64_t n) INLINED {
      const vf d = first(take(x + at + i, n) - origin - mean, n);
      squares = fma(d, d, squares);
      rest += d;
    });
  });
  // What the rounding of the mean left over.
  const double count = static_cast<double>(k1 - k0), left = sum(rest) / count;
  return {count, mean + left, sum(squares) - count * left * left};
}

float originOf(const View& view, const float* x, int64_t group) {
  return view.terms() == 0 ? 0.0f : x[group * view.inner];
}

float rstdOf(float variance, float eps) { return 1.0f / std::sqrt(variance + eps); }

void normalize(const View& view, const float* x, float* y, int64_t group, int64_t k0, int64_t k1, float origin,
               float mean, float rstd, const Affine& affine) {
  runs(view, group, k0, k1, [&](int64_t at, int64_t length, int64_t k) INLINED {
    vectors(0, length, [&](int64_t i, int64_t n) INLINED {
      const vf scaled = (take(x + at + i, n) - origin - mean) * rstd;
      put(y + at + i, n, fma(scaled, affine.scale(k + i, n), affine.shift(k + i, n)));
    });
  });
}

// Runs body(group, block) for every block of every group.
template <class F>
void eachBlock(const View& view, Context& context, F&& body) {
  const int64_t blocks = view.blocks();
  context.parallel(view.groups * blocks, pieces(std::min(view.terms(), blockTerms)),
                   [&](int64_t begin, int64_t end, int) {
                     for (int64_t i = begin; i < end; i++) body(i / blocks, i % blocks);
                   });
}

struct Statistics {
  float *mean, *variance;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
