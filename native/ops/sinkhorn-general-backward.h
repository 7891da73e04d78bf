// Backward with all options, of the iterations or of the fixed point: one matrix per piece of work, oriented and padded
// as in sinkhorn-general.h. Included by sinkhorn.cc.
#pragma once

#include "sinkhorn-general.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

class GeneralBackward {
 public:
  static int64_t floats(const Backward& run) {
    const int64_t width = paddedTo(run.m), height = paddedTo(run.n);
    return 3 * run.n * width + 8 * height + 10 * width;
  }

  GeneralBackward(const Backward& run, float* memory)
      : run_(run), n_(run.n), width_(paddedTo(run.m)), height_(paddedTo(run.n)), memory_(memory) {
    Areas areas(memory);
    p_ = areas.take(n_ * width_), rest_ = areas.take(n_ * width_), added_ = areas.take(n_ * width_);
    for (float** vector : {&barF_, &u_, &z_, &absorbedU_, &massF_, &inverseRows_, &reachedRows_, &spareRows_})
      *vector = areas.take(height_);
    for (float** vector :
         {&barG_, &v_, &y_, &absorbedV_, &massG_, &inverseColumns_, &reachedColumns_, &before_, &sums_, &search_})
      *vector = areas.take(width_);
  }

  void exact(int64_t b) {
    arrive(b);
    const int64_t ran = static_cast<int64_t>(record_[0]);
    fill(absorbedU_, height_, 1), fill(absorbedV_, width_, 1);
    fill(massF_, height_, 0), fill(massG_, width_, 0);
    alive(inverseColumns_, width_, v_);
    for (int64_t t = ran; t > run_.annealed; t--) {
      if (t > std::max<int64_t>(1, run_.annealed) && (t == ran || run_.endsBlock(t))) {
        if (t == ran) absorbInto(absorbedV_, run_.at(t) + n_, run_.m);
        absorbInto(absorbedU_, run_.at(t), n_);
      }
      ratio(u_, absorbedU_, record_ + run_.at(t), n_);
      reach(t);
      pass(p_, u_, v_, run_.temperature);
      // v̂ of the iteration before.
      const int64_t before = t - 1;
      if (before > std::max<int64_t>(1, run_.annealed) && run_.endsBlock(before))
        absorbInto(absorbedV_, run_.at(before) + n_, run_.m);
      if (before == 0)
        ratio(before_, absorbedV_, record_ + run_.start, run_.m);
      else if (before == run_.annealed)
        alive(inverseColumns_, width_, search_), ratio(before_, absorbedV_, search_, run_.m);
      else
        ratio(before_, absorbedV_, record_ + run_.at(before) + n_, run_.m);
      back(p_, before_, rest_, nullptr);
      std::swap(v_, before_);
      std::fill(barF_, barF_ + height_, 0.0f);
    }
    for (int64_t e = 0; e < n_ * width_; e += lanes)
      store(rest_ + e, (load(p_ + e) * load(rest_ + e) + load(added_ + e)) / run_.temperature);
    for (int64_t t = run_.annealed; t >= 1; t--) annealedStep(t);
    deliver(b, true);
  }

  void implicit(int64_t b);

 private:
  static void fill(float* to, int64_t size, float value) { std::fill(to, to + size, value); }

  // 1 where there is mass.
  static void alive(const float* inverseMass, int64_t size, float* to) {
    for (int64_t i = 0; i < size; i++) to[i] = inverseMass[i] > 0 ? 1.0f : 0.0f;
  }
  void absorbInto(float* absorbed, int64_t offset, int64_t size) {
    for (int64_t i = 0; i < size; i++) absorbed[i] = std::clamp(absorbed[i] * record_[offset + i], 1e-30f, 1e30f);
  }
  static void ratio(float* to, const float* absorbed, const float* scaling, int64_t size) {
    for (int64_t i = 0; i < size; i++) to[i] = std::min(scaling[i] / absorbed[i], 1e30f);
  }
  // 1 / mass after the half-steps of iteration t.
  void reach(int64_t t) {
    const bool own = run_.unbalanced();
    const float* rows = own ? record_ + run_.at(t) + n_ + run_.m : record_ + run_.rows();
    const float* columns = own ? rows + n_ : record_ + run_.columns();
    std::copy(rows, rows + n_, reachedRows_);
    std::copy(columns, columns + run_.m, reachedColumns_);
  }

