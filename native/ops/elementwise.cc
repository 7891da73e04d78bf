// y = f(x) and, with broadcasting, y = f(a, b), forward and backward. The formulas are those of
// src/ops/elementwise/reference.ts.
#include "activation.h"
#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work: enough to hide the cost of handing it to a thread.
constexpr int64_t grain = 1 << 14;

// Calls body.template operator()<...> style functors without a branch per element: `f` maps vectors.
template <class F>
void map(Context& context, const float* x, float* y, int64_t count, F f) {
  context.parallel(count, grain, [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) store(y + i, f(load(x + i)));
    if (i < end) storePartial(y + i, end - i, f(loadPartial(x + i, end - i)));
  });
}

template <class F>
void map2(Context& context, const float* a, const float* b, float* y, int64_t count, F f) {
  context.parallel(count, grain, [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) store(y + i, f(load(a + i), load(b + i)));
    if (i < end) storePartial(y + i, end - i, f(loadPartial(a + i, end - i), loadPartial(b + i, end - i)));
  });
}

}  // namespace

void elementwiseUnary(const Call& call, Context& context) {
  const std::string& kind = call.text("kind");
  const float* x = call.inputs[0].f32();
  float* y = call.outputs[0].f32();
  const auto run = [&](auto f) { map(context, x, y, call.outputs[0].size, f); };
  if (withActivation(kind, run)) return;
  if (kind == "neg") return run([](vf v) { return -v; });
  if (kind == "exp") return run([](vf v) { return exp(v); });
  if (kind == "log") return run([](vf v) { return log(v); });
  if (kind == "sqrt") return run([](vf v) { return sqrt(v); });
  if (kind == "abs") return run([](vf v) { return abs(v); });
  if (kind == "square") return run([](vf v) { return v * v; });
  return run([](vf v) { return reciprocal(v); });
}

void elementwiseUnaryBackward(const Call& call, Context& context) {
  const std::string& kind = call.text("kind");
  const float* g = call.inputs[0].f32();
  const float* saved = call.inputs[1].f32();
  float* dx = call.outputs[0].f32();
  const auto run = [&](auto f) { map2(context, g, saved, dx, call.outputs[0].size, f); };
  if (withDerivative(kind, run)) return;
  if (kind == "neg") return run([](vf d, vf) { return -d; });
  if (kind == "exp") return run([](vf d, vf y) { return d * y; });
  if (kind == "log") return run([](vf d, vf x) { return d / x; });
  if (kind == "sqrt") return run([](vf d, vf y) { return 0.5f * d / y; });
  if (kind == "abs") return run([](vf d, vf x) { return d * select(x == 0.0f, vf{}, copySign(broadcast(1.0f), x)); });
  if (kind == "square") return run([](vf d, vf x) { return 2.0f * d * x; });
  return run([](vf d, vf y) { return -d * y * y; });
}

void elementwiseAffine(const Call& call, Context& context) {
  const float scale = static_cast<float>(call.scalar("scale")), shift = static_cast<float>(call.scalar("shift"));
  map(context, call.inputs[0].f32(), call.outputs[0].f32(), call.outputs[0].size,
      [=](vf x) { return scale * x + shift; });
}

namespace {

// base ** exponent. Scalar: powf is exact enough and rare enough.
float power(float base, float exponent) { return __builtin_powf(base, exponent); }

vf eachLane(vf a, vf b, float (*f)(float, float)) {
  vf result;
  for (int i = 0; i < lanes; i++) result[i] = f(a[i], b[i]);
  return result;
}

// 1 on the winning side, a half at a tie.
vf share(vf difference) {
  return select(difference > 0.0f, broadcast(1.0f), select(difference == 0.0f, broadcast(0.5f), vf{}));
}

// Hands the formula of `kind` to `use`.
template <class Use>
void withValue(const std::string& kind, Use use) {
  if (kind == "add") return use([](vf a, vf b) { return a + b; });
  if (kind == "sub") return use([](vf a, vf b) { return a - b; });
  if (kind == "mul") return use([](vf a, vf b) { return a * b; });
  if (kind == "div") return use([](vf a, vf b) { return a / b; });
  if (kind == "pow") return use([](vf a, vf b) { return eachLane(a, b, power); });
  if (kind == "maximum") return use([](vf a, vf b) { return max(a, b); });
  return use([](vf a, vf b) { return min(a, b); });
}

float powBase(float a, float b) { return b == 0 ? 0 : b * power(a, b - 1); }
float powExponent(float a, float b) { return a == 0 && b >= 0 ? 0 : power(a, b) * __builtin_logf(a); }

// Hands the partial derivative with respect to operand `wrt` to `use`.
template <class Use>
void withPartial(const std::string& kind, bool second, Use use) {
  if (kind == "add") return use([](vf, vf) { return broadcast(1.0f); });
  if (kind == "sub") return use([s = second ? -1.0f : 1.0f](vf, vf) { return broadcast(s); });
  if (kind == "mul") return second ? use([](vf a, vf) { return a; }) : use([](vf, vf b) { return b; });
  if (kind == "div")
    return second ? use([](vf a, vf b) { return -a / (b * b); }) : use([](vf, vf b) { return 1.0f / b; });
  if (kind == "pow")
    return second ? use([](vf a, vf b) { return eachLane(a, b, powExponent); })
                  : use([](vf a, vf b) { return eachLane(a, b, powBase); });
  const bool swap = (kind == "maximum") == second;
  return use([swap](vf a, vf b) { return share(swap ? b - a : a - b); });
}

// A loop nest over `sizes`, with the offset of each of `operands` lists of strides; the innermost axis is left to the
// caller.
struct Nest {
  std::vector<int64_t> sizes;
  std::vector<std::vector<int64_t>> strides;

