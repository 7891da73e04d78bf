// The forward pass with one matrix per lane.
#pragma once

#include "sinkhorn-lanes.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// The work on one group of matrices. `plain` runs have one mass for all rows and one for all columns, and do not stop.
// What a lane gets depends on its own matrix alone: choices are made per lane. With `side`, that is the matrices', and
// loops become straight lines.
template <bool plain, int side = 0>
class ForwardInLanes {
 public:
  static int64_t area(const Forward& run) {
    return (2 * run.sides.size() + 6 * run.sides.n + 7 * run.sides.m + recordSize(run)) * lanes;
  }

  ForwardInLanes(const Forward& run, float* area) : run_(run), n_(run.sides.n), m_(run.sides.m) {
    const auto take = [&](int64_t vectors) { return std::exchange(area, area + vectors * lanes); };
    kernel_ = take(n_ * m_), x_ = take(n_ * m_), record_ = take(recordSize(run)), spare_ = take(2 * (n_ + m_));
    a_ = take(n_), f_ = take(n_), onesU_ = take(n_), absorbedU_ = take(n_);
    b_ = take(m_), g_ = take(m_), onesV_ = take(m_), absorbedV_ = take(m_), sums_ = take(m_);
  }

  // Where nothing stops early, two groups go through their iterations in turns.
  static constexpr bool pairs = plain;
  static void both(ForwardInLanes& one, ForwardInLanes& other, int64_t first) {
    one.begin(first);
    other.begin(first + lanes);
    iterate(one.run_, one, other);
    one.finish();
    other.finish();
  }
  void operator()(int64_t first) {
    begin(first);
    iterate(run_, *this);
    finish();
  }
  // What a run leaves, in vectors: P, and the record if it keeps one.
  float* shares() { return kernel_; }
  float* record() { return record_; }

 private:
  int64_t n() const { return side > 0 ? side : n_; }
  int64_t m() const { return side > 0 ? side : m_; }
  static int64_t recordSize(const Forward& run) { return std::max(run.layout.size, run.layout.history); }
  float* recorded(int64_t offset) { return record_ + offset * lanes; }
  // Where u and v of iteration t go: into the record if it has a place for them.
  float* slot(int64_t t) {
    return run_.history ? recorded(run_.layout.history + (t - 1) * run_.layout.stride)
                        : spare_ + (t % 2) * (n() + m()) * lanes;
  }
  bool wantsInverses() const { return !plain && run_.unbalanced && run_.history; }

  void begin(int64_t first) {
    first_ = first;
    valid_ = std::min<int64_t>(lanes, run_.sides.count - first);
    done_ = vi{};
    doneAfter_ = broadcast(static_cast<float>(run_.iterations));
    error_ = vf{};
    u_ = onesU_;
    v_ = onesV_;
    if constexpr (plain) {
      sweepPlain();
    } else {
      fill(absorbedU_, n(), broadcast(1.0f));
      fill(absorbedV_, m(), broadcast(1.0f));
      fill(a_, n(), vf{});
      fill(b_, m(), vf{});
      fill(g_, m(), vf{});
      for (int64_t l = 0; l < valid_; l++) run_.masses(first + l, a_ + l, b_ + l, g_ + l, lanes);
      for (int64_t t = 1; t <= run_.firsts(); t++) sweep(t);
      if (run_.annealed > 0) cool();
    }
  }
  template <class... Group>
  static void iterate(const Forward& run, Group&... groups) {
    for (int64_t t = run.firsts() + 1; t <= run.iterations; t++) {
      if (!(groups.iterate(t) | ...)) return;
      if (run.endsBlock(t) && t < run.iterations) (groups.absorb(t), ...);
    }
  }