  // exp(logits / temperature + f + g) where the mask allows and there is mass, into p.
  void kernel(int64_t b, float temperature, const float* f, const float* g, float* to) {
    const float* logits = run_.logits + b * run_.area();
    const int32_t* mask = run_.mask ? run_.mask.i32(b) : nullptr;
    for (int64_t i = 0; i < n_; i++) {
      float* row = to + i * width_;
      fill(row, width_, far);
      for (int64_t j = 0; j < run_.m; j++) {
        const int64_t place = i * run_.rowStep + j * run_.columnStep;
        const bool out = f[i] <= excluded || g[j] <= excluded || (mask && mask[place] == 0);
        const bool broken = !(std::abs(logits[place]) < infinity);
        if (!out) row[j] = std::clamp((broken ? 0.0f : logits[place]) / temperature, -1e30f, 1e30f) + f[i] + g[j];
      }
      perVector(width_, [&](int64_t j) { store(row + j, power(load(row + j))); });
    }
  }

  // P, what arrives, and its sums over rows and columns.
  void arrive(int64_t b) {
    b_ = b;
    record_ = run_.record + b * run_.size;
    std::fill(memory_, memory_ + floats(run_), 0.0f);
    std::copy(record_ + run_.rows(), record_ + run_.rows() + n_, inverseRows_);
    std::copy(record_ + run_.columns(), record_ + run_.columns() + run_.m, inverseColumns_);
    if (run_.kind == Matrix::logits) {
      kernel(b, run_.temperature, record_ + run_.f(), record_ + run_.g(), p_);
    } else {
      gatherInto(p_, run_.values, run_.kind == Matrix::logPlan ? far : 0.0f);
    }
    const bool logarithmic = run_.kind == Matrix::logPlan;
    if (run_.gradient && run_.kind != Matrix::logits) gatherInto(logarithmic ? added_ : rest_, run_.gradient, 0);
    // A cotangent counts where there is something to change. P may be too small for a float where its logarithm is
    // none.
    for (int64_t e = 0; logarithmic && e < n_ * width_; e += lanes) {
      const vf value = load(p_ + e);
      store(added_ + e, select(value > excluded, load(added_ + e), vf{}));
      store(p_ + e, power(value));
    }
    if (run_.recordGradient) {
      const float* from = run_.recordGradient + b * run_.size;
      std::copy(from + run_.f(), from + run_.f() + n_, barF_);
      std::copy(from + run_.g(), from + run_.g() + run_.m, barG_);
    }
    for (int64_t i = 0; i < n_; i++) {
      vf total{};
      perVector(width_, [&](int64_t j) {
        const int64_t e = i * width_ + j;
        const vf share = load(p_ + e);
        store(rest_ + e, select(share > 0.0f, load(rest_ + e), vf{}));
        const vf weight = share * load(rest_ + e) + load(added_ + e);
        total += weight;
        store(barG_ + j, load(barG_ + j) + weight);
      });
      barF_[i] += sum(total);
    }
  }

  void gatherInto(float* to, const float* from, float padding) {
    const float* matrix = from + b_ * run_.area();
    for (int64_t i = 0; i < n_; i++) {
      float* row = to + i * width_;
      for (int64_t j = 0; j < run_.m; j++) row[j] = matrix[i * run_.rowStep + j * run_.columnStep];
      std::fill(row + run_.m, row + width_, padding);
    }
  }

  // y from ḡ, and z from f̄ and the product of the matrix with y.
  void pass(const float* matrix, const float* u, const float* v, float temperature) {
    const float dampRows = 1 / (1 + run_.leakRows * temperature),
                dampColumns = 1 / (1 + run_.leakColumns * temperature);
    for (int64_t j = 0; j < run_.m; j++) {
      const float e = barG_[j] * dampColumns;
      massG_[j] += e;
      y_[j] = v[j] * e * reachedColumns_[j];
    }
    for (int64_t i = 0; i < n_; i++) {
      const float e = dampRows * (barF_[i] - u[i] * rowProduct(matrix + i * width_, y_));
      massF_[i] += e;
      z_[i] = u[i] * e * reachedRows_[i];
    }
  }
  float rowProduct(const float* row, const float* with) const {
    vf total{};
    perVector(width_, [&](int64_t j) { total = fma(load(row + j), load(with + j), total); });
    return sum(total);
  }
  void columnProduct(const float* matrix, const float* with, float* to) const {
    fill(to, width_, 0);
    for (int64_t i = 0; i < n_; i += lanes) {
      const int64_t end = std::min(n_, i + lanes);
      perVector(width_, [&](int64_t j) {
        vf part{};
        for (int64_t k = i; k < end; k++) part = fma(load(matrix + k * width_ + j), broadcast(with[k]), part);
        store(to + j, load(to + j) + part);
      });
    }
  }

