// What both backward passes do with one matrix per lane before and after, and the one through the iterations.
#pragma once

#include "sinkhorn-lanes.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// P, the cotangents of P and of the potentials, and the record of a group of matrices.
class ArrivedInLanes {
 protected:
  ArrivedInLanes(const Backward& run, float*& area) : run_(run), n_(run.sides.n), m_(run.sides.m) {
    p_ = take(area, n_ * m_), rest_ = take(area, n_ * m_), record_ = take(area, run.layout.size);
    barF_ = take(area, n_), massRows_ = take(area, n_);
    barG_ = take(area, m_), massColumns_ = take(area, m_), sums_ = take(area, m_);
  }
  static int64_t area(const Backward& run) {
    return 2 * run.sides.size() + run.layout.size + 2 * run.sides.n + 3 * run.sides.m;
  }
  static float* take(float*& area, int64_t vectors) { return std::exchange(area, area + vectors * lanes); }

  const float* recorded(int64_t offset) const { return record_ + offset * lanes; }
  bool logarithmic() const { return run_.kind == Matrix::logarithms; }
  float inverseTemperature() const { return static_cast<float>(1 / run_.temperature); }

  // P and the record, from memory.
  void load(int64_t first) {
    const Layout& layout = run_.layout;
    const int64_t size = run_.sides.size();
    first_ = first;
    valid_ = std::min<int64_t>(lanes, run_.sides.count - first);
    readRecord();
    if (run_.kind == Matrix::logits) {
      kernel(run_.temperature, recorded(layout.f), recorded(layout.g));
    } else {
      matricesIntoLanes(run_.sides, run_.matrix + first * size, valid_,
                        [p = p_](int64_t place, vf value) { put(p, place, value); });
    }
  }
  // The same, where a forward pass has left them.
  void adopt(int64_t first, float* shares, float* record) {
    first_ = first;
    valid_ = std::min<int64_t>(lanes, run_.sides.count - first);
    p_ = shares;
    record_ = record;
  }

  // Cotangents, and their sums.
  void arrive() {
    const Layout& layout = run_.layout;
    const int64_t first = first_;
    fill(barF_, n_, vf{});
    fill(barG_, m_, vf{});
    if (run_.recordGradient) {
      const auto potentials = [&](int64_t offset, int64_t count, float* to) {
        intoLanes(run_.recordGradient.of(first) + offset, layout.size, count, valid_,
                  [&](int64_t i, vf value) { put(to, i, value); });
      };
      potentials(layout.f, n_, barF_);
      potentials(layout.g, m_, barG_);
    }
    if (!run_.gradient) {
      fill(rest_, n_ * m_, vf{});
      takeExponentials();
      return;
    }
    // A cotangent counts where there is something to change. P may be too small for a float where its logarithm is
    // none.
    const float nothing = logarithmic() ? excluded : 0;
    matricesIntoLanes(run_.sides, run_.gradient.of(first), valid_, [=, p = p_, rest = rest_](int64_t place, vf value) {
      put(rest, place, select(at(p, place) > nothing, value, vf{}));
    });
    takeExponentials();
    inBlocks<4>(n_, [&]<int R>(int64_t i) {
      vf total[R] = {};
      for (int64_t j = 0; j < m_; j++) {
        vf sum = at(barG_, j);
        for (int r = 0; r < R; r++) {
          const int64_t e = (i + r) * m_ + j;
          const vf share = logarithmic() ? at(rest_, e) : at(rest_, e) * at(p_, e);
          total[r] += share;
          sum += share;
        }
        put(barG_, j, sum);
      }
      for (int r = 0; r < R; r++) put(barF_, i + r, at(barF_, i + r) + total[r]);
    });
  }

  void readRecord() {
    const int64_t size = run_.layout.size;
    intoLanes(run_.record + first_ * size, size, size, valid_,
              [record = record_](int64_t e, vf value) { put(record, e, value); });
  }

  // Of log P.
  void takeExponentials() {
    for (int64_t e = 0; logarithmic() && e < n_ * m_; e++) put(p_, e, boundedExp(at(p_, e)));
  }