  void loadLogits(double temperature, float* to) {
    Scaler scale(temperature);
    const float* from = run_.logits + first_ * run_.sides.size();
    if constexpr (plain) {
      matricesIntoLanes(run_.sides, from, valid_, [&](int64_t place, vf value) { put(to, place, scale(value)); });
    } else {
      if (run_.mask) maskIntoLanes(run_.sides, run_.mask, first_, valid_, to);
      for (int64_t i = 0; i < n(); i++) {
        for (int64_t j = 0; j < m(); j++) {
          const vi inside = (at(a_, i) > 0.0f) & (at(b_, j) > 0.0f);
          put(to, i * m() + j, fromBits(run_.mask ? inside & bits(at(to, i * m() + j)) : inside));
        }
      }
      matricesIntoLanes(run_.sides, from, valid_,
                        [&](int64_t place, vf value) { put(to, place, scale(value, bits(at(to, place)))); });
    }
    scale.report(*run_.context);
  }

  // Shares of column j in what its entries x + f add up to: into K̃, with the largest x + f and the sum of the shares.
  [[gnu::always_inline]] inline void shares(int64_t j, vf& peak, vf& sum, float* to, int64_t step) {
    peak = broadcast(far);
    sum = vf{};
    for (int64_t i = 0; i < n(); i++) peak = larger(at(x_, i * m() + j) + at(f_, i), peak);
    for (int64_t i = 0; i < n(); i++) {
      const vf share = exp(at(x_, i * m() + j) + at(f_, i) - peak);
      put(to, i * step, share);
      sum += share;
    }
  }

  // The first iteration. exp(x − largest of the row) serves rows and columns; only where a column has nearly nothing of
  // it, the exponentials are taken again, relative to the largest of the column. What sums ask for counts as absorbed.
  void sweepPlain() {
    const float a = run_.plainRow(), b = run_.plainColumn();
    loadLogits(run_.temperature, kernel_);
    fill(sums_, m(), vf{});
    inBlocks<tall>(n(), [&]<int R>(int64_t i) {
      float* rows = kernel_ + i * m() * lanes;
      vf weight[R];
      for (int r = 0; r < R; r++) {
        vf peak = at(rows, r * m()), sum{};
        for (int64_t j = 1; j < m(); j++) peak = larger(at(rows, r * m() + j), peak);
        for (int64_t j = 0; j < m(); j++) {
          const vf share = exp(at(rows, r * m() + j) - peak);
          put(rows, r * m() + j, share);
          sum += share;
        }
        weight[r] = a * inverse(sum);
        put(absorbedU_, i + r, weight[r]);
        put(f_, i + r, -peak);
        put(onesU_, i + r, broadcast(1.0f));
      }
      for (int64_t j = 0; j < m(); j++) {
        vf sum = at(sums_, j);
        for (int r = 0; r < R; r++) sum = fma(at(rows, r * m() + j), weight[r], sum);
        put(sums_, j, sum);
      }
    });
    vi anyLost{};
    for (int64_t j = 0; j < m(); j++) {
      const vf sum = at(sums_, j), scale = b * inverse(bounded(sum));
      anyLost |= isLost(sum);
      put(absorbedV_, j, scale);
      put(g_, j, vf{});
      put(recorded(run_.layout.start), j, sum / b);
      put(onesV_, j, broadcast(1.0f));
    }
    for (int64_t i = 0; i < n(); i++) {
      const vf weight = at(absorbedU_, i);
      for (int64_t j = 0; j < m(); j++)
        put(kernel_, i * m() + j, at(kernel_, i * m() + j) * (weight * at(absorbedV_, j)));
    }
    if (anyOf(anyLost)) sweepLost();
    if (run_.history) fill(slot(1), n() + m(), broadcast(1.0f));
  }
  vi isLost(vf sum) const { return sum < 1e-8f * run_.plainRow(); }