  int64_t outer() const {
    int64_t count = 1;
    for (size_t k = 0; k + 1 < sizes.size(); k++) count *= sizes[k];
    return count;
  }
  int64_t inner() const { return sizes.empty() ? 1 : sizes.back(); }
  int64_t step(size_t operand) const { return sizes.empty() ? 0 : strides[operand].back(); }

  // Offset of `operand` at row `index` of the outer axes.
  int64_t offset(size_t operand, int64_t index) const {
    int64_t result = 0;
    for (size_t k = sizes.size() - 1; k-- > 0;) {
      result += index % sizes[k] * strides[operand][k];
      index /= sizes[k];
    }
    return result;
  }
};

// Strides of `operand` under the broadcast shape: 0 along repeated axes.
std::vector<int64_t> broadcastStrides(const std::vector<int64_t>& operand, const std::vector<int64_t>& shape) {
  std::vector<int64_t> result(shape.size(), 0);
  const size_t lead = shape.size() - operand.size();
  int64_t step = 1;
  for (size_t k = operand.size(); k-- > 0;) {
    if (operand[k] != 1) result[lead + k] = step;
    step *= operand[k];
  }
  return result;
}

// Merges neighbouring axes that every operand walks as one and drops axes of size 1, as `collapse` of src/shapes.ts.
Nest collapse(const std::vector<int64_t>& shape, const std::vector<std::vector<int64_t>>& operands) {
  Nest nest;
  nest.strides.resize(operands.size());
  for (size_t axis = 0; axis < shape.size(); axis++) {
    if (shape[axis] == 1) continue;
    bool joins = !nest.sizes.empty();
    for (size_t k = 0; joins && k < operands.size(); k++)
      joins = nest.strides[k].back() == operands[k][axis] * shape[axis];
    if (joins) {
      nest.sizes.back() *= shape[axis];
      for (size_t k = 0; k < operands.size(); k++) nest.strides[k].back() = operands[k][axis];
    } else {
      nest.sizes.push_back(shape[axis]);
      for (size_t k = 0; k < operands.size(); k++) nest.strides[k].push_back(operands[k][axis]);
    }
  }
  return nest;
}

// A vector read with any stride: contiguous, repeated, or gathered.
vf loadStrided(const float* p, int64_t step, int64_t n) {
  if (step == 1) return n == lanes ? load(p) : loadPartial(p, n);
  if (step == 0) return broadcast(*p);
  vf v{};
  for (int64_t i = 0; i < n; i++) v[i] = p[i * step];
  return v;
}

}  // namespace

void elementwiseBinary(const Call& call, Context& context) {
  const Tensor &a = call.inputs[0], &b = call.inputs[1], &y = call.outputs[0];
  const Nest nest = collapse(y.shape, {broadcastStrides(a.shape, y.shape), broadcastStrides(b.shape, y.shape)});
  withValue(call.text("kind"), [&](auto f) {
    if (nest.sizes.size() <= 1 && nest.step(0) == nest.step(1))
      return map2(context, a.f32(), b.f32(), y.f32(), y.size, f);
    const int64_t inner = nest.inner();
    context.parallel(nest.outer(), grain / inner + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; row++) {
        const float* pa = a.f32() + nest.offset(0, row);
        const float* pb = b.f32() + nest.offset(1, row);
        float* py = y.f32() + row * inner;
        for (int64_t i = 0; i < inner; i += lanes) {
          const int64_t n = inner - i < lanes ? inner - i : lanes;
          const vf result = f(loadStrided(pa + i * nest.step(0), nest.step(0), n),
                              loadStrided(pb + i * nest.step(1), nest.step(1), n));
          if (n == lanes)
            store(py + i, result);
          else
            storePartial(py + i, n, result);
        }
      }
    });
  });
}

