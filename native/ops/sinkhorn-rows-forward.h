// The forward pass with rows in vectors.
#pragma once

#include "sinkhorn-rows.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

class ForwardInRows {
 public:
  static int64_t area(const Forward& run) {
    return (inPlace(run) ? 0 : areaOf(run.sides)) + 7 * padded(run.sides.n) + 9 * padded(run.sides.m) +
           Panels::area(run) + padded(Panels::area(run) / padded(run.sides.m));
  }

  ForwardInRows(const Forward& run, float* area)
      : run_(run),
        n_(run.sides.n),
        m_(run.sides.m),
        height_(padded(n_)),
        width_(padded(m_)),
        panels_(run, area),
        kernel_{area, strideOf(m_)} {
    if (inPlace(run)) {
      kernel_.stride = m_;
    } else {
      area += areaOf(run.sides);
    }
    float* from = area;
    const auto take = [&](int64_t size) { return std::exchange(area, area + size); };
    a_ = take(height_), f_ = take(height_), onesU_ = take(height_), absorbedU_ = take(height_);
    u_ = take(height_), nextU_ = take(height_), inverseU_ = take(height_);
    b_ = take(width_), g_ = take(width_), onesV_ = take(width_), absorbedV_ = take(width_);
    v_ = take(width_), in_ = take(width_), sums_ = take(width_), peaks_ = take(width_), inverseV_ = take(width_);
    errors_ = take(padded(panels_.count()));
    std::fill(from, area, 0.0f);
  }

  void operator()(int64_t b) {
    index_ = b;
    if (inPlace(run_)) kernel_.data = run_.p + b * run_.sides.size();
    record_ = run_.layout.size > 0 ? run_.record + b * run_.layout.size : nullptr;
    run_.masses(b, a_, b_, g_, 1);
    done_ = run_.iterations;
    error_ = 0;
    for (int64_t t = 1; t <= run_.firsts(); t++) sweep(t);
    if (run_.annealed > 0) {
      const double ratio = run_.temperatureAt(run_.annealed) / run_.temperature;
      rescale(f_, height_, ratio);
      rescale(g_, width_, ratio);
      renew();
    }
    begin();
    for (int64_t t = run_.firsts() + 1; t <= run_.iterations; t++) {
      if (!iterate(t)) break;
      if (run_.endsBlock(t) && t < run_.iterations) absorb(t);
    }
    finish();
  }

 private:
  // K̃ is made where P will be, if it needs no padding.
  static bool inPlace(const Forward& run) { return needsNoPadding(run.sides) && run.plan != Plan::none; }
  void begin() {
    std::copy(onesU_, onesU_ + height_, u_);
    std::copy(onesV_, onesV_ + width_, v_);
    for (int64_t j = 0; j < width_; j += lanes) store(in_ + j, load(absorbedV_ + j) * load(v_ + j));
  }
  void record(int64_t offset, const float* values, int64_t size) {
    if (record_) std::copy(values, values + size, record_ + offset);
  }
  int64_t slot(int64_t t) const { return run_.layout.history + (t - 1) * run_.layout.stride; }
  void recordIteration(int64_t t, const float* rows, const float* columns) {
    if (!run_.history) return;
    record(slot(t), rows, n_);
    record(slot(t) + n_, columns, m_);
    if (!run_.unbalanced) return;
    record(slot(t) + n_ + m_, inverseU_, n_);
    record(slot(t) + 2 * n_ + m_, inverseV_, m_);
  }

  // Logits of `lanes` rows over the temperature, into the place of K̃; `far` for what is out and for the padding.
  void loadRows(int64_t i, Scaler& scaler) {
    Scaler scale = scaler;
    const float* from = run_.logits + index_ * run_.sides.size();
    const int32_t* mask = run_.mask.of(index_);
    rowsIn(run_.sides, from, i, kernel_);
    for (int64_t r = i; r < i + lanes; r++) {
      float* row = kernel_.row(r);
      const bool out = r >= n_ || !(a_[r] > 0);
      for (int64_t j = 0; j < width_; j += lanes) {
        if (out) {
          store(row + j, broadcast(far));
        } else {
          store(row + j, scale(load(row + j), allowedIn(run_.sides, mask, r, j, load(b_ + j) > 0.0f)));
        }
      }
    }
    scaler = scale;
  }