  void sweepLost() {
    loadLogits(run_.temperature, x_);
    for (int64_t i = 0; i < n(); i++) {
      put(f_, i, at(f_, i) + log(at(absorbedU_, i)));
      put(absorbedU_, i, broadcast(1.0f));
    }
    const float b = run_.plainColumn();
    for (int64_t j = 0; j < m(); j++) {
      const vi lost = isLost(at(sums_, j));
      if (!anyOf(lost)) continue;
      vf peak, sum;
      shares(j, peak, sum, spare_, 1);
      const vf scale = b / sum;
      put(g_, j, select(lost, -peak, vf{}));
      put(absorbedV_, j, select(lost, scale, at(absorbedV_, j)));
      float* start = recorded(run_.layout.start);
      put(start, j, select(lost, exp(peak) * sum / b, at(start, j)));
      for (int64_t i = 0; i < n(); i++)
        put(kernel_, i * m() + j, select(lost, at(spare_, i) * scale, at(kernel_, i * m() + j)));
    }
  }

  // An iteration by log-sum-exp: the first one, and each that has a temperature of its own.
  void sweep(int64_t t) {
    const double temperature = run_.temperatureAt(t);
    const Leak rowLeak = run_.rowLeak(t), columnLeak = run_.columnLeak(t);
    loadLogits(temperature, x_);
    if (t > 1) rescale(g_, m() * lanes, run_.temperatureAt(t - 1) / temperature);
    float* here = slot(t);
    float* inverses = here + (n() + m()) * lanes;
    for (int64_t i = 0; i < n(); i++) {
      const float* row = x_ + i * m() * lanes;
      vf peak = broadcast(far), sum{};
      for (int64_t j = 0; j < m(); j++) peak = larger(at(row, j) + at(g_, j), peak);
      for (int64_t j = 0; j < m(); j++) sum += exp(at(row, j) + at(g_, j) - peak);
      const vi alive = peak > nowhere;
      const vf lse = peak + log(sum);
      const vf f = select(alive, rowLeak.met * (boundedLog(at(a_, i)) - lse), broadcast(excluded));
      put(f_, i, f);
      put(a_, i, select(alive, at(a_, i), vf{}));
      put(onesU_, i, select(alive, broadcast(1.0f), vf{}));
      if (wantsInverses()) put(inverses, i, select(alive, boundedExp(-(f + lse)), vf{}));
      if (run_.history) put(here, i, run_.annealed > 0 ? f : at(onesU_, i));
    }
    for (int64_t j = 0; j < m(); j++) {
      vf peak, sum;
      shares(j, peak, sum, kernel_ + j * lanes, m());
      const vi alive = peak > nowhere;
      const vf lse = peak + log(sum), before = at(g_, j);
      const vf g = select(alive, columnLeak.met * (boundedLog(at(b_, j)) - lse), broadcast(excluded));
      const vf scale = select(alive, run_.unbalanced ? boundedExp(peak + g) : at(b_, j) / sum, vf{});
      for (int64_t i = 0; i < n(); i++) put(kernel_, i * m() + j, at(kernel_, i * m() + j) * scale);
      put(g_, j, g);
      put(b_, j, select(alive, at(b_, j), vf{}));
      put(onesV_, j, select(alive, broadcast(1.0f), vf{}));
      if (wantsInverses()) put(inverses, n() + j, select(alive, boundedExp(-(g + lse)), vf{}));
      if (run_.history) put(here, n() + j, run_.annealed > 0 ? g : at(onesV_, j));
      if (t == 1) put(recorded(run_.layout.start), j, select(alive, boundedExp(before - g), vf{}));
    }
  }

  // From the last annealed temperature to the one that stays.
  void cool() {
    const double ratio = run_.temperatureAt(run_.annealed) / run_.temperature;
    rescale(f_, n() * lanes, ratio);
    rescale(g_, m() * lanes, ratio);
    loadLogits(run_.temperature, x_);
    for (int64_t i = 0; i < n(); i++) {
      for (int64_t j = 0; j < m(); j++) put(kernel_, i * m() + j, fresh(i, j));
    }
  }
  vf fresh(int64_t i, int64_t j) const { return boundedExp(at(x_, i * m() + j) + at(f_, i) + at(g_, j)); }