  // exp(logits / temperature + f + g) where it is not left out, into the place of P.
  void kernel(double temperature, const float* f, const float* g) {
    Scaler scale(temperature);
    if (run_.mask) maskIntoLanes(run_.sides, run_.mask, first_, valid_, p_);
    for (int64_t i = 0; i < n_; i++) {
      for (int64_t j = 0; j < m_; j++) {
        const vi inside = (at(f, i) > excluded) & (at(g, j) > excluded);
        put(p_, i * m_ + j, fromBits(run_.mask ? inside & bits(at(p_, i * m_ + j)) : inside));
      }
    }
    matricesIntoLanes(run_.sides, run_.logits + first_ * run_.sides.size(), valid_,
                      [&](int64_t place, vf value) { put(p_, place, scale(value, bits(at(p_, place)))); });
    for (int64_t i = 0; i < n_; i++) {
      for (int64_t j = 0; j < m_; j++) put(p_, i * m_ + j, boundedExp(at(p_, i * m_ + j) + at(f, i) + at(g, j)));
    }
  }

  // rest holds what belongs to the logits by now; `start` the gradient of g₀.
  void deliver(const float* start) {
    matricesOutOfLanes(run_.sides, rest_, valid_, run_.dx + first_ * run_.sides.size());
    if (!run_.vectors) return;
    const int64_t size = run_.vectorSize();
    float* to = run_.dvectors + first_ * size;
    outOfLanes([&](int64_t e) { return at(massRows_, e); }, size, n_, valid_, to);
    outOfLanes([&](int64_t e) { return at(massColumns_, e); }, size, m_, valid_, to + n_);
    outOfLanes([&](int64_t e) { return at(start, e); }, size, m_, valid_, to + n_ + m_);
  }

  const Backward& run_;
  const int64_t n_, m_;
  int64_t first_ = 0, valid_ = 0;
  float *p_, *rest_, *record_, *barF_, *massRows_, *barG_, *massColumns_, *sums_;
};

// `plain` runs do without masses, and without lanes that had stopped. `side` as on the way forward.
template <bool plain, int side = 0>
class BackwardInLanes : ArrivedInLanes {
 public:
  static int64_t area(const Backward& run) {
    const int64_t n = run.sides.n, m = run.sides.m;
    return (ArrivedInLanes::area(run) + 2 * slots(run) * (n + m) + 2 * n + 3 * m) * lanes;
  }
  BackwardInLanes(const Backward& run, float* area) : ArrivedInLanes(run, area) {
    left_ = take(area, 2 * slots(run) * n_), right_ = take(area, 2 * slots(run) * m_);
    absorbedU_ = take(area, n_), inverseU_ = take(area, n_);
    absorbedV_ = take(area, m_), inverseV_ = take(area, m_), hereV_ = take(area, m_);
  }

  // Two groups at once do not fit into the nearest cache.
  static constexpr bool pairs = false;
  void operator()(int64_t first) {
    load(first);
    goBack();
  }
  void from(int64_t first, float* shares, float* record) {
    adopt(first, shares, record);
    goBack();
  }

 private:
  void goBack() {
    arrive();
    fill(sums_, m(), vf{});
    fill(massRows_, n(), vf{});
    fill(massColumns_, m(), vf{});
    for (float* vector : {absorbedU_, inverseU_}) fill(vector, n(), broadcast(1.0f));
    for (float* vector : {absorbedV_, inverseV_}) fill(vector, m(), broadcast(1.0f));
    done_ = at(record_, 0);
    int64_t last = run_.annealed;
    for (int l = 0; l < valid_; l++) last = std::max(last, run_.done(done_[l]));
    scalingsV(last, hereV_);
    v_ = hereV_;
    for (int64_t t = last; t > run_.annealed; t--) {
      step(t);
      const bool final = t == run_.annealed + 1;
      if (filled_ == slots(run_) || final) assemble(final);
    }
    for (int64_t j = 0; j < m(); j++) put(barG_, j, -(at(v_, j) * at(sums_, j)));
    for (int64_t t = run_.annealed; t >= 1; t--) stepAnnealed(t);
    deliver(barG_);
  }