  // An iteration by log-sum-exp: the first one, and each that has a temperature of its own. Rows first.
  void sweep(int64_t t) {
    const double temperature = run_.temperatureAt(t);
    if (t > 1) rescale(g_, width_, run_.temperatureAt(t - 1) / temperature);
    const bool quick = run_.plain();
    const Leak leak = run_.rowLeak(t);
    panels_.each([&](int64_t panel, int64_t begin, int64_t end) {
      Scaler scale(temperature);
      float* part = panels_.part(panel);
      std::fill(part, part + width_, quick ? 0.0f : far);
      for (int64_t i = begin; i < end; i += lanes) {
        if (quick) {
          quickRows(i, scale, part);
        } else {
          loadRows(i, scale);
          potentialsOfRows(i, leak, part);
        }
      }
      scale.report(*run_.context);
    });
    if (quick && quickColumns()) {
      recordIteration(1, onesU_, onesV_);
      return;
    }
    panels_.collect(peaks_, theLarger);
    sweepColumns(t);
    std::copy(onesU_, onesU_ + height_, absorbedU_);
    std::copy(onesV_, onesV_ + width_, absorbedV_);
    recordIteration(t, run_.annealed > 0 ? f_ : onesU_, run_.annealed > 0 ? g_ : onesV_);
  }

  void potentialsOfRows(int64_t i, Leak leak, float* peaks) {
    vf peak[lanes], sum[lanes];
    for (int r = 0; r < lanes; r++) {
      peak[r] = broadcast(far);
      for (int64_t j = 0; j < width_; j += lanes)
        peak[r] = larger(load(kernel_.row(i + r) + j) + load(g_ + j), peak[r]);
    }
    const vf tops = largestOf(peak);
    for (int r = 0; r < lanes; r++) {
      const vf top = broadcast(tops[r]);
      sum[r] = vf{};
      for (int64_t j = 0; j < width_; j += lanes) sum[r] += exp(load(kernel_.row(i + r) + j) + load(g_ + j) - top);
    }
    const vf totals = sumsOf(sum);
    const vi alive = tops > nowhere;
    const vf lse = tops + log(totals), mass = load(a_ + i);
    const vf f = select(alive, leak.met * (boundedLog(mass) - lse), broadcast(excluded));
    store(f_ + i, f);
    store(a_ + i, select(alive, mass, vf{}));
    store(onesU_ + i, select(alive, broadcast(1.0f), vf{}));
    store(inverseU_ + i, select(alive, boundedExp(-(f + lse)), vf{}));
    moveRows(i, peaks);
  }
  // x + f in place of x, and the largest of each column.
  void moveRows(int64_t i, float* peaks) {
    for (int64_t j = 0; j < width_; j += lanes) {
      vf peak = load(peaks + j);
      for (int64_t r = i; r < i + lanes; r++) {
        const vf moved = load(kernel_.row(r) + j) + broadcast(f_[r]);
        store(kernel_.row(r) + j, moved);
        peak = larger(moved, peak);
      }
      store(peaks + j, peak);
    }
  }
  void sweepColumns(int64_t t) {
    panels_.each([&](int64_t panel, int64_t begin, int64_t end) {
      for (int64_t j = 0; j < width_; j += lanes) {
        const vf peak = load(peaks_ + j);
        vf sum{};
        for (int64_t i = begin; i < end; i++) {
          const vf share = exp(load(kernel_.row(i) + j) - peak);
          store(kernel_.row(i) + j, share);
          sum += share;
        }
        store(panels_.part(panel) + j, sum);
      }
    });
    panels_.add(sums_);
    const Leak leak = run_.columnLeak(t);
    for (int64_t j = 0; j < width_; j += lanes) {
      const vf peak = load(peaks_ + j), sum = load(sums_ + j), mass = load(b_ + j), before = load(g_ + j);
      const vi alive = peak > nowhere;
      const vf lse = peak + log(sum);
      const vf g = select(alive, leak.met * (boundedLog(mass) - lse), broadcast(excluded));
      store(g_ + j, g);
      store(b_ + j, select(alive, mass, vf{}));
      store(onesV_ + j, select(alive, broadcast(1.0f), vf{}));
      store(inverseV_ + j, select(alive, boundedExp(-(g + lse)), vf{}));
      store(sums_ + j, select(alive, run_.unbalanced ? boundedExp(peak + g) : mass / sum, vf{}));
      store(peaks_ + j, select(alive, boundedExp(before - g), vf{}));
    }
    if (run_.history && t == 1) record(run_.layout.start, peaks_, m_);
    multiply(nullptr, sums_);
  }

