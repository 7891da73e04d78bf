// What both backward passes do with rows in vectors before and after, and the one through the iterations.
#pragma once

#include "sinkhorn-rows.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// P, the cotangents of P and of the potentials, and the record of a matrix.
class ArrivedInRows {
 protected:
  ArrivedInRows(const Backward& run, float*& area)
      : run_(run), n_(run.sides.n), m_(run.sides.m), height_(padded(n_)), width_(padded(m_)), panels_(run, area) {
    p_ = {readsP(run) ? nullptr : take(area, areaOf(run.sides)), readsP(run) ? m_ : strideOf(m_)};
    rest_ = {needsNoPadding(run.sides) ? nullptr : take(area, areaOf(run.sides)),
             needsNoPadding(run.sides) ? m_ : strideOf(m_)};
    for (float** vector : {&barF_, &massRows_, &f_, &inverseRows_, &recordRows_}) *vector = take(area, height_);
    for (float** vector : {&barG_, &massColumns_, &g_, &inverseColumns_, &recordColumns_, &sums_})
      *vector = take(area, width_);
  }
  static int64_t area(const Backward& run) {
    return Panels::area(run) + (readsP(run) ? 0 : areaOf(run.sides)) +
           (needsNoPadding(run.sides) ? 0 : areaOf(run.sides)) + 5 * padded(run.sides.n) + 6 * padded(run.sides.m) +
           lanes;
  }
  static float* take(float*& area, int64_t size) {
    std::fill(area, area + size, 0.0f);
    return std::exchange(area, area + size);
  }
  // Whether P is used where it lies. Annealed iterations put other kernels in its place.
  static bool readsP(const Backward& run) {
    return needsNoPadding(run.sides) && run.kind == Matrix::shares && run.annealed == 0;
  }

  // And the cotangent of P.
  bool readsGradient() const { return readsP(run_) && run_.gradient; }

  bool logarithmic() const { return run_.kind == Matrix::logarithms; }
  float inverseTemperature() const { return static_cast<float>(1 / run_.temperature); }
  const float* recorded(int64_t offset) const { return run_.record + b_ * run_.layout.size + offset; }

  void arrive(int64_t b) {
    const Layout& layout = run_.layout;
    b_ = b;
    // P is only written where it is not read from its tensor.
    if (readsP(run_)) p_.data = const_cast<float*>(run_.matrix + b * run_.sides.size());
    if (needsNoPadding(run_.sides)) rest_.data = run_.dx + b * run_.sides.size();
    arrived_ = readsGradient() ? Area{const_cast<float*>(run_.gradient.of(b)), m_} : rest_;
    std::copy(recorded(layout.rows), recorded(layout.rows) + n_, recordRows_);
    std::copy(recorded(layout.columns), recorded(layout.columns) + m_, recordColumns_);
    std::copy(recordRows_, recordRows_ + n_, inverseRows_);
    std::copy(recordColumns_, recordColumns_ + m_, inverseColumns_);
    std::fill(massRows_, massRows_ + height_, 0.0f);
    std::fill(massColumns_, massColumns_ + width_, 0.0f);
    if (run_.kind == Matrix::logits) kernel(run_.temperature, recorded(layout.f), recorded(layout.g));
    panels_.each([&](int64_t panel, int64_t begin, int64_t end) {
      float* part = panels_.part(panel);
      std::fill(part, part + width_, 0.0f);
      for (int64_t i = begin; i < end; i += lanes)
        logarithmic() ? arriveRows<true>(i, part) : arriveRows<false>(i, part);
    });
    panels_.add(barG_);
    if (!run_.recordGradient) return;
    const float* potentials = run_.recordGradient.of(b);
    for (int64_t i = 0; i < n_; i++) barF_[i] += potentials[layout.f + i];
    for (int64_t j = 0; j < m_; j++) barG_[j] += potentials[layout.g + j];
  }