  int64_t n() const { return side > 0 ? side : n_; }
  int64_t m() const { return side > 0 ? side : m_; }
  static int64_t slots(const Backward& run) { return std::min(run.iterations, chunk); }
  const float* slot(int64_t t) const { return recorded(run_.layout.history + (t - 1) * run_.layout.stride); }
  vf ones(int64_t j) const { return select(at(recorded(run_.layout.columns), j) > 0.0f, broadcast(1.0f), vf{}); }

  // Scalings of iteration t over all that was absorbed from then on; 0 in lanes that had stopped by then.
  void relative(int64_t t, const float* scalings, int64_t size, float* absorbed, float* inverses, float* to) {
    const vf now = broadcast(static_cast<float>(t));
    const bool ends = run_.endsBlock(t);
    const vi absorbs = ends ? now <= done_ : now == done_;
    const bool any = plain ? ends || t == run_.iterations : anyOf(absorbs);
    if (t > run_.firsts() && any) {
      for (int64_t i = 0; i < size; i++) {
        const vf product = bounded(at(absorbed, i) * at(scalings, i));
        put(absorbed, i, plain ? product : select(absorbs, product, at(absorbed, i)));
        put(inverses, i, inverse(at(absorbed, i)));
      }
    }
    for (int64_t i = 0; i < size; i++) put(to, i, atMost(at(scalings, i) * at(inverses, i), 1e30f));
  }
  // v̂_t, from the last t down to that of the last annealed iteration, or that of the start.
  void scalingsV(int64_t t, float* to) {
    if (t > 0 && t == run_.annealed) {
      for (int64_t j = 0; j < m(); j++) put(to, j, ones(j));
      relative(t, to, m(), absorbedV_, inverseV_, to);
    } else {
      relative(t, t == 0 ? recorded(run_.layout.start) : slot(t) + n() * lanes, m(), absorbedV_, inverseV_, to);
    }
  }

  // Iteration t, from v̂_t to v̂_{t−1}. What it gives the logits is û yᵀ + z v̂_{t−1}ᵀ.
  void step(int64_t t) {
    const float* v = v_;
    float *u = left_ + 2 * filled_ * n() * lanes, *z = u + n() * lanes, *y = right_ + 2 * filled_ * m() * lanes,
          *before = y + m() * lanes;
    filled_++;
    v_ = before;
    const Leak rowLeak = run_.rowLeak(t), columnLeak = run_.columnLeak(t);
    const vi starts = broadcast(static_cast<float>(t)) == done_;
    const float *rows = recorded(run_.layout.rows), *columns = recorded(run_.layout.columns);
    const float* inverseRows = run_.unbalanced ? slot(t) + (n() + m()) * lanes : rows;
    const float* inverseColumns = run_.unbalanced ? inverseRows + n() * lanes : columns;
    if constexpr (plain) {
      const bool last = t == run_.iterations;
      for (int64_t j = 0; j < m(); j++) put(y, j, at(v, j) * (last ? at(barG_, j) : -(at(v, j) * at(sums_, j))));
      relative(t, slot(t), n(), absorbedU_, inverseU_, u);
      scalingsV(t - 1, before);
      passInLanes(p_, n(), m(), y, sums_, t, [&]<int R>(int64_t i, vf(&weight)[R]) {
        for (int r = 0; r < R; r++) {
          const vf here = at(u, i + r);
          put(z, i + r, weight[r] = here * ((last ? at(barF_, i + r) : vf{}) - here * weight[r]));
        }
      });
      return;
    }
    for (int64_t j = 0; j < m(); j++) {
      const vf e = select(starts, at(barG_, j), -(at(v, j) * at(sums_, j))) * columnLeak.met;
      put(y, j, at(v, j) * e * at(inverseColumns, j));
      put(massColumns_, j, fma(e, at(columns, j), at(massColumns_, j)));
    }
    relative(t, slot(t), n(), absorbedU_, inverseU_, u);
    scalingsV(t - 1, before);
    passInLanes(p_, n(), m(), y, sums_, t, [&]<int R>(int64_t i, vf(&weight)[R]) {
      for (int r = 0; r < R; r++) {
        const vf here = at(u, i + r);
        const vf e = (select(starts, at(barF_, i + r), vf{}) - here * weight[r]) * rowLeak.met;
        put(massRows_, i + r, fma(e, at(rows, i + r), at(massRows_, i + r)));
        put(z, i + r, weight[r] = here * e * at(inverseRows, i + r));
      }
    });
  }