  // exp(x − largest of the row) is K̃, for rows and columns alike: what their sums ask for counts as absorbed.
  void quickRows(int64_t i, Scaler& scaler, float* part) {
    Scaler scale = scaler;
    const int64_t rows = std::min<int64_t>(lanes, n_ - i);
    const float* logits = run_.logits + index_ * run_.sides.size();
    if (run_.sides.column) rowsIn(run_.sides, logits, i, kernel_);
    vf peak[lanes] = {}, sums[lanes] = {};
    for (int64_t r = 0; r < rows; r++) {
      float* row = kernel_.row(i + r);
      vf top = broadcast(far);
      alongRow(m_, [&](int64_t j, int64_t width) {
        const float* values = run_.sides.column ? row + j : logits + (i + r) * m_ + j;
        const vf x = width == lanes ? scale(load(values)) : scale(loadPartial(values, width), load(b_ + j) > 0.0f);
        store(row + j, x);
        top = larger(x, top);
      });
      peak[r] = top;
    }
    scaler = scale;
    const vf tops = largestOf(peak);
    for (int64_t r = 0; r < lanes; r++) {
      float* row = kernel_.row(i + r);
      if (r >= rows) std::fill(row, row + width_, 0.0f);
      for (int64_t j = 0; r < rows && j < width_; j += lanes) {
        const vf share = exp(load(row + j) - broadcast(tops[r]));
        store(row + j, share);
        sums[r] += share;
      }
    }
    const vf mass = load(a_ + i), weight = scaling(mass, sumsOf(sums));
    const vi alive = mass > 0.0f;
    store(f_ + i, select(alive, -tops, broadcast(excluded)));
    store(onesU_ + i, select(alive, broadcast(1.0f), vf{}));
    store(absorbedU_ + i, weight);
    for (int64_t j = 0; j < width_; j += lanes) {
      vf sum = load(part + j);
      for (int r = 0; r < lanes; r++) sum = fma(load(kernel_.row(i + r) + j), broadcast(weight[r]), sum);
      store(part + j, sum);
    }
  }
  // False where a column has nearly nothing of any row's largest: its sum is to be taken relative to its own largest.
  // Then x + f is in place of x, as for sweepColumns.
  bool quickColumns() {
    panels_.add(sums_);
    vi lost{};
    for (int64_t j = 0; j < width_; j += lanes) {
      const vf mass = load(b_ + j), sum = load(sums_ + j), scale = scaling(mass, sum);
      const vi alive = mass > 0.0f;
      lost |= alive & (sum < 1e-8f * run_.plainRow());
      store(absorbedV_ + j, scale);
      store(peaks_ + j, select(alive, sum / mass, vf{}));
      store(onesV_ + j, select(alive, broadcast(1.0f), vf{}));
    }
    if (anyOf(lost)) {
      move(f_, absorbedU_, nullptr, onesU_, height_);
      panels_.each([&](int64_t panel, int64_t begin, int64_t end) {
        Scaler scale(run_.temperature);
        float* part = panels_.part(panel);
        std::fill(part, part + width_, far);
        for (int64_t i = begin; i < end; i += lanes) {
          loadRows(i, scale);
          moveRows(i, part);
        }
      });
      return false;
    }
    if (run_.history) record(run_.layout.start, peaks_, m_);
    return true;
  }