  // exp(logits / temperature + f + g) where it is not left out, into the place of P.
  void kernel(double temperature, const float* f, const float* g) {
    std::fill(f_, f_ + height_, excluded);
    std::fill(g_, g_ + width_, excluded);
    std::copy(f, f + n_, f_);
    std::copy(g, g + m_, g_);
    const int32_t* mask = run_.mask.of(b_);
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      Scaler scale(temperature);
      for (int64_t i = begin; i < end; i += lanes) {
        rowsIn(run_.sides, run_.logits + b_ * run_.sides.size(), i, p_);
        for (int64_t r = i; r < i + lanes; r++) {
          for (int64_t j = 0; j < width_; j += lanes) {
            const vf column = load(g_ + j);
            vf share{};
            if (r < n_ && f_[r] > excluded) {
              const vi allowed = allowedIn(run_.sides, mask, r, j, column > excluded);
              share = boundedExp(scale(load(p_.row(r) + j), allowed) + broadcast(f_[r]) + column);
            }
            store(p_.row(r) + j, share);
          }
        }
      }
    });
  }

  // What has arrived at element (i, j) so far, of share p. A cotangent counts where there is something to change.
  vf arrivedAt(int64_t i, int64_t j, vf p) const {
    const vf value = load(arrived_.row(i) + j);
    return logarithmic() ? value : select(p > 0.0f, value, vf{});
  }

  // rest holds what belongs to the logits by now; `start` the gradient of g₀.
  void deliver(const float* start) {
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < std::min(end, n_); i += lanes)
        rowsOut(run_.sides, rest_, i, run_.dx + b_ * run_.sides.size());
    });
    if (!run_.vectors) return;
    float* to = run_.dvectors + b_ * run_.vectorSize();
    to = std::copy(massRows_, massRows_ + n_, to);
    to = std::copy(massColumns_, massColumns_ + m_, to);
    std::copy(start, start + m_, to);
  }

  const Backward& run_;
  const int64_t n_, m_, height_, width_;
  const Panels panels_;
  int64_t b_ = 0;
  Area p_, rest_, arrived_;
  float *barF_, *massRows_, *f_, *inverseRows_, *recordRows_, *barG_, *massColumns_, *g_, *inverseColumns_,
      *recordColumns_, *sums_;

 private:
  // `lanes` rows from row i on: sums of G ∘ P, or of G itself.
  template <bool logarithms>
  void arriveRows(int64_t i, float* part) {
    const int64_t size = run_.sides.size(), inside = std::min<int64_t>(lanes, n_ - i);
    if (run_.kind != Matrix::logits && !readsP(run_)) rowsIn(run_.sides, run_.matrix + b_ * size, i, p_);
    if (run_.gradient && !readsGradient()) rowsIn(run_.sides, run_.gradient.of(b_), i, rest_);
    for (int64_t r = 0; r < lanes; r++) {
      const int64_t filled = r < inside ? m_ : 0;
      if (logarithms) std::fill(p_.row(i + r) + filled, p_.row(i + r) + width_, far);
      if (!logarithms && r >= inside) std::fill(p_.row(i + r), p_.row(i + r) + width_, 0.0f);
    }
    vf totals[lanes] = {};
    for (int64_t j = 0; j < width_; j += lanes) {
      vf even = load(part + j), odd{};
      for (int r = 0; r < lanes; r++) {
        // P may be too small for a float where its logarithm is none.
        float *shares = p_.row(i + r) + j, *rest = rest_.row(i + r) + j;
        const vf value = load(shares);
        vf moved{};
        if (run_.gradient) moved = select(value > (logarithms ? excluded : 0.0f), load(arrived_.row(i + r) + j), vf{});
        if (!readsGradient()) store(rest, moved);
        if (logarithms) {
          store(shares, boundedExp(value));
        } else {
          moved *= value;
        }
        totals[r] += moved;
        (r % 2 == 0 ? even : odd) += moved;
      }
      store(part + j, even + odd);
    }
    store(barF_ + i, sumsOf(totals));
  }
};

