// The backward pass of the fixed point with rows in vectors: conjugate gradients.
#pragma once

#include "sinkhorn-rows-backward.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

class ImplicitInRows : ArrivedInRows {
 public:
  static int64_t area(const Backward& run) {
    return ArrivedInRows::area(run) + 3 * padded(run.sides.n) + 7 * padded(run.sides.m);
  }
  ImplicitInRows(const Backward& run, float* area) : ArrivedInRows(run, area) {
    for (float** vector : {&r_, &inverseR_, &alpha_}) *vector = take(area, height_);
    for (float** vector : {&c_, &inverseC_, &beta_, &left_, &search_, &product_, &diagonal_})
      *vector = take(area, width_);
  }

  void operator()(int64_t b) {
    arrive(b);
    prepare();
    float energy = 0;
    {
      vf part{};
      for (int64_t j = 0; j < width_; j += lanes) {
        const vf inverse = load(inverseC_ + j),
                 rest = select(inverse > 0.0f, load(barG_ + j) - load(product_ + j), vf{});
        store(left_ + j, rest);
        store(search_ + j, rest * inverse);
        part = fma(rest * inverse, rest, part);
      }
      energy = sum(part);
    }
    const float enough = energy * leastEnergy;
    const int64_t steps = mostSteps(m_);
    for (int64_t k = 0; k < steps && energy > enough; k++) {
      schur();
      vf part{}, alone{};
      for (int64_t j = 0; j < width_; j += lanes) {
        const vf search = load(search_ + j);
        part = fma(search, load(product_ + j), part);
        alone = fma(search * search, load(diagonal_ + j), alone);
      }
      const float curvature = sum(part);
      if (!(curvature > sum(alone) * leastCurvature)) break;
      const vf length = broadcast(energy / curvature);
      part = vf{};
      for (int64_t j = 0; j < width_; j += lanes) {
        store(beta_ + j, fma(length, load(search_ + j), load(beta_ + j)));
        const vf rest = load(left_ + j) - length * load(product_ + j);
        store(left_ + j, rest);
        part = fma(rest * load(inverseC_ + j), rest, part);
      }
      const float next = sum(part);
      const vf share = broadcast(next / energy);
      for (int64_t j = 0; j < width_; j += lanes)
        store(search_ + j, fma(share, load(search_ + j), load(left_ + j) * load(inverseC_ + j)));
      energy = next;
    }
    solve();
    finish();
  }

 private:
  static vf inverted(vf mass, double leak) {
    return select(mass > 0.0f, 1.0f / (atLeast(mass, 1e-30f) * clipped(leak)), vf{});
  }

  // Row and column sums that P really has, and Pᵀ (f̄ / r).
  void prepare() {
    const double leakRows = 1 + run_.leakRows * run_.temperature, leakColumns = 1 + run_.leakColumns * run_.temperature;
    std::fill(search_, search_ + width_, 1.0f);
    panels_.pass(p_, search_, c_, [&](int64_t i, vf total, int64_t) {
      store(r_ + i, total);
      store(inverseR_ + i, inverted(total, leakRows));
      return broadcast(1.0f);
    });
    for (int64_t j = 0; j < width_; j += lanes) {
      store(inverseC_ + j, inverted(load(c_ + j), leakColumns));
      store(diagonal_ + j, load(c_ + j) * clipped(leakColumns));
      store(beta_ + j, vf{});
    }
    panels_.pass(p_, beta_, product_, [&](int64_t i, vf, int64_t) { return load(barF_ + i) * load(inverseR_ + i); });
  }

  // product = (diag(c) − Pᵀ diag(1 / r) P) search
  void schur() {
    panels_.pass(p_, search_, product_, [&](int64_t i, vf total, int64_t) { return total * load(inverseR_ + i); });
    for (int64_t j = 0; j < width_; j += lanes)
      store(product_ + j, fma(load(diagonal_ + j), load(search_ + j), -load(product_ + j)));
  }

  void solve() {
    panels_.pass(p_, beta_, product_, [&](int64_t i, vf reached, int64_t) {
      store(alpha_ + i, (load(barF_ + i) - reached) * load(inverseR_ + i));
      return vf{};
    });
    if (run_.leakRows != 0 || run_.leakColumns != 0) return;
    // α + κ and β − κ solve it as well. As in the iterations, scaling all masses of the rows changes nothing.
    vf total{}, moment{};
    for (int64_t i = 0; i < height_; i += lanes) {
      total += load(r_ + i);
      moment = fma(load(r_ + i), load(alpha_ + i), moment);
    }
    const float all = sum(total), shift = all > 0 ? sum(moment) / std::max(all, 1e-30f) : 0;
    for (int64_t i = 0; i < height_; i += lanes) store(alpha_ + i, load(alpha_ + i) - shift);
    for (int64_t j = 0; j < width_; j += lanes) store(beta_ + j, load(beta_ + j) + shift);
  }

  void finish() {
    for (int64_t i = 0; i < height_; i += lanes)
      store(massRows_ + i, load(alpha_ + i) * load(r_ + i) * load(recordRows_ + i));
    for (int64_t j = 0; j < width_; j += lanes) {
      store(massColumns_ + j, load(beta_ + j) * load(c_ + j) * load(recordColumns_ + j));
      store(product_ + j, vf{});
    }
    const float factor = inverseTemperature();
    panels_.each([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const vf alpha = broadcast(alpha_[i]);
        for (int64_t j = 0; j < width_; j += lanes) {
          const vf p = load(p_.row(i) + j), moved = alpha + load(beta_ + j), rest = arrivedAt(i, j, p);
          store(rest_.row(i) + j, (logarithmic() ? rest - p * moved : p * (rest - moved)) * factor);
        }
      }
    });
    deliver(product_);
  }

  float *r_, *inverseR_, *alpha_, *c_, *inverseC_, *beta_, *left_, *search_, *product_, *diagonal_;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
