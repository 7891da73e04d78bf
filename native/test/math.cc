// The vector type's mathematics against the C library's in double, over all of float's range.
#include <algorithm>
#include <limits>

#include "check.h"

namespace birkhoff::test {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// The distance in units of the last place that `want` has as a float; infinite when one is NaN and the other is not.
double ulps(float got, double want) {
  const float rounded = static_cast<float>(want);
  if (got == rounded || (std::isnan(got) && std::isnan(want))) return 0;
  if (std::isnan(got) || std::isnan(want)) return infinity;
  const float size = std::min(std::fabs(rounded), std::numeric_limits<float>::max());
  const double unit = static_cast<double>(size) - std::nextafter(size, 0.0f);
  // An infinite result stands for the first number that float cannot hold.
  const double value = std::isinf(got) ? std::copysign(0x1p128, got) : got;
  return std::fabs(value - want) / (size == 0 ? 0x1p-149 : unit);
}

// The output of a kernel y = f(x), called without a queue.
std::vector<float> apply(const Level& level, const std::string& op, std::vector<float> x) {
  std::vector<float> y(x.size());
  const auto size = static_cast<int64_t>(x.size());
  auto prepared = prepare(level, op, {tensor({size})}, {tensor({size})});
  prepared->call.inputs[0].data = x.data();
  prepared->call.outputs[0].data = y.data();
  Pool pool(1);
  MemoryPool memory(1 << 20);
  Scratch scratch(memory);
  Context context(pool, scratch);
  prepared->kernel(prepared->call, context);
  return y;
}

// Every `step`-th bit pattern: all exponents, both signs, subnormals, infinities, NaN.
std::vector<float> grid(uint32_t step) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += step) {
    const auto pattern = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &pattern, sizeof value);
    x.push_back(value);
  }
  // Where functions change their formula or leave float's range.
  for (const float value :
       {88.7228f, 88.7229f, -87.3365f, -103.972f, -103.973f, -104.0f, 0.625f, 0.9375f, 4.0f, 1.0f}) {
    for (float near = value * (1 - 1e-5f); std::fabs(near - value) <= std::fabs(value) * 2e-5f;
         near = std::nextafter(near, value * 2)) {
      x.push_back(near);
      x.push_back(-near);
    }
  }
  const float infinite = std::numeric_limits<float>::infinity();
  for (const float value : {0.0f, -0.0f, infinite, -infinite, std::numeric_limits<float>::quiet_NaN()})
    x.push_back(value);
  return x;
}

void testFunction(const Level& level, const char* name, double (*exact)(double), double bound,
                  const std::vector<float>& x) {
  const std::vector<float> y = apply(level, std::string("test.") + name, x);
  double worst = 0;
  float where = 0;
  for (size_t i = 0; i < x.size(); i++) {
    const double error = ulps(y[i], exact(static_cast<double>(x[i])));
    if (error <= worst) continue;
    worst = error;
    where = x[i];
  }
  std::printf("%-8s %-5s at most %.2f ulp (at %.9g), %zu points\n", level.name, name, worst, static_cast<double>(where),
              x.size());
  check(worst <= bound, std::string(name) + " keeps its bound");
}

// NaN wins over any number from either side, as in PyTorch.
void testNan(const Level& level) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x(16);
  for (int i = 0; i < 16; i++) x[i] = static_cast<float>(i);
  x[1] = x[6] = nan;
  const std::vector<float> most = apply(level, "test.maxOfPair", x), least = apply(level, "test.minOfPair", x);
  for (int i = 0; i < 16; i++) {
    const bool meets = i / 2 == 0 || i / 2 == 3;
    check(meets ? std::isnan(most[i]) && std::isnan(least[i])
                : most[i] == static_cast<float>(i | 1) && least[i] == static_cast<float>(i & ~1),
          "max and min of pairs");
  }
  for (float& value : x) value = 0.5f;
  check(apply(level, "test.sumOfLanes", x)[0] >= 2.0f, "sum adds lanes");
  x[3] = 7;
  check(apply(level, "test.maxOfLanes", x)[0] == 7.0f, "maxOf finds the largest lane");
  for (const size_t at : {0, 2, 3}) {
    x[at] = nan;
    check(std::isnan(apply(level, "test.maxOfLanes", x)[0]), "maxOf gives NaN when a lane is");
    x[at] = 0;
  }
}

}  // namespace

void testMath(const Level& level, uint32_t step) {
  const std::vector<float> x = grid(step);
  testFunction(level, "exp", std::exp, 2, x);
  testFunction(level, "log", std::log, 2, x);
  testFunction(level, "tanh", std::tanh, 2, x);
  testFunction(level, "erf", std::erf, 2, x);
  testFunction(level, "sqrt", std::sqrt, 0.5, x);
  const std::vector<float> ends = apply(level, "test.exp", {-104.0f, -std::numeric_limits<float>::infinity(), 89.0f});
  check(ends[0] == 0 && ends[1] == 0 && std::isinf(ends[2]), "exp ends in exact 0 and infinity");
  for (const char* odd : {"test.tanh", "test.erf"}) {
    check(std::signbit(apply(level, odd, {-0.0f})[0]), std::string(odd) + " keeps the sign of -0");
  }
  testNan(level);
}

}  // namespace birkhoff::test
