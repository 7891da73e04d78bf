// Reductions over any axes. A state of vectors takes terms one vector at a time: along the terms of one output where the last axis is
// reduced and long (its lanes are merged at the end), else across neighbouring outputs. Where outputs are few, their terms are cut into
// parts by the shape alone, and the states of the parts are merged in order: the result does not depend on the threads.
#include <algorithm>
#include <limits>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work.
constexpr int64_t grain = 1 << 14;
constexpr int64_t partTerms = 1 << 14;
// With fewer items of work than this, terms are cut into parts.
constexpr int64_t fewItems = 64;
// Additions in a row before a sum goes on to the compensated total.
constexpr int64_t runLength = 64;
// Vectors that are worked on at a time.
constexpr int64_t wide = 4;

constexpr int32_t leastInt = std::numeric_limits<int32_t>::min();
constexpr int32_t nanKey = std::numeric_limits<int32_t>::max();

vi laneIndex() {
  vi index;
  for (int i = 0; i < lanes; i++) index[i] = i;
  return index;
}

vf rotate(vf v, int64_t by) {
  float twice[2 * lanes];
  store(twice, v);
  store(twice + lanes, v);
  return load(twice + by);
}

vi rotate(vi v, int64_t by) { return bits(rotate(fromBits(v), by)); }

// A row-major loop nest with its steps in one tensor.
struct Walk {
  std::vector<int64_t> sizes, steps;

  void append(int64_t size, int64_t step, bool joins) {
    if (joins) {
      sizes.back() *= size;
      steps.back() = step;
    } else {
      sizes.push_back(size);
      steps.push_back(step);
    }
  }
  int64_t inner() const { return sizes.empty() ? 1 : sizes.back(); }
  int64_t step() const { return sizes.empty() ? 0 : steps.back(); }
  int64_t outer() const {
    int64_t count = 1;
    for (size_t k = 0; k + 1 < sizes.size(); k++) count *= sizes[k];
    return count;
  }
  int64_t count() const { return outer() * inner(); }

  // Offset of row `index` of the axes before the last one.
  int64_t offset(int64_t index) const {
    int64_t result = 0;
    for (size_t k = sizes.empty() ? 0 : sizes.size() - 1; k-- > 0;) {
      result += index % sizes[k] * steps[k];
      index /= sizes[k];
    }
    return result;
  }
};

struct Split {
  Walk kept, reduced;
  bool lastReduced = false;

  // Neighbouring axes of one kind become one; axes of size 1 are neither.
  Split(const std::vector<int64_t>& shape, const std::vector<int64_t>& axes) {
    int64_t step = 1;
    for (int64_t size : shape) step *= size;
    bool before = false;
    for (size_t axis = 0; axis < shape.size(); axis++) {
      if (shape[axis] == 1) continue;
      step = shape[axis] == 0 ? 0 : step / shape[axis];
      lastReduced = std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
      Walk& walk = lastReduced ? reduced : kept;
      walk.append(shape[axis], step, !walk.sizes.empty() && before == lastReduced);
      before = lastReduced;
    }
  }
};

struct Sum {
  vf run{}, total{}, rest{};
  static constexpr bool settles = true;

  // Knuth's exact sum of two numbers: what is rounded off goes to `rest`.
  void take(vf x) {
    const vf next = total + x;
    const vf part = next - total;
    rest += (total - (next - part)) + (x - part);
    total = next;
  }
  void settle() {
    take(run);
    run = vf{};
  }
  void add(vf x, int64_t, vi) { run += x; }
  void addSome(vf x, int64_t, vi, vi) { run += x; }
  void merge(Sum other) {
    settle();
    other.settle();
    take(other.total);
    rest += other.rest;
  }
  Sum rotated(int64_t by) const { return {rotate(run, by), rotate(total, by), rotate(rest, by)}; }
  // Infinite totals have no rest.
  vf value() const { return run + (total + select(isNan(rest), vf{}, rest)); }
};

