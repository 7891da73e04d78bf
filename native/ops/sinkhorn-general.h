// Forward with all options: one matrix per piece of work, oriented, in an area padded to a multiple of `lanes` columns,
// so that no loop has a tail. Padding is out, like whatever has no mass. Included by sinkhorn.cc.
#pragma once

#include "sinkhorn.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

int64_t paddedTo(int64_t size) { return (size + lanes - 1) / lanes * lanes; }

// An area of a thread's scratch after the other.
class Areas {
 public:
  explicit Areas(float* memory) : memory_(memory) {}
  float* take(int64_t floats) {
    float* area = memory_;
    memory_ += floats;
    return area;
  }

 private:
  float* memory_;
};

// f(j) for the first column of every vector.
template <class F>
BIRKHOFF_INLINE void perVector(int64_t width, F&& f) {
  for (int64_t j = 0; j < width; j += lanes) f(j);
}

// One matrix on its way through the iterations. Row vectors have n numbers and column vectors a padded m.
class General {
 public:
  static int64_t floats(const Forward& run) {
    const int64_t width = paddedTo(run.m), height = paddedTo(run.n);
    return 2 * run.n * width + 6 * height + 5 * width;
  }

  General(const Forward& run, float* memory) : run_(run), n_(run.n), width_(paddedTo(run.m)) {
    Areas areas(memory);
    const int64_t height = paddedTo(n_);
    raw_ = areas.take(n_ * width_), kernel_ = areas.take(n_ * width_);
    for (float** vector : {&f_, &u_, &next_, &rowSums_, &rowMass_, &spare_}) *vector = areas.take(height);
    for (float** vector : {&g_, &v_, &columnMass_, &sums_, &begin_}) *vector = areas.take(width_);
    height_ = height;
  }

  void run(int64_t b) {
    b_ = b;
    record_ = run_.record ? run_.record + b * run_.size : nullptr;
    temperature_ = run_.temperatureAt(1);
    open();
    first();
    iterate();
    finish();
  }

 private:
  const float* rawRow(int64_t i) const { return raw_ + i * width_; }
  float* kernelRow(int64_t i) const { return kernel_ + i * width_; }
  // Logits of a row over the temperature; `far` where an entry is out.
  BIRKHOFF_INLINE vf tempered(const float* raw, float temperature) {
    const vf x = load(raw);
    const vf scaled = min(max(x / temperature, broadcast(-1e30f)), broadcast(1e30f));
    return select(x <= 0.5f * far, broadcast(far), scaled);
  }
  // f for all row vectors, a vector at a time.
  template <class F>
  void perRows(F&& f) {
    for (int64_t i = 0; i < height_; i += lanes) f(i);
  }

  // Masses, and logits in order.
  void open() {
    for (float* vector : {rowMass_, rowSums_, f_, u_, next_}) std::fill(vector, vector + height_, 0.0f);
    for (float* vector : {columnMass_, begin_, g_, v_, sums_}) std::fill(vector, vector + width_, 0.0f);
    run_.masses(b_, rowMass_, columnMass_);
    run_.beginning(b_, begin_);
    const float* logits = run_.logits + b_ * run_.area();
    const int32_t* mask = run_.mask ? run_.mask.i32(b_) : nullptr;
    for (int64_t i = 0; i < n_; i++) {
      float* row = raw_ + i * width_;
      std::fill(row, row + width_, far);
      if (rowMass_[i] == 0) continue;
      for (int64_t j = 0; j < run_.m; j++) {
        const int64_t place = i * run_.rowStep + j * run_.columnStep;
        if (columnMass_[j] == 0 || (mask && mask[place] == 0)) continue;
        const bool broken = !(std::abs(logits[place]) < infinity);
        if (broken) run_.context->fault(logits[place]);
        row[j] = broken ? 0.0f : logits[place];
      }
    }
  }