  // False when all matrices had stopped before it.
  bool iterate(int64_t t) {
    float *nextU = slot(t), *nextV = nextU + n() * lanes;
    if constexpr (plain) {
      const vf a = broadcast(run_.plainRow()), b = broadcast(run_.plainColumn());
      passInLanes(kernel_, n(), m(), v_, sums_, t, [&]<int R>(int64_t i, vf(&weight)[R]) {
        for (int r = 0; r < R; r++) put(nextU, i + r, weight[r] = scaling(a, weight[r]));
      });
      for (int64_t j = 0; j < m(); j++) put(nextV, j, scaling(b, at(sums_, j)));
    } else {
      const bool looks = run_.looks(t);
      const Leak rowLeak = run_.rowLeak(t), columnLeak = run_.columnLeak(t);
      float* inverses = nextU + (n() + m()) * lanes;
      const auto scaled = [&](vf mass, vf sum, vf potential, Leak leak) {
        return run_.unbalanced ? leakyScaling(mass, sum, potential, leak) : scaling(mass, sum);
      };
      vf error{};
      passInLanes(kernel_, n(), m(), v_, sums_, t, [&]<int R>(int64_t i, vf(&weight)[R]) {
        for (int r = 0; r < R; r++) {
          const vf sum = weight[r], before = at(u_, i + r), next = scaled(at(a_, i + r), sum, at(f_, i + r), rowLeak);
          error += sum * abs(next - before);
          if (wantsInverses()) put(inverses, i + r, inverseOf(next * sum));
          put(nextU, i + r, weight[r] = select(done_, before, next));
        }
      });
      if (looks && stop(t - 1, error)) {
        if (!anyOf(~done_)) return false;
        for (int64_t i = 0; i < n(); i++) put(nextU, i, select(done_, at(u_, i), at(nextU, i)));
      }
      for (int64_t j = 0; j < m(); j++) {
        const vf sum = at(sums_, j), next = scaled(at(b_, j), sum, at(g_, j), columnLeak);
        if (wantsInverses()) put(inverses, n() + j, inverseOf(next * sum));
        put(nextV, j, select(done_, at(v_, j), next));
      }
    }
    u_ = nextU;
    v_ = nextV;
    return true;
  }

  // Whether any matrix stops after iteration t, at which it has this error.
  bool stop(int64_t t, vf error) {
    const vi stops = (error <= run_.tolerance) & ~done_;
    doneAfter_ = select(stops, broadcast(static_cast<float>(t)), doneAfter_);
    error_ = select(stops, error, error_);
    done_ |= stops;
    return anyOf(stops);
  }

  void absorb(int64_t t) {
    const vf highU = scaleBy(absorbedU_, u_, n() * lanes), highV = scaleBy(absorbedV_, v_, m() * lanes);
    const bool all = run_.unbalanced || (t - run_.firsts()) % (block * mostMultiplications) == 0;
    const vi drifted = (highU * highV > mostDrift) | (highU > mostDrift) | (highV > mostDrift);
    const vi renewed = (drifted | (all ? ~vi{} : vi{})) & ~done_;
    if (anyOf(renewed)) {
      if constexpr (plain) loadLogits(run_.temperature, x_);
      const auto move = [&](float* potentials, float* total, int64_t size) {
        for (int64_t i = 0; i < size; i++) {
          put(potentials, i, at(potentials, i) + select(renewed, log(at(total, i)), vf{}));
          put(total, i, select(renewed, broadcast(1.0f), at(total, i)));
        }
      };
      move(f_, absorbedU_, n());
      move(g_, absorbedV_, m());
      for (int64_t i = 0; i < n(); i++) {
        const vf u = at(u_, i);
        for (int64_t j = 0; j < m(); j++) {
          const vf product = at(kernel_, i * m() + j) * (u * at(v_, j));
          put(kernel_, i * m() + j, select(renewed, fresh(i, j), product));
        }
      }
    } else {
      multiply();
    }
    u_ = onesU_;
    v_ = onesV_;
  }
  // K̃ ∘ u vᵀ in place of K̃.
  void multiply() {
    float* row = kernel_;
    const float *us = u_, *v = v_;
    for (int64_t i = 0; i < n(); i++, row += m() * lanes) {
      const vf u = at(us, i);
      for (int64_t j = 0; j < m(); j++) put(row, j, at(row, j) * (u * at(v, j)));
    }
  }