// Keys order floats as whole numbers: NaN above everything, -0 equal to 0.
template <bool least>
vi keyOf(vf x) {
  const vi word = bits(x + 0.0f);
  const vi key = word ^ ((word >> 31) & 0x7fffffff);
  return select(isNan(x), broadcast(nanKey), least ? ~key : key);
}

template <bool least>
vf fromKey(vi key) {
  const vi plain = least ? ~key : key;
  return select(key == nanKey, broadcast(std::numeric_limits<float>::quiet_NaN()), fromBits(plain ^ ((plain >> 31) & 0x7fffffff)));
}

template <bool least>
struct Extreme {
  vi key = broadcast(leastInt), count{};
  static constexpr bool settles = false;

  void takeKey(vi k) {
    const vi higher = k > key;
    count = select(higher, broadcast(1), count - (k == key));
    key = select(higher, k, key);
  }
  void settle() {}
  void add(vf x, int64_t, vi) { takeKey(keyOf<least>(x)); }
  void addSome(vf x, int64_t, vi, vi live) { takeKey(select(live, keyOf<least>(x), broadcast(leastInt))); }
  void merge(Extreme other) {
    count = (count & (key >= other.key)) + (other.count & (other.key >= key));
    key = select(key > other.key, key, other.key);
  }
  Extreme rotated(int64_t by) const { return {rotate(key, by), rotate(count, by)}; }
  vf value() const { return fromKey<least>(key); }
};

struct Argmax {
  vi key = broadcast(leastInt), place = broadcast(nanKey);
  static constexpr bool settles = false;

  void takeKey(vi k, vi at) {
    const vi higher = k > key;
    place = select(higher, at, place);
    key = select(higher, k, key);
  }
  void settle() {}
  void add(vf x, int64_t term, vi lane) { takeKey(keyOf<false>(x), broadcast(static_cast<int32_t>(term)) + lane); }
  void addSome(vf x, int64_t term, vi lane, vi live) { takeKey(select(live, keyOf<false>(x), broadcast(leastInt)), broadcast(static_cast<int32_t>(term)) + lane); }
  void merge(Argmax other) {
    const vi theirs = (other.key > key) | ((other.key == key) & (other.place < place));
    place = select(theirs, other.place, place);
    key = select(theirs, other.key, key);
  }
  Argmax rotated(int64_t by) const { return {rotate(key, by), rotate(place, by)}; }
};

struct LogSumExp {
  vf most = broadcast(-infinity), total{};
  static constexpr bool settles = false;

  void settle() {}
  // One exponential: of the distance to the largest so far, which decays either the sum or the newcomer.
  void add(vf x, int64_t, vi) {
    const vi higher = x > most;
    const vf decay = exp(select(x == most, vf{}, -abs(x - most)));
    total = select(higher, fma(total, decay, broadcast(1.0f)), total + select(x == -infinity, vf{}, decay));
    most = select(higher, x, most);
  }
  void addSome(vf x, int64_t term, vi lane, vi live) { add(select(live, x, broadcast(-infinity)), term, lane); }
  void merge(LogSumExp other) {
    const vf top = select(other.most > most, other.most, most);
    const vf one = broadcast(1.0f);
    total = total * select(most == top, one, exp(most - top)) + other.total * select(other.most == top, one, exp(other.most - top));
    most = top;
  }
  LogSumExp rotated(int64_t by) const { return {rotate(most, by), rotate(total, by)}; }
  vf value() const { return most + log(total); }
};

// Calls use(p, step, n) for pieces of the terms [begin, end) that lie at equal steps.
template <class Use>
void alongTerms(const Walk& reduced, const float* base, int64_t begin, int64_t end, Use use) {
  const int64_t inner = reduced.inner();
  for (int64_t t = begin; t < end;) {
    const int64_t column = t % inner, n = std::min(end - t, inner - column);
    use(t, base + reduced.offset(t / inner) + column * reduced.step(), n);
    t += n;
  }
}