  // The first iteration, by log-sum-exp. Rows and columns without entries lose their masses.
  void first() {
    const float leakRows = run_.leakRows * temperature_, leakColumns = run_.leakColumns * temperature_;
    float* peaks = sums_;
    std::fill(peaks, peaks + width_, far);
    for (int64_t i = 0; i < n_; i++) {
      float* row = kernelRow(i);
      vf peak = broadcast(far), sum{};
      perVector(width_, [&](int64_t j) { peak = max(peak, tempered(rawRow(i) + j, temperature_) + load(begin_ + j)); });
      const vf top = broadcast(maxOf(peak));
      if (top[0] <= 0.5f * far) rowMass_[i] = 0;
      perVector(width_, [&](int64_t j) { sum += exp(tempered(rawRow(i) + j, temperature_) + load(begin_ + j) - top); });
      const vf lse = top + log(broadcast(birkhoff::BIRKHOFF_ISA::sum(sum)));
      const float mass = rowMass_[i];
      f_[i] = potentialOf(broadcast(mass), lse, leakRows)[0];
      next_[i] = mass > 0 ? power(broadcast(f_[i]) + lse)[0] : 0.0f;
      perVector(width_, [&](int64_t j) {
        const vf shifted = tempered(rawRow(i) + j, temperature_) + broadcast(f_[i]);
        store(row + j, shifted);
        store(peaks + j, max(load(peaks + j), shifted));
      });
    }
    perVector(width_, [&](int64_t j) {
      const vf peak = load(peaks + j);
      vf sum{};
      // Sums of sums lose less than one long sum.
      for (int64_t i = 0; i < n_; i += lanes) {
        vf part{};
        for (int64_t k = i; k < std::min(n_, i + lanes); k++) {
          const vf share = exp(load(kernelRow(k) + j) - peak);
          store(kernelRow(k) + j, share);
          part += share;
        }
        sum += part;
      }
      const vf mass = select(peak > 0.5f * far, load(columnMass_ + j), vf{}), lse = peak + log(sum);
      const vi alive = mass > 0.0f;
      store(columnMass_ + j, mass);
      const vf g = potentialOf(mass, lse, leakColumns);
      store(g_ + j, g);
      const vf scale = select(alive, leakColumns > 0 ? power(g + peak) : mass / sum, vf{});
      // v₀ = exp(g₀ − g₁); where masses are met it is known without a logarithm.
      const vf begin = load(begin_ + j);
      store(begin_ + j,
            select(alive, leakColumns > 0 ? power(begin - g) : power(begin + peak) * sum * inverse(mass), vf{}));
      store(sums_ + j, select(alive, power(g + lse), vf{}));
      for (int64_t i = 0; i < n_; i++) store(kernelRow(i) + j, load(kernelRow(i) + j) * scale);
    });
    if (run_.withHistory) std::copy(begin_, begin_ + run_.m, record_ + run_.start);
    ones();
    std::copy(next_, next_ + n_, spare_);
    remember(1, spare_, sums_);
  }

  void ones() {
    for (int64_t i = 0; i < n_; i++) u_[i] = rowMass_[i] > 0 ? 1.0f : 0.0f;
    for (int64_t j = 0; j < run_.m; j++) v_[j] = columnMass_[j] > 0 ? 1.0f : 0.0f;
  }

  // What iteration t leaves for a backward pass; the masses that it reached where they may be missed.
  void remember(int64_t t, const float* rowsReached, const float* columnsReached) {
    if (!run_.withHistory) return;
    float *rows = record_ + run_.at(t), *columns = rows + n_;
    const bool potentials = t <= run_.annealed;
    for (int64_t i = 0; i < n_; i++) rows[i] = !potentials ? u_[i] : rowMass_[i] > 0 ? f_[i] : excluded;
    for (int64_t j = 0; j < run_.m; j++) columns[j] = !potentials ? v_[j] : columnMass_[j] > 0 ? g_[j] : excluded;
    if (!run_.unbalanced()) return;
    for (int64_t i = 0; i < n_; i++) columns[run_.m + i] = rowsReached[i] > 0 ? 1 / rowsReached[i] : 0.0f;
    for (int64_t j = 0; j < run_.m; j++)
      columns[run_.m + n_ + j] = columnsReached[j] > 0 ? 1 / columnsReached[j] : 0.0f;
  }

  // kernel = exp(logits + f + g)
  void renew() {
    for (int64_t i = 0; i < n_; i++) {
      perVector(width_, [&](int64_t j) {
        store(kernelRow(i) + j, power(tempered(rawRow(i) + j, temperature_) + broadcast(f_[i]) + load(g_ + j)));
      });
    }
  }

  // rowSums = kernel · v, and what the next half-step makes of it; gives Σ rowSums |next − u|.
  float rowStep() {
    const float leak = run_.leakRows * temperature_;
    for (int64_t i = 0; i < n_; i++) {
      vf even{}, odd{};
      int64_t j = 0;
      for (; j + 2 * lanes <= width_; j += 2 * lanes) {
        even = fma(load(kernelRow(i) + j), load(v_ + j), even);
        odd = fma(load(kernelRow(i) + j + lanes), load(v_ + j + lanes), odd);
      }
      if (j < width_) even = fma(load(kernelRow(i) + j), load(v_ + j), even);
      rowSums_[i] = sum(even + odd);
    }
    vf distance{};
    perRows([&](int64_t i) {
      const vf sums = load(rowSums_ + i), next = scaling(sums, load(rowMass_ + i), load(f_ + i), leak);
      store(next_ + i, next);
      distance += sums * abs(next - load(u_ + i));
    });
    return sum(distance);
  }

  // sums = kernelᵀ · u, and v from it.
  void columnStep() {
    std::fill(sums_, sums_ + width_, 0.0f);
    for (int64_t i = 0; i < n_; i += lanes) {
      const int64_t end = std::min(n_, i + lanes);
      perVector(width_, [&](int64_t j) {
        vf part{};
        for (int64_t k = i; k < end; k++) part = fma(load(kernelRow(k) + j), broadcast(u_[k]), part);
        store(sums_ + j, load(sums_ + j) + part);
      });
    }
    const float leak = run_.leakColumns * temperature_;
    perVector(width_,
              [&](int64_t j) { store(v_ + j, scaling(load(sums_ + j), load(columnMass_ + j), load(g_ + j), leak)); });
  }