  // K̃ ∘ u vᵀ in place of K̃, or K̃ diag(v).
  void multiply(const float* u, const float* v) {
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        float* row = kernel_.row(i);
        const vf factor = broadcast(u ? u[i] : 1.0f);
        for (int64_t j = 0; j < width_; j += lanes) store(row + j, load(row + j) * (factor * load(v + j)));
      }
    });
  }
  // K̃ from the logits and the potentials.
  void renew() {
    eachRow(run_.temperature,
            [&](int64_t i, int64_t j, vf x) { return boundedExp(x + broadcast(f_[i]) + load(g_ + j)); });
  }
  // f(i, j, logits / temperature) in place of K̃.
  template <class F>
  void eachRow(double temperature, F&& f) {
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      Scaler scale(temperature);
      for (int64_t i = begin; i < end; i += lanes) {
        loadRows(i, scale);
        for (int64_t r = i; r < i + lanes; r++) {
          for (int64_t j = 0; j < width_; j += lanes) store(kernel_.row(r) + j, f(r, j, load(kernel_.row(r) + j)));
        }
      }
    });
  }

  vf scaled(const float* masses, const float* potentials, int64_t i, vf sum, Leak leak) const {
    return run_.unbalanced ? leakyScaling(load(masses + i), sum, load(potentials + i), leak)
                           : scaling(load(masses + i), sum);
  }

  // The scalings of rows that follow from v into nextU_, the column sums into sums_; returns the error before that.
  float halfStep(const Leak leak, bool looks) {
    std::fill(errors_, errors_ + panels_.count(), 0.0f);
    panels_.pass(kernel_, in_, sums_, [&](int64_t i, vf product, int64_t panel) {
      const vf absorbed = load(absorbedU_ + i), sum = absorbed * product, next = scaled(a_, f_, i, sum, leak);
      store(nextU_ + i, next);
      if (run_.unbalanced) store(inverseU_ + i, inverseOf(next * sum));
      if (looks) errors_[panel] += birkhoff::BIRKHOFF_ISA::sum(sum * abs(next - load(u_ + i)));
      return absorbed * next;
    });
    float error = 0;
    for (int64_t k = 0; k < panels_.count(); k++) error += errors_[k];
    return error;
  }

  // False when the matrix had stopped before it.
  bool iterate(int64_t t) {
    const bool looks = run_.looks(t);
    const float error = halfStep(run_.rowLeak(t), looks);
    if (looks && error <= run_.tolerance) {
      error_ = error;
      done_ = t - 1;
      return false;
    }
    std::swap(u_, nextU_);
    const Leak leak = run_.columnLeak(t);
    for (int64_t j = 0; j < width_; j += lanes) {
      const vf absorbed = load(absorbedV_ + j), sum = absorbed * load(sums_ + j), next = scaled(b_, g_, j, sum, leak);
      store(v_ + j, next);
      store(in_ + j, absorbed * next);
      if (run_.unbalanced) store(inverseV_ + j, inverseOf(next * sum));
    }
    recordIteration(t, u_, v_);
    return true;
  }

  void absorb(int64_t t) {
    const float highU = maxOf(scaleBy(absorbedU_, u_, height_)), highV = maxOf(scaleBy(absorbedV_, v_, width_));
    const bool all = run_.unbalanced || (t - run_.firsts()) % (block * mostMultiplications) == 0;
    if (all || highU * highV > mostDrift || highU > mostDrift || highV > mostDrift) {
      move(f_, absorbedU_, nullptr, onesU_, height_);
      move(g_, absorbedV_, nullptr, onesV_, width_);
      renew();
    }
    begin();
  }
  void finish() {
    if (run_.error && done_ == run_.iterations) error_ = halfStep(run_.rowLeak(run_.iterations), true);
    for (int64_t i = 0; i < height_; i += lanes) store(nextU_ + i, load(absorbedU_ + i) * load(u_ + i));
    if (record_ || run_.plan == Plan::logarithms) {
      move(f_, absorbedU_, u_, onesU_, height_);
      move(g_, absorbedV_, v_, onesV_, width_);
    }
    if (record_) writeRecord();
    if (run_.plan == Plan::none) return;
    if (run_.plan == Plan::shares) {
      multiply(nextU_, in_);
    } else {
      eachRow(run_.temperature,
              [&](int64_t i, int64_t j, vf x) { return atLeast(x + broadcast(f_[i]) + load(g_ + j), excluded); });
    }
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += lanes)
        if (i < n_) rowsOut(run_.sides, kernel_, i, run_.p + index_ * run_.sides.size());
    });
  }

  void writeRecord() {
    const Layout& layout = run_.layout;
    const auto inverses = [](float* to, const float* masses, int64_t size) {
      for (int64_t i = 0; i < size; i++) to[i] = masses[i] > 0 ? 1 / std::max(masses[i], 1e-30f) : 0;
    };
    record_[0] = static_cast<float>(done_);
    record_[1] = run_.error ? error_ : 0;
    record(layout.f, f_, n_);
    record(layout.g, g_, m_);
    inverses(record_ + layout.rows, a_, n_);
    inverses(record_ + layout.columns, b_, m_);
    if (run_.history) std::fill(record_ + slot(done_ + 1), record_ + layout.size, 0.0f);
  }

  const Forward& run_;
  const int64_t n_, m_, height_, width_;
  const Panels panels_;
  int64_t index_ = 0, done_ = 0;
  float error_ = 0;
  Area kernel_;
  float* record_ = nullptr;
  // Of rows and of columns: masses, potentials, scalings of 1 (0 where out), what was absorbed since K̃ was last made,
  // scalings, 1 / masses after either half-step; v with what was absorbed. Errors of the panels.
  float *a_, *f_, *onesU_, *absorbedU_, *u_, *nextU_, *inverseU_, *b_, *g_, *onesV_, *absorbedV_, *v_, *in_, *sums_,
      *peaks_, *inverseV_, *errors_;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