// One output: lanes hold different terms.
template <class State>
State alongOne(const Walk& reduced, const float* base, int64_t begin, int64_t end) {
  State states[wide];
  const vi lane = laneIndex();
  int64_t since = 0;
  alongTerms(reduced, base, begin, end, [&](int64_t t, const float* p, int64_t n) {
    int64_t i = 0;
    while (i + wide * lanes <= n) {
      const int64_t stop = State::settles ? std::min(n, i + (runLength - since) * wide * lanes) : n;
      for (; i + wide * lanes <= stop; i += wide * lanes, since++) {
        for (int64_t u = 0; u < wide; u++) states[u].add(load(p + i + u * lanes), t + i + u * lanes, lane);
      }
      if (State::settles && since >= runLength) {
        for (State& state : states) state.settle();
        since = 0;
      }
    }
    for (int64_t u = 0; i + lanes <= n; i += lanes, u++) states[u].add(load(p + i), t + i, lane);
    if (i < n) states[wide - 1].addSome(loadPartial(p + i, n - i), t + i, lane, lane < static_cast<int32_t>(n - i));
    if (State::settles && ++since >= runLength) {
      for (State& state : states) state.settle();
      since = 0;
    }
  });
  states[0].merge(states[1]);
  states[2].merge(states[3]);
  states[0].merge(states[2]);
  return states[0];
}

// U vectors of neighbouring outputs, `step` apart in x; the last vector has `n` of them.
template <class State, int64_t U>
void alongMany(const Walk& reduced, const float* base, int64_t step, int64_t n, int64_t begin, int64_t end, State* states) {
  State own[U];
  int64_t since = 0;
  const auto fetch = [&](const float* p, int64_t count) {
    if (step == 1) return count == lanes ? load(p) : loadPartial(p, count);
    float values[lanes] = {};
    for (int64_t i = 0; i < count; i++) values[i] = p[i * step];
    return load(values);
  };
  alongTerms(reduced, base, begin, end, [&](int64_t t, const float* p, int64_t count) {
    for (int64_t k = 0; k < count; k++, p += reduced.step()) {
      for (int64_t u = 0; u + 1 < U; u++) own[u].add(fetch(p + u * lanes * step, lanes), t + k, vi{});
      own[U - 1].add(fetch(p + (U - 1) * lanes * step, n), t + k, vi{});
      if (State::settles && ++since == runLength) {
        for (State& state : own) state.settle();
        since = 0;
      }
    }
  });
  for (int64_t u = 0; u < U; u++) states[u] = own[u];
}

template <class State>
void alongMany(int64_t vectors, const Walk& reduced, const float* base, int64_t step, int64_t n, int64_t begin, int64_t end, State* states) {
  if (vectors == 1) return alongMany<State, 1>(reduced, base, step, n, begin, end, states);
  if (vectors == 2) return alongMany<State, 2>(reduced, base, step, n, begin, end, states);
  if (vectors == 3) return alongMany<State, 3>(reduced, base, step, n, begin, end, states);
  return alongMany<State, 4>(reduced, base, step, n, begin, end, states);
}

