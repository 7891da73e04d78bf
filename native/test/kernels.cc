// Kernels that tests of the queue, the pool and the vector type need. In no addon but the tests' own.
#include "kernels.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

namespace {

// y = value everywhere.
void fill(const Call& call, Context& context) {
  const Tensor& y = call.outputs[0];
  const vf value = broadcast(static_cast<float>(call.scalar("value")));
  context.parallel(y.size, call.integer("grain"), [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) store(y.f32() + i, value);
    storePartial(y.f32() + i, end - i, value);
  });
}

// x = x * factor + term, in place: the order of two of these shows.
void update(const Call& call, Context& context) {
  const Tensor& x = call.inputs[0];
  const vf factor = broadcast(static_cast<float>(call.scalar("factor")));
  const vf term = broadcast(static_cast<float>(call.scalar("term")));
  context.parallel(x.size, 16, [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) store(x.f32() + i, fma(load(x.f32() + i), factor, term));
    storePartial(x.f32() + i, end - i, fma(loadPartial(x.f32() + i, end - i), factor, term));
  });
}

// y = x, after `milliseconds`.
void slow(const Call& call, Context&) {
  std::this_thread::sleep_for(std::chrono::milliseconds(call.integer("milliseconds")));
  for (int64_t i = 0; i < call.inputs[0].size; i++) call.outputs[0].f32()[i] = call.inputs[0].f32()[i];
}

// y = x, of which no element may be negative.
void positive(const Call& call, Context& context) {
  const Tensor& x = call.inputs[0];
  context.parallel(x.size, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      if (x.f32()[i] < 0) context.fault(x.f32()[i]);
      call.outputs[0].f32()[i] = x.f32()[i];
    }
  });
}

// y[i] = where the i-th of y.size work areas of `floats` floats begins, modulo 64, once all were written to.
void areas(const Call& call, Context& context) {
  const Tensor& y = call.outputs[0];
  for (int64_t i = 0; i < y.size; i++) {
    const int64_t floats = call.integer("floats");
    float* area = context.scratch(floats);
    for (int64_t j = 0; j < floats; j++) area[j] = static_cast<float>(j);
    y.f32()[i] = static_cast<float>(reinterpret_cast<uintptr_t>(area) % 64);
  }
}

// y[i] = how often element i was visited, by loops within loops.
void nested(const Call& call, Context& context) {
  const Tensor& y = call.outputs[0];
  const int64_t row = y.shape[1];
  context.parallel(y.shape[0], 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      float* line = y.f32() + i * row;
      for (int64_t j = 0; j < row; j++) line[j] = 0;
      context.parallel(row, 1, [&](int64_t first, int64_t last, int) {
        for (int64_t j = first; j < last; j++) line[j] += 1;
      });
    }
  });
}

// Throws on a thread of the pool.
void broken(const Call& call, Context& context) {
  context.parallel(1000, 1, [&](int64_t, int64_t end, int) {
    if (end == 1000) call.integer("no such attribute");
  });
}

// y = f(x), one vector at a time.
template <vf (*f)(vf)>
void map(const Call& call, Context&) {
  const Tensor& x = call.inputs[0];
  for (int64_t i = 0; i < x.size; i += lanes) {
    const int64_t count = std::min<int64_t>(lanes, x.size - i);
    storePartial(call.outputs[0].f32() + i, count, f(loadPartial(x.f32() + i, count)));
  }
}

vf expOf(vf v) { return exp(v); }
vf logOf(vf v) { return log(v); }
vf tanhOf(vf v) { return tanh(v); }
vf erfOf(vf v) { return erf(v); }
vf sqrtOf(vf v) { return sqrt(v); }
// The larger of each value and its neighbour in the vector, so that NaN meets numbers from both sides.
vf maxOfPair(vf v) {
  vf other{};
  for (int i = 0; i < lanes; i++) other[i] = v[i ^ 1];
  return max(v, other);
}
vf minOfPair(vf v) {
  vf other{};
  for (int i = 0; i < lanes; i++) other[i] = v[i ^ 1];
  return min(v, other);
}
vf sumOfLanes(vf v) { return broadcast(sum(v)); }
vf maxOfLanes(vf v) { return broadcast(maxOf(v)); }

constexpr KernelEntry table[] = {
    {"test.fill", fill},
    {"test.update", update},
    {"test.slow", slow},
    {"test.positive", positive},
    {"test.areas", areas},
    {"test.nested", nested},
    {"test.broken", broken},
    {"test.exp", map<expOf>},
    {"test.log", map<logOf>},
    {"test.tanh", map<tanhOf>},
    {"test.erf", map<erfOf>},
    {"test.sqrt", map<sqrtOf>},
    {"test.maxOfPair", map<maxOfPair>},
    {"test.minOfPair", map<minOfPair>},
    {"test.sumOfLanes", map<sumOfLanes>},
    {"test.maxOfLanes", map<maxOfLanes>},
};

}  // namespace

std::span<const KernelEntry> testKernels() { return table; }

}  // namespace birkhoff::BIRKHOFF_ISA