  void iterate() {
    const int64_t T = run_.iterations;
    ran_ = T;
    error_ = 0;
    bool stale = run_.annealed > 0;
    for (int64_t t = 2; t <= T; t++) {
      if (stale) {
        const float next = run_.temperatureAt(t), ratio = temperature_ / next;
        perRows([&](int64_t i) { store(f_ + i, load(f_ + i) * ratio); });
        perVector(width_, [&](int64_t j) { store(g_ + j, load(g_ + j) * ratio); });
        temperature_ = next;
        renew();
        stale = false;
      }
      const float distance = rowStep();
      if (run_.checkEvery > 0 && t - 1 > run_.annealed && (t - 1) % run_.checkEvery == 0 &&
          distance <= run_.tolerance) {
        ran_ = t - 1;
        error_ = distance;
        break;
      }
      std::swap(u_, next_);
      columnStep();
      if (run_.unbalanced()) {
        perRows([&](int64_t i) { store(rowSums_ + i, load(rowSums_ + i) * load(u_ + i)); });
        perVector(width_, [&](int64_t j) { store(sums_ + j, load(sums_ + j) * load(v_ + j)); });
      }
      const bool absorbs = run_.endsBlock(t) && t < T;
      if (absorbs) absorb();
      remember(t, rowSums_, sums_);
      if (absorbs) ones();
      stale = absorbs;
    }
    // Half an iteration more tells how far off the result is.
    if (run_.error && ran_ == T) error_ = rowStep();
  }

  void absorb() {
    perRows([&](int64_t i) { store(f_ + i, absorbed(f_ + i, u_ + i, rowMass_ + i)); });
    perVector(width_, [&](int64_t j) { store(g_ + j, absorbed(g_ + j, v_ + j, columnMass_ + j)); });
  }
  BIRKHOFF_INLINE vf absorbed(const float* potential, const float* scale, const float* mass) {
    return select(load(mass) > 0.0f, load(potential) + log(atLeast(load(scale), tiny)), vf{});
  }

  void finish() {
    float* plan = run_.plan ? run_.plan + b_ * run_.area() : nullptr;
    if (plan && !run_.logarithmic) {
      for (int64_t i = 0; i < n_; i++) {
        perVector(width_, [&](int64_t j) {
          store(kernelRow(i) + j, load(kernelRow(i) + j) * (broadcast(u_[i]) * load(v_ + j)));
        });
      }
    }
    absorb();
    if (plan && run_.logarithmic) {
      for (int64_t i = 0; i < n_; i++) {
        perVector(width_, [&](int64_t j) {
          const vf x = tempered(rawRow(i) + j, temperature_);
          const vf value = max(x + broadcast(f_[i]) + load(g_ + j), broadcast(excluded));
          store(kernelRow(i) + j, select(x <= 0.5f * far, broadcast(excluded), value));
        });
      }
    }
    if (plan) {
      for (int64_t i = 0; i < n_; i++) {
        const float* row = kernelRow(i);
        if (run_.columnStep == 1)
          std::copy(row, row + run_.m, plan + i * run_.rowStep);
        else
          for (int64_t j = 0; j < run_.m; j++) plan[i * run_.rowStep + j * run_.columnStep] = row[j];
      }
    }
    if (!record_) return;
    record_[0] = static_cast<float>(ran_);
    record_[1] = run_.error ? error_ : 0.0f;
    for (int64_t i = 0; i < n_; i++) {
      record_[run_.f() + i] = rowMass_[i] > 0 ? f_[i] : excluded;
      record_[run_.rows() + i] = rowMass_[i] > 0 ? 1 / rowMass_[i] : 0.0f;
    }
    for (int64_t j = 0; j < run_.m; j++) {
      record_[run_.g() + j] = columnMass_[j] > 0 ? g_[j] : excluded;
      record_[run_.columns() + j] = columnMass_[j] > 0 ? 1 / columnMass_[j] : 0.0f;
    }
    // What an early stop has not written.
    if (run_.withHistory) std::fill(record_ + run_.at(ran_ + 1), record_ + run_.size, 0.0f);
  }

  const Forward& run_;
  const int64_t n_, width_;
  int64_t height_ = 0, b_ = 0, ran_ = 0;
  float temperature_ = 1, error_ = 0;
  float *raw_, *kernel_, *f_, *u_, *next_, *rowSums_, *rowMass_, *spare_, *g_, *v_, *columnMass_, *sums_, *begin_,
      *record_ = nullptr;
};

}  // namespace

// About 20 µs of work.
int64_t grainOf(const Run& run) { return std::max<int64_t>(1, 60000 / (run.area() * run.iterations + 1)); }

void forwardGeneral(const Forward& run) {
  const int64_t floats = General::floats(run);
  float* scratch = run.context->scratch(floats * run.context->threads());
  run.context->parallel(run.count, grainOf(run), [&](int64_t begin, int64_t end, int thread) {
    General matrix(run, scratch + thread * floats);
    for (int64_t b = begin; b < end; b++) matrix.run(b);
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