// Calls finish(output, n, state) for the first n lanes of a state, which belong to n outputs in a row. Needs at least one term.
template <class State, class Finish>
void reduceAll(const Call& call, Context& context, Finish finish) {
  const Tensor& x = call.inputs[0];
  const Split split(x.shape, call.integers("axes"));
  const Walk &kept = split.kept, &reduced = split.reduced;
  const int64_t terms = reduced.count(), columns = kept.inner(), width = wide * lanes;
  const bool along = split.lastReduced && (reduced.inner() >= 2 * lanes || kept.sizes.empty());
  // An item is one output, or up to `width` neighbours.
  const int64_t perRow = along ? columns : (columns + width - 1) / width;
  const int64_t items = kept.outer() * perRow;
  const int64_t parts = items >= fewItems ? 1 : (terms + partTerms - 1) / partTerms;
  const int64_t vectors = along ? 1 : wide;

  const auto outputOf = [&](int64_t item) { return item / perRow * columns + item % perRow * (along ? 1 : width); };
  const auto outputsOf = [&](int64_t item) { return along ? 1 : std::min(width, columns - item % perRow * width); };
  const auto fill = [&](int64_t item, int64_t part, State* states) {
    const float* base = x.f32() + kept.offset(item / perRow) + item % perRow * (along ? 1 : width) * kept.step();
    const int64_t begin = part * partTerms, end = parts == 1 ? terms : std::min(terms, begin + partTerms);
    if (along) {
      states[0] = alongOne<State>(reduced, base, begin, end);
    } else {
      const int64_t count = outputsOf(item), used = (count + lanes - 1) / lanes;
      alongMany<State>(used, reduced, base, kept.step(), count - (used - 1) * lanes, begin, end, states);
    }
  };
  const auto write = [&](int64_t item, State* states) {
    if (along) {
      for (int64_t half = lanes / 2; half > 0; half /= 2) states[0].merge(states[0].rotated(half));
    }
    const int64_t count = outputsOf(item);
    for (int64_t i = 0; i < count; i += lanes) finish(outputOf(item) + i, std::min<int64_t>(lanes, count - i), states[i / lanes]);
  };

  if (parts == 1) {
    const int64_t work = terms * (along ? 1 : std::min(width, columns));
    context.parallel(items, grain / work + 1, [&](int64_t begin, int64_t end, int) {
      State states[wide];
      for (int64_t item = begin; item < end; item++) {
        fill(item, 0, states);
        write(item, states);
      }
    });
    return;
  }
  static_assert(sizeof(State) % sizeof(float) == 0 && alignof(State) <= 64);
  State* all = reinterpret_cast<State*>(context.scratch(items * parts * vectors * static_cast<int64_t>(sizeof(State) / sizeof(float))));
  context.parallel(items * parts, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) fill(i / parts, i % parts, all + i * vectors);
  });
  for (int64_t item = 0; item < items; item++) {
    State* states = all + item * parts * vectors;
    const int64_t used = along ? 1 : (outputsOf(item) + lanes - 1) / lanes;
    for (int64_t part = 1; part < parts; part++) {
      for (int64_t u = 0; u < used; u++) states[u].merge(states[part * vectors + u]);
    }
    write(item, states);
  }
}

int64_t termsOf(const std::vector<int64_t>& shape, const std::vector<int64_t>& axes) {
  int64_t terms = 1;
  for (int64_t axis : axes) terms *= shape[static_cast<size_t>(axis)];
  return terms;
}

template <bool least>
void extreme(const Call& call, Context& context) {
  float* y = call.outputs[0].f32();
  int32_t* ties = call.outputs[1].i32();
  reduceAll<Extreme<least>>(call, context, [=](int64_t output, int64_t n, const Extreme<least>& state) {
    storePartial(y + output, n, state.value());
    for (int64_t i = 0; i < n; i++) ties[output + i] = state.count[i];
  });
}

}  // namespace

void reduceForward(const Call& call, Context& context) {
  const std::string& kind = call.text("kind");
  const Tensor& result = call.outputs[0];
  float* y = result.f32();
  const int64_t terms = termsOf(call.inputs[0].shape, call.integers("axes"));
  if (result.size == 0) return;
  if (terms == 0) {
    const float nothing = kind == "sum" ? 0 : kind == "mean" ? std::numeric_limits<float>::quiet_NaN() : -infinity;
    return std::fill(y, y + result.size, nothing);
  }
  if (kind == "max") return extreme<false>(call, context);
  if (kind == "min") return extreme<true>(call, context);
  if (kind == "logsumexp") return reduceAll<LogSumExp>(call, context, [=](int64_t output, int64_t n, const LogSumExp& state) { storePartial(y + output, n, state.value()); });
  const float divisor = kind == "mean" ? static_cast<float>(terms) : 1.0f;
  reduceAll<Sum>(call, context, [=](int64_t output, int64_t n, Sum state) {
    state.settle();
    storePartial(y + output, n, state.value() / divisor);
  });
}