  // ḡ of the iteration before, and what belongs to the logits: into − u yᵀ − z v̂ᵀ, times `shares` where given.
  void back(const float* matrix, const float* before, float* into, const float* shares, float factor = 1) {
    columnProduct(matrix, z_, sums_);
    perVector(width_, [&](int64_t j) { store(barG_ + j, -(load(before + j) * load(sums_ + j))); });
    for (int64_t i = 0; i < n_; i++) {
      const vf u = broadcast(shares ? factor : u_[i]), z = broadcast(shares ? factor * z_[i] : z_[i]);
      perVector(width_, [&](int64_t j) {
        const int64_t e = i * width_ + j;
        vf part = fma(u, load(y_ + j), z * load(before + j));
        if (shares) part *= load(shares + e);
        store(into + e, load(into + e) - part);
      });
    }
  }

  void annealedStep(int64_t t) {
    const float temperature = run_.temperatureAt(t), ratio = temperature / run_.temperatureAt(t + 1);
    const float *f = record_ + run_.at(t), *g = f + n_;
    kernel(b_, temperature, f, g, p_);
    fill(u_, height_, 1), fill(v_, width_, 1);
    for (int64_t j = 0; j < run_.m; j++) barG_[j] *= ratio;
    reach(t);
    pass(p_, u_, v_, temperature);
    const float factor = t == 1 ? 1 : run_.temperatureAt(t - 1) / temperature;
    for (int64_t j = 0; j < run_.m; j++) {
      const bool has = inverseColumns_[j] > 0;
      before_[j] = !has     ? 0.0f
                   : t == 1 ? record_[run_.start + j]
                            : std::exp(std::min(80.0f, factor * record_[run_.at(t - 1) + n_ + j] - g[j]));
    }
    back(p_, before_, rest_, p_, 1 / temperature);
  }

  // Writes `rest`, and the gradients of masses (out of massF, massG) and start.
  void deliver(int64_t b, bool started) {
    float* dx = run_.dx + b * run_.area();
    for (int64_t i = 0; i < n_; i++)
      for (int64_t j = 0; j < run_.m; j++) dx[i * run_.rowStep + j * run_.columnStep] = rest_[i * width_ + j];
    if (!run_.dvectors) return;
    float* to = run_.dvectors + b * (n_ + 2 * run_.m);
    for (int64_t i = 0; i < n_; i++) to[i] = massF_[i] * inverseRows_[i];
    for (int64_t j = 0; j < run_.m; j++) {
      to[n_ + j] = massG_[j] * inverseColumns_[j];
      to[n_ + run_.m + j] = started ? barG_[j] : 0.0f;
    }
  }

  const Backward& run_;
  const int64_t n_, width_, height_;
  float* memory_;
  int64_t b_ = 0;
  const float* record_ = nullptr;
  float *p_, *rest_, *added_, *barF_, *u_, *z_, *absorbedU_, *massF_, *inverseRows_, *reachedRows_, *spareRows_, *barG_,
      *v_, *y_, *absorbedV_, *massG_, *inverseColumns_, *reachedColumns_, *before_, *sums_, *search_;
};