// Sums over the axes along which the operand was repeated. Threads share the kept elements, so the order of every sum
// is fixed.
void elementwiseBinaryBackward(const Call& call, Context& context) {
  const Tensor& g = call.inputs[0];
  const Tensor& a = call.inputs[call.inputs.size() > 1 ? 1 : 0];
  const Tensor& b = call.inputs[call.inputs.size() > 2 ? 2 : 0];
  const Tensor& d = call.outputs[0];
  const Nest all = collapse(g.shape, {broadcastStrides(d.shape, g.shape), broadcastStrides(a.shape, g.shape),
                                      broadcastStrides(b.shape, g.shape), broadcastStrides(g.shape, g.shape)});
  Nest kept, summed;
  kept.strides.resize(3);
  summed.strides.resize(3);
  for (size_t axis = 0; axis < all.sizes.size(); axis++) {
    Nest& nest = all.strides[0][axis] != 0 ? kept : summed;
    nest.sizes.push_back(all.sizes[axis]);
    for (size_t k = 0; k < 3; k++) nest.strides[k].push_back(all.strides[k + 1][axis]);
  }
  const int64_t terms = summed.outer() * summed.inner();
  const int64_t columns = kept.inner();
  withPartial(call.text("kind"), call.integer("wrt") == 1, [&](auto partial) {
    const auto product = [&](int64_t atG, int64_t stepG, int64_t atA, int64_t stepA, int64_t atB, int64_t stepB,
                             int64_t n) {
      return loadStrided(g.f32() + atG, stepG, n) *
             partial(loadStrided(a.f32() + atA, stepA, n), loadStrided(b.f32() + atB, stepB, n));
    };
    if (g.size == 0) {
      for (int64_t i = 0; i < d.size; i++) d.f32()[i] = 0;
    } else if (terms > 1 && summed.step(2) == 1) {
      // The summed axis is the contiguous one: each element is a sum along vectors.
      context.parallel(d.size, grain / terms + 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t e = begin; e < end; e++) {
          int64_t base[3];
          for (size_t k = 0; k < 3; k++)
            base[k] = kept.sizes.empty() ? 0 : kept.offset(k, e / columns) + e % columns * kept.step(k);
          vf total{};
          for (int64_t row = 0; row < summed.outer(); row++) {
            int64_t at[3];
            for (size_t k = 0; k < 3; k++) at[k] = base[k] + summed.offset(k, row);
            for (int64_t i = 0; i < summed.inner(); i += lanes) {
              const int64_t n = summed.inner() - i < lanes ? summed.inner() - i : lanes;
              vf term = product(at[2] + i, 1, at[0] + i * summed.step(0), summed.step(0), at[1] + i * summed.step(1),
                                summed.step(1), n);
              // Lanes past the end hold whatever the formula makes of zeros.
              if (n < lanes) {
                for (int64_t lane = n; lane < lanes; lane++) term[lane] = 0;
              }
              total += term;
            }
          }
          d.f32()[e] = sum(total);
        }
      });
    } else {
      // Vectors run along the kept axis, one term of the sum after the other.
      const int64_t blocks = (columns + lanes - 1) / lanes;
      context.parallel(kept.outer() * blocks, grain / (lanes * terms) + 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t block = begin; block < end; block++) {
          const int64_t row = block / blocks, i = block % blocks * lanes;
          const int64_t n = columns - i < lanes ? columns - i : lanes;
          int64_t base[3];
          for (size_t k = 0; k < 3; k++) base[k] = kept.sizes.empty() ? 0 : kept.offset(k, row) + i * kept.step(k);
          vf total{};
          for (int64_t t = 0; t < terms; t++) {
            int64_t at[3];
            for (size_t k = 0; k < 3; k++)
              at[k] = base[k] + (summed.sizes.empty()
                                     ? 0
                                     : summed.offset(k, t / summed.inner()) + t % summed.inner() * summed.step(k));
            total += product(at[2], kept.step(2), at[0], kept.step(0), at[1], kept.step(1), n);
          }
          storePartial(d.f32() + row * columns + i, n, total);
        }
      });
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