void reduceArgmax(const Call& call, Context& context) {
  if (call.outputs[0].size == 0) return;
  int32_t* y = call.outputs[0].i32();
  reduceAll<Argmax>(call, context, [=](int64_t output, int64_t n, const Argmax& state) {
    for (int64_t i = 0; i < n; i++) y[output + i] = state.place[i];
  });
}

namespace {

// dx = g · factor(x, y, ties), where g, y and ties are one number along rows of x whose last axis is reduced.
template <class Factor>
void spread(const Call& call, Context& context, Factor factor) {
  const std::vector<int64_t>& axes = call.integers("axes");
  const Tensor& dx = call.outputs[0];
  const size_t count = call.inputs.size();
  const float* g = call.inputs[0].f32();
  const float* x = count > 1 ? call.inputs[1].f32() : nullptr;
  const float* y = count > 2 ? call.inputs[2].f32() : nullptr;
  const int32_t* ties = count > 3 ? call.inputs[3].i32() : nullptr;
  // The steps of every axis in the result: 0 along reduced ones.
  Walk walk;
  std::vector<int64_t> steps(dx.shape.size());
  int64_t step = 1;
  const auto isReduced = [&](size_t axis) { return std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end(); };
  for (size_t axis = dx.shape.size(); axis-- > 0;) {
    steps[axis] = isReduced(axis) ? 0 : step;
    if (!isReduced(axis)) step *= dx.shape[axis];
  }
  bool before = false;
  for (size_t axis = 0; axis < dx.shape.size(); axis++) {
    if (dx.shape[axis] == 1) continue;
    walk.append(dx.shape[axis], steps[axis], !walk.sizes.empty() && before == isReduced(axis));
    before = isReduced(axis);
  }
  const int64_t inner = walk.inner(), along = walk.step();
  context.parallel(dx.size, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end;) {
      const int64_t column = i % inner, n = std::min(end - i, inner - column);
      const int64_t output = walk.offset(i / inner) + column * along;
      const auto fetch = [&](const float* p, int64_t k, int64_t m) { return p == nullptr ? vf{} : along == 0 ? broadcast(p[output]) : m == lanes ? load(p + output + k) : loadPartial(p + output + k, m); };
      for (int64_t k = 0; k < n; k += lanes) {
        const int64_t m = std::min<int64_t>(lanes, n - k);
        const vf term = x == nullptr ? vf{} : m == lanes ? load(x + i + k) : loadPartial(x + i + k, m);
        const vf shared = toFloat(bits(fetch(reinterpret_cast<const float*>(ties), k, m)));
        storePartial(dx.f32() + i + k, m, fetch(g, k, m) * factor(term, fetch(y, k, m), shared));
      }
      i += n;
    }
  });
}

}  // namespace

void reduceBackward(const Call& call, Context& context) {
  const std::string& kind = call.text("kind");
  const std::vector<int64_t>& shape = call.integers("shape");
  if (call.outputs[0].size == 0) return;
  if (kind == "sum") return spread(call, context, [](vf, vf, vf) { return broadcast(1.0f); });
  if (kind == "mean") {
    const float share = 1.0f / static_cast<float>(termsOf(shape, call.integers("axes")));
    return spread(call, context, [share](vf, vf, vf) { return broadcast(share); });
  }
  if (kind == "logsumexp") return spread(call, context, [](vf x, vf y, vf) { return select(y == -infinity, vf{}, exp(x - y)); });
  spread(call, context, [](vf x, vf y, vf ties) { return select(isNan(y), y, select(x == y, 1.0f / ties, vf{})); });
}

}  // namespace birkhoff::BIRKHOFF_ISA