// Conjugate gradients on the columns, preconditioned by the diagonal; see README.md of the room.
void GeneralBackward::implicit(int64_t b) {
  constexpr int mostSteps = 96;
  constexpr double enough = 1e-13;
  arrive(b);
  const auto total = [](const float* a, const float* c, int64_t size) {
    double result = 0;
    for (int64_t i = 0; i < size; i++) result += static_cast<double>(a[i]) * c[i];
    return result;
  };
  const float rowFactor = 1 + run_.leakRows * run_.temperature, columnFactor = 1 + run_.leakColumns * run_.temperature;
  float *r = u_, *c = v_, *inverseR = absorbedU_, *inverseC = absorbedV_, *beta = y_, *left = before_, *alpha = z_;
  fill(spareRows_, height_, 1), fill(beta, width_, 1);
  for (int64_t i = 0; i < n_; i++) r[i] = rowProduct(p_ + i * width_, beta);
  columnProduct(p_, spareRows_, c);
  for (int64_t i = 0; i < n_; i++) inverseR[i] = r[i] > 0 ? 1 / (r[i] * rowFactor) : 0.0f;
  for (int64_t j = 0; j < width_; j++) inverseC[j] = c[j] > 0 ? 1 / (c[j] * columnFactor) : 0.0f;
  fill(beta, width_, 0);
  for (int64_t i = 0; i < n_; i++) spareRows_[i] = barF_[i] * inverseR[i];
  columnProduct(p_, spareRows_, sums_);
  for (int64_t j = 0; j < width_; j++) left[j] = inverseC[j] > 0 ? barG_[j] - sums_[j] : 0.0f;
  for (int64_t j = 0; j < width_; j++) search_[j] = left[j] * inverseC[j];
  double energy = total(left, search_, width_);
  const double least = energy * enough;
  float* product = reachedColumns_;
  for (int k = 0; k < mostSteps && energy > least; k++) {
    for (int64_t i = 0; i < n_; i++) spareRows_[i] = rowProduct(p_ + i * width_, search_) * inverseR[i];
    columnProduct(p_, spareRows_, sums_);
    for (int64_t j = 0; j < width_; j++) product[j] = c[j] * columnFactor * search_[j] - sums_[j];
    const double curvature = total(search_, product, width_);
    if (!(curvature > 0)) break;
    const float length = static_cast<float>(energy / curvature);
    for (int64_t j = 0; j < width_; j++) {
      beta[j] += length * search_[j];
      left[j] -= length * product[j];
      product[j] = left[j] * inverseC[j];
    }
    const double next = total(left, product, width_);
    const float share = static_cast<float>(next / energy);
    for (int64_t j = 0; j < width_; j++) search_[j] = product[j] + share * search_[j];
    energy = next;
  }
  for (int64_t i = 0; i < n_; i++) alpha[i] = (barF_[i] - rowProduct(p_ + i * width_, beta)) * inverseR[i];
  if (run_.leakRows == 0 && run_.leakColumns == 0) {
    // α + κ and β − κ solve it as well. As in the iterations, scaling all masses of the side met first changes nothing.
    double all = 0;
    for (int64_t i = 0; i < n_; i++) all += r[i];
    const float shift = all > 0 ? static_cast<float>(total(r, alpha, n_) / all) : 0.0f;
    for (int64_t i = 0; i < n_; i++) alpha[i] -= shift;
    for (int64_t j = 0; j < width_; j++) beta[j] += shift;
  }
  for (int64_t i = 0; i < n_; i++) {
    perVector(width_, [&](int64_t j) {
      const int64_t e = i * width_ + j;
      const vf inner = load(rest_ + e) - broadcast(alpha[i]) - load(beta + j);
      store(rest_ + e, (load(p_ + e) * inner + load(added_ + e)) / run_.temperature);
    });
    massF_[i] = alpha[i] * r[i];
  }
  for (int64_t j = 0; j < run_.m; j++) massG_[j] = beta[j] * c[j];
  deliver(b, false);
}

template <class F>
void perMatrix(const Backward& run, F&& f) {
  const int64_t floats = GeneralBackward::floats(run);
  float* scratch = run.context->scratch(floats * run.context->threads());
  run.context->parallel(run.count, grainOf(run), [&](int64_t begin, int64_t end, int thread) {
    GeneralBackward matrix(run, scratch + thread * floats);
    for (int64_t b = begin; b < end; b++) f(matrix, b);
  });
}

}  // namespace

void backwardGeneral(const Backward& run) {
  perMatrix(run, [](GeneralBackward& matrix, int64_t b) { matrix.exact(b); });
}

void implicit(const Backward& run) {
  perMatrix(run, [](GeneralBackward& matrix, int64_t b) { matrix.implicit(b); });
}

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