  // rest − leftᵀ right of the iterations that wait; `final` makes the gradient of it.
  void assemble(bool final) {
    const float factor = final ? inverseTemperature() : 1.0f;
    const float *left = left_, *right = right_;
    const int64_t n = this->n(), m = this->m(), depth = 2 * std::exchange(filled_, 0);
    inBlocks<tile>(n, [&]<int R>(int64_t i) {
      inBlocks<tile>(m, [&]<int C>(int64_t j) {
        vf product[R][C] = {};
        for (int64_t k = 0; k < depth; k++) {
          vf column[C];
          for (int c = 0; c < C; c++) column[c] = at(right, k * m + j + c);
          for (int r = 0; r < R; r++) {
            const vf row = at(left, k * n + i + r);
            for (int c = 0; c < C; c++) product[r][c] = fma(row, column[c], product[r][c]);
          }
        }
        for (int r = 0; r < R; r++) {
          for (int c = 0; c < C; c++) {
            const int64_t e = (i + r) * m + j + c;
            const vf p = at(p_, e), rest = at(rest_, e);
            const vf sum = logarithmic() ? rest - p * product[r][c] : rest - product[r][c];
            put(rest_, e, (final && !logarithmic() ? p * sum : sum) * factor);
          }
        }
      });
    });
  }

  // An iteration with a temperature of its own, of which the potentials were recorded.
  void stepAnnealed(int64_t t) {
    const double temperature = run_.temperatureAt(t);
    const float ratio = static_cast<float>(temperature / run_.temperatureAt(t + 1)),
                factor = static_cast<float>(1 / temperature),
                scale = t == 1 ? 1 : static_cast<float>(run_.temperatureAt(t - 1) / temperature);
    const Leak rowLeak = run_.rowLeak(t), columnLeak = run_.columnLeak(t);
    const float *f = slot(t), *g = f + n() * lanes;
    const float *rows = recorded(run_.layout.rows), *columns = recorded(run_.layout.columns);
    const float* inverseRows = run_.unbalanced ? f + (n() + m()) * lanes : rows;
    const float* inverseColumns = run_.unbalanced ? inverseRows + n() * lanes : columns;
    float *z = left_, *y = right_, *before = right_ + m() * lanes;
    for (int64_t j = 0; j < m(); j++) {
      const vf e = at(barG_, j) * ratio * columnLeak.met;
      put(y, j, e * at(inverseColumns, j));
      put(massColumns_, j, fma(e, at(columns, j), at(massColumns_, j)));
      const vf ahead =
          t == 1 ? at(recorded(run_.layout.start), j) : boundedExp(scale * at(slot(t - 1) + n() * lanes, j) - at(g, j));
      put(before, j, select(at(columns, j) > 0.0f, ahead, vf{}));
    }
    kernel(temperature, f, g);
    passInLanes(p_, n(), m(), y, sums_, t, [&]<int R>(int64_t i, vf(&weight)[R]) {
      for (int r = 0; r < R; r++) {
        const vf e = -weight[r] * rowLeak.met;
        put(massRows_, i + r, fma(e, at(rows, i + r), at(massRows_, i + r)));
        put(z, i + r, weight[r] = e * at(inverseRows, i + r));
      }
    });
    for (int64_t i = 0; i < n(); i++) {
      for (int64_t j = 0; j < m(); j++) {
        const int64_t e = i * m() + j;
        put(rest_, e, at(rest_, e) - at(p_, e) * (at(y, j) + at(z, i) * at(before, j)) * factor);
      }
    }
    for (int64_t j = 0; j < m(); j++) put(barG_, j, -(at(before, j) * at(sums_, j)));
  }

  // û and z, y and v̂ of iterations that wait for their assembly; products of what was absorbed, and their reciprocals.
  float *left_, *right_, *absorbedU_, *inverseU_, *absorbedV_, *inverseV_, *hereV_;
  vf done_{};
  // v̂ of where the way back has come to, and how many iterations wait.
  const float* v_ = nullptr;
  int64_t filled_ = 0;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