  void finish() {
    if (!plain && run_.error) {
      const Leak leak = run_.rowLeak(run_.iterations);
      vf error{};
      for (int64_t i = 0; i < n(); i++) {
        vf sum{};
        for (int64_t j = 0; j < m(); j++) sum = fma(at(kernel_, i * m() + j), at(v_, j), sum);
        const vf next = run_.unbalanced ? leakyScaling(at(a_, i), sum, at(f_, i), leak) : scaling(at(a_, i), sum);
        error += sum * abs(next - at(u_, i));
      }
      error_ = select(done_, error_, error);
    }
    if (run_.layout.size > 0 || run_.plan == Plan::logarithms) {
      const auto move = [](float* potentials, const float* total, const float* scalings, const float* ones,
                           int64_t size) {
        for (int64_t i = 0; i < size; i++) {
          const vf potential = at(potentials, i) + log(bounded(at(total, i) * at(scalings, i)));
          put(potentials, i, select(at(ones, i) > 0.0f, potential, broadcast(excluded)));
        }
      };
      move(f_, absorbedU_, u_, onesU_, n());
      move(g_, absorbedV_, v_, onesV_, m());
    }
    if (run_.plan == Plan::shares) {
      multiply();
    } else if (run_.plan == Plan::logarithms) {
      if constexpr (plain) loadLogits(run_.temperature, x_);
      for (int64_t i = 0; i < n(); i++) {
        for (int64_t j = 0; j < m(); j++)
          put(kernel_, i * m() + j, atLeast(at(x_, i * m() + j) + at(f_, i) + at(g_, j), excluded));
      }
    }
    if (run_.p && run_.plan != Plan::none)
      matricesOutOfLanes(run_.sides, kernel_, valid_, run_.p + first_ * run_.sides.size());
    if (run_.layout.size > 0) writeRecord();
  }

  void writeRecord() {
    const Layout& layout = run_.layout;
    put(record_, 0, doneAfter_);
    put(record_, 1, !plain && run_.error ? error_ : vf{});
    for (int64_t i = 0; i < n(); i++) {
      put(recorded(layout.f), i, at(f_, i));
      put(recorded(layout.rows), i, plain ? broadcast(1 / run_.plainRow()) : inverseMass(at(a_, i)));
    }
    for (int64_t j = 0; j < m(); j++) {
      put(recorded(layout.g), j, at(g_, j));
      put(recorded(layout.columns), j, plain ? broadcast(1 / run_.plainColumn()) : inverseMass(at(b_, j)));
    }
    if (!plain && run_.history && run_.checkEvery > 0) {
      for (int64_t t = 1; t <= run_.iterations; t++) {
        const vi kept = broadcast(static_cast<float>(t)) <= doneAfter_;
        for (int64_t e = 0; e < layout.stride; e++) put(slot(t), e, select(kept, at(slot(t), e), vf{}));
      }
    }
    if (!run_.record) return;
    const float* values = record_;
    outOfLanes([&](int64_t e) { return at(values, e); }, layout.size, layout.size, valid_,
               run_.record + first_ * layout.size);
  }
  static vf inverseMass(vf mass) { return select(mass > 0.0f, 1.0f / atLeast(mass, 1e-30f), vf{}); }

  const Forward& run_;
  const int64_t n_, m_;
  int64_t first_ = 0, valid_ = 0;
  // K̃, logits, the record, a place for scalings that are not recorded.
  float *kernel_, *x_, *record_, *spare_;
  // Of rows and of columns: masses, potentials, scalings of 1 (0 where out), what was absorbed since K̃ was last made.
  float *a_, *f_, *onesU_, *absorbedU_, *b_, *g_, *onesV_, *absorbedV_, *sums_;
  // The scalings since the last absorption.
  const float *u_ = nullptr, *v_ = nullptr;
  // Matrices that have stopped, the iterations that each took, the errors.
  vi done_{};
  vf doneAfter_{}, error_{};
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