class BackwardInRows : ArrivedInRows {
 public:
  static int64_t area(const Backward& run) {
    const int64_t height = padded(run.sides.n), width = padded(run.sides.m);
    return ArrivedInRows::area(run) + 2 * slots(run) * (height + width) + 2 * height + 3 * width;
  }
  BackwardInRows(const Backward& run, float* area) : ArrivedInRows(run, area) {
    left_ = take(area, 2 * slots(run) * height_), right_ = take(area, 2 * slots(run) * width_);
    absorbedU_ = take(area, height_), inverseU_ = take(area, height_);
    absorbedV_ = take(area, width_), inverseV_ = take(area, width_), hereV_ = take(area, width_);
  }

  void operator()(int64_t b) {
    arrive(b);
    for (float* vector : {absorbedU_, inverseU_}) std::fill(vector, vector + height_, 1.0f);
    for (float* vector : {absorbedV_, inverseV_}) std::fill(vector, vector + width_, 1.0f);
    done_ = run_.done(recorded(0)[0]);
    scalingsV(done_, hereV_);
    const float* v = hereV_;
    int64_t filled = 0;
    for (int64_t t = done_; t > run_.annealed; t--) {
      v = step(t, v, filled++);
      const bool final = t == run_.annealed + 1;
      if (filled == slots(run_) || final) {
        assemble(filled, final);
        arrived_ = rest_;
        filled = 0;
      }
    }
    advance(v, 1);
    for (int64_t t = run_.annealed; t >= 1; t--) stepAnnealed(t);
    deliver(barG_);
  }

 private:
  static int64_t slots(const Backward& run) { return std::min(run.iterations, chunk); }
  const float* slot(int64_t t) const { return recorded(run_.layout.history + (t - 1) * run_.layout.stride); }

  // Scalings of iteration t over all that was absorbed from then on.
  void relative(int64_t t, const float* scalings, int64_t size, float* absorbed, float* inverses, float* to) {
    const bool absorbs = t > run_.firsts() && (t == done_ || run_.endsBlock(t));
    alongRow(size, [&](int64_t i, int64_t width) {
      const vf here = loadPartial(scalings + i, width);
      if (absorbs) {
        const vf product = bounded(load(absorbed + i) * here);
        store(absorbed + i, product);
        store(inverses + i, inverse(product));
      }
      store(to + i, atMost(here * load(inverses + i), 1e30f));
    });
  }
  // v̂_t, from the last t down to that of the last annealed iteration, or that of the start.
  void scalingsV(int64_t t, float* to) {
    if (t > 0 && t == run_.annealed) {
      for (int64_t j = 0; j < m_; j++) to[j] = recordColumns_[j] > 0 ? 1 : 0;
      relative(t, to, m_, absorbedV_, inverseV_, to);
    } else {
      relative(t, t == 0 ? recorded(run_.layout.start) : slot(t) + n_, m_, absorbedV_, inverseV_, to);
    }
  }
  // ḡ = −v̂ ∘ what the last pass summed
  void advance(const float* v, float ratio) {
    for (int64_t j = 0; j < width_; j += lanes) store(barG_ + j, -(load(v + j) * load(sums_ + j)) * ratio);
  }
  void takeInverses(int64_t t) {
    if (!run_.unbalanced) return;
    const float* from = slot(t) + n_ + m_;
    std::copy(from, from + n_, inverseRows_);
    std::copy(from + n_, from + n_ + m_, inverseColumns_);
  }

  // Iteration t, with v̂_t; returns v̂_{t−1}. What it gives the logits is û yᵀ + z v̂_{t−1}ᵀ.
  const float* step(int64_t t, const float* v, int64_t k) {
    float *u = left_ + 2 * k * height_, *z = u + height_, *y = right_ + 2 * k * width_, *before = y + width_;
    if (t < done_) advance(v, 1);
    takeInverses(t);
    cotangentsOfColumns(t, v, y);
    relative(t, slot(t), n_, absorbedU_, inverseU_, u);
    scalingsV(t - 1, before);
    passBack(t, t == done_, u, y, z);
    return before;
  }
  // y from ḡ
  void cotangentsOfColumns(int64_t t, const float* v, float* y) {
    const Leak leak = run_.columnLeak(t);
    for (int64_t j = 0; j < width_; j += lanes) {
      const vf e = load(barG_ + j) * leak.met;
      store(y + j, (v ? load(v + j) : broadcast(1.0f)) * e * load(inverseColumns_ + j));
      if (run_.vectors) store(massColumns_ + j, fma(e, load(recordColumns_ + j), load(massColumns_ + j)));
    }
  }
  // z from y, and Pᵀ z into the sums; û is 1 where there is none.
  void passBack(int64_t t, bool last, const float* u, const float* y, float* z) {
    const Leak leak = run_.rowLeak(t);
    panels_.pass(p_, y, sums_, [&](int64_t i, vf product, int64_t) {
      const vf here = u ? load(u + i) : broadcast(1.0f);
      const vf e = ((last ? load(barF_ + i) : vf{}) - here * product) * leak.met;
      if (run_.vectors) store(massRows_ + i, fma(e, load(recordRows_ + i), load(massRows_ + i)));
      const vf weight = here * e * load(inverseRows_ + i);
      store(z + i, weight);
      return weight;
    });
  }

