// The backward pass of the fixed point with one matrix per lane: conjugate gradients, each lane at its own pace.
#pragma once

#include "sinkhorn-lanes-backward.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

class ImplicitInLanes : ArrivedInLanes {
 public:
  static constexpr bool pairs = false;
  static int64_t area(const Backward& run) {
    return (ArrivedInLanes::area(run) + 3 * run.sides.n + 7 * run.sides.m) * lanes;
  }
  ImplicitInLanes(const Backward& run, float* area) : ArrivedInLanes(run, area) {
    r_ = take(area, n_), inverseR_ = take(area, n_), alpha_ = take(area, n_);
    c_ = take(area, m_), inverseC_ = take(area, m_), beta_ = take(area, m_), left_ = take(area, m_);
    search_ = take(area, m_), product_ = take(area, m_), diagonal_ = take(area, m_);
  }

  void operator()(int64_t first) {
    load(first);
    arrive();
    const double leakRows = 1 + run_.leakRows * run_.temperature, leakColumns = 1 + run_.leakColumns * run_.temperature;
    // Row and column sums that P really has.
    fill(search_, m_, broadcast(1.0f));
    passInLanes(p_, n_, m_, search_, c_, 0, [&]<int R>(int64_t i, vf(&weight)[R]) {
      for (int r = 0; r < R; r++) {
        put(r_, i + r, weight[r]);
        put(inverseR_, i + r, inverted(weight[r], leakRows));
        weight[r] = broadcast(1.0f);
      }
    });
    for (int64_t j = 0; j < m_; j++) {
      put(inverseC_, j, inverted(at(c_, j), leakColumns));
      put(diagonal_, j, at(c_, j) * clipped(leakColumns));
      put(beta_, j, vf{});
    }
    // The right-hand side: ḡ − Pᵀ (f̄ / r).
    fill(search_, m_, vf{});
    passInLanes(p_, n_, m_, search_, product_, 0, [&]<int R>(int64_t i, vf(&weight)[R]) {
      for (int r = 0; r < R; r++) weight[r] = at(barF_, i + r) * at(inverseR_, i + r);
    });
    vf energy{};
    for (int64_t j = 0; j < m_; j++) {
      const vf rest = select(at(inverseC_, j) > 0.0f, at(barG_, j) - at(product_, j), vf{});
      put(left_, j, rest);
      put(search_, j, rest * at(inverseC_, j));
      energy = fma(rest, at(search_, j), energy);
    }
    const vf enough = energy * leastEnergy;
    const int64_t steps = mostSteps(m_);
    for (int64_t k = 0; k < steps; k++) {
      vi going = energy > enough;
      if (!anyOf(going)) break;
      schur(k);
      vf curvature{}, alone{};
      for (int64_t j = 0; j < m_; j++) {
        curvature = fma(at(search_, j), at(product_, j), curvature);
        alone = fma(at(search_, j) * at(search_, j), at(diagonal_, j), alone);
      }
      going &= curvature > alone * leastCurvature;
      if (!anyOf(going)) break;
      const vf length = select(going, energy / curvature, vf{});
      vf next{};
      for (int64_t j = 0; j < m_; j++) {
        put(beta_, j, fma(length, at(search_, j), at(beta_, j)));
        const vf rest = at(left_, j) - length * at(product_, j);
        put(left_, j, rest);
        next = fma(rest * at(inverseC_, j), rest, next);
      }
      const vf share = select(going, next / energy, vf{});
      for (int64_t j = 0; j < m_; j++) put(search_, j, fma(share, at(search_, j), at(left_, j) * at(inverseC_, j)));
      // A lane that stands still has no energy any more.
      energy = select(going, next, vf{});
    }
    solve();
    for (int64_t i = 0; i < n_; i++) put(massRows_, i, at(alpha_, i) * at(r_, i) * at(recorded(run_.layout.rows), i));
    for (int64_t j = 0; j < m_; j++) {
      put(massColumns_, j, at(beta_, j) * at(c_, j) * at(recorded(run_.layout.columns), j));
      put(product_, j, vf{});
    }
    const float factor = inverseTemperature();
    for (int64_t i = 0; i < n_; i++) {
      for (int64_t j = 0; j < m_; j++) {
        const int64_t e = i * m_ + j;
        const vf p = at(p_, e), moved = at(alpha_, i) + at(beta_, j), rest = at(rest_, e);
        put(rest_, e, (logarithmic() ? rest - p * moved : p * (rest - moved)) * factor);
      }
    }
    deliver(product_);
  }

 private:
  static vf inverted(vf mass, double leak) {
    return select(mass > 0.0f, 1.0f / (atLeast(mass, 1e-30f) * clipped(leak)), vf{});
  }

  // product = (diag(c) − Pᵀ diag(1 / r) P) search
  void schur(int64_t turn) {
    passInLanes(p_, n_, m_, search_, product_, turn, [&]<int R>(int64_t i, vf(&weight)[R]) {
      for (int r = 0; r < R; r++) weight[r] *= at(inverseR_, i + r);
    });
    for (int64_t j = 0; j < m_; j++) put(product_, j, fma(at(diagonal_, j), at(search_, j), -at(product_, j)));
  }

  void solve() {
    vf total{}, moment{};
    passInLanes(p_, n_, m_, beta_, product_, 0, [&]<int R>(int64_t i, vf(&weight)[R]) {
      for (int r = 0; r < R; r++) {
        const vf alpha = (at(barF_, i + r) - weight[r]) * at(inverseR_, i + r);
        put(alpha_, i + r, alpha);
        total += at(r_, i + r);
        moment = fma(at(r_, i + r), alpha, moment);
        weight[r] = vf{};
      }
    });
    if (run_.leakRows != 0 || run_.leakColumns != 0) return;
    // α + κ and β − κ solve it as well. As in the iterations, scaling all masses of the rows changes nothing.
    const vf shift = select(total > 0.0f, moment / atLeast(total, 1e-30f), vf{});
    for (int64_t i = 0; i < n_; i++) put(alpha_, i, at(alpha_, i) - shift);
    for (int64_t j = 0; j < m_; j++) put(beta_, j, at(beta_, j) + shift);
  }

  float *r_, *inverseR_, *alpha_, *c_, *inverseC_, *beta_, *left_, *search_, *product_, *diagonal_;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