  // rest − leftᵀ right over `count` iterations; `final` makes the gradient of it.
  void assemble(int64_t count, bool final) {
    constexpr int wide = lanes == 16 ? 4 : 2;
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += 4) {
        inBlocks<wide>(width_ / lanes, [&]<int V>(int64_t vector) { tileOf<V>(i, vector * lanes, 2 * count, final); });
      }
    });
  }
  template <int V>
  [[gnu::always_inline]] inline void tileOf(int64_t i, int64_t j, int64_t depth, bool final) {
    vf product[4][V] = {};
    const float *left = left_ + i, *right = right_ + j;
    for (int64_t k = 0; k < depth; k++) {
      vf factor[V];
      for (int v = 0; v < V; v++) factor[v] = load(right + k * width_ + v * lanes);
      for (int r = 0; r < 4; r++) {
        const vf weight = broadcast(left[k * height_ + r]);
        for (int v = 0; v < V; v++) product[r][v] = fma(weight, factor[v], product[r][v]);
      }
    }
    const float factor = final ? inverseTemperature() : 1.0f;
    for (int r = 0; r < 4; r++) {
      for (int v = 0; v < V; v++) {
        const int64_t column = j + v * lanes;
        const vf p = load(p_.row(i + r) + column);
        const vf sum = arrivedAt(i + r, column, p) - (logarithmic() ? p * product[r][v] : product[r][v]);
        store(rest_.row(i + r) + column, (final && !logarithmic() ? p * sum : sum) * factor);
      }
    }
  }

  // An iteration with a temperature of its own, of which the potentials were recorded.
  void stepAnnealed(int64_t t) {
    const double temperature = run_.temperatureAt(t);
    const float ratio = static_cast<float>(temperature / run_.temperatureAt(t + 1)),
                factor = static_cast<float>(1 / temperature),
                scale = t == 1 ? 1 : static_cast<float>(run_.temperatureAt(t - 1) / temperature);
    const float *f = slot(t), *g = f + n_;
    float *z = left_, *y = right_, *before = right_ + width_;
    for (int64_t j = 0; j < width_; j += lanes) store(barG_ + j, load(barG_ + j) * ratio);
    takeInverses(t);
    cotangentsOfColumns(t, nullptr, y);
    for (int64_t j = 0; j < m_; j++) {
      const float ahead =
          t == 1 ? recorded(run_.layout.start)[j] : std::exp(std::min(scale * (slot(t - 1) + n_)[j] - g[j], 80.0f));
      before[j] = recordColumns_[j] > 0 ? ahead : 0;
    }
    kernel(temperature, f, g);
    passBack(t, false, nullptr, y, z);
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        for (int64_t j = 0; j < width_; j += lanes) {
          const vf moved = load(y + j) + broadcast(z[i]) * load(before + j);
          store(rest_.row(i) + j, load(rest_.row(i) + j) - load(p_.row(i) + j) * moved * factor);
        }
      }
    });
    advance(before, 1);
  }

  // û and z, y and v̂ of iterations that wait for their assembly; products of what was absorbed, and their reciprocals.
  float *left_, *right_, *absorbedU_, *inverseU_, *absorbedV_, *inverseV_, *hereV_;
  int64_t done_ = 0;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
