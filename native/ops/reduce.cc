// Reductions over any axes. A state of vectors takes terms one vector at a time: along the terms of one output where
// the last axis is reduced and long (its lanes are merged at the end), else across neighbouring outputs. Where outputs
// are few, their terms are cut into parts by the shape alone, and the states of the parts are merged in order: the
// result does not depend on the threads.
#include <algorithm>
#include <limits>

#include "kernel.h"
#include "reduce-states.h"

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

vi laneIndex() {
  vi index;
  for (int i = 0; i < lanes; i++) index[i] = i;
  return index;
}

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

// Calls use(first term, p, n) for pieces of the terms [begin, end) that lie at equal steps.
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
  if (end - begin <= wide * lanes) {
    for (int64_t u = 1; u < wide; u++) states[0].join(states[u]);
    return states[0];
  }
  states[0].merge(states[1]);
  states[2].merge(states[3]);
  states[0].merge(states[2]);
  return states[0];
}

// U vectors of neighbouring outputs, `step` apart in x; the last vector has `n` of them. V terms at a time, in states
// of their own.
template <class State, int64_t U, int64_t V, bool packed>
void alongMany(const Walk& reduced, const float* base, int64_t step, int64_t n, int64_t begin, int64_t end,
               State* states) {
  State own[V][U];
  int64_t since = 0;
  const auto fetch = [&](const float* p, int64_t count) {
    if constexpr (packed) {
      return count == lanes ? load(p) : loadPartial(p, count);
    } else {
      float values[lanes] = {};
      for (int64_t i = 0; i < count; i++) values[i] = p[i * step];
      return load(values);
    }
  };
  const auto take = [&](State(&row)[U], const float* p, int64_t t) {
    for (int64_t u = 0; u + 1 < U; u++) row[u].add(fetch(p + u * lanes * step, lanes), t, vi{});
    row[U - 1].add(fetch(p + (U - 1) * lanes * step, n), t, vi{});
  };
  const auto settle = [&] {
    if (!State::settles || ++since < runLength) return;
    for (auto& row : own) {
      for (State& state : row) state.settle();
    }
    since = 0;
  };
  const int64_t next = reduced.step();
  alongTerms(reduced, base, begin, end, [&](int64_t t, const float* p, int64_t count) {
    int64_t k = 0;
    for (; k + V <= count; k += V) {
      for (int64_t v = 0; v < V; v++) take(own[v], p + (k + v) * next, t + k + v);
      settle();
    }
    for (; k < count; k++) {
      take(own[0], p + k * next, t + k);
      settle();
    }
  });
  const bool few = end - begin < runLength;
  for (int64_t u = 0; u < U; u++) {
    states[u] = own[0][u];
    for (int64_t v = 1; v < V; v++) {
      if (few)
        states[u].join(own[v][u]);
      else
        states[u].merge(own[v][u]);
    }
  }
}

template <class State, bool packed>
void alongMany(int64_t vectors, const Walk& reduced, const float* base, int64_t step, int64_t n, int64_t begin,
               int64_t end, State* states) {
  if (vectors == 1) return alongMany<State, 1, 4, packed>(reduced, base, step, n, begin, end, states);
  if (vectors == 2) return alongMany<State, 2, 2, packed>(reduced, base, step, n, begin, end, states);
  if (vectors == 3) return alongMany<State, 3, 1, packed>(reduced, base, step, n, begin, end, states);
  return alongMany<State, 4, 1, packed>(reduced, base, step, n, begin, end, states);
}

// Calls finish(output, n, state) for the first n lanes of a state, which belong to n outputs in a row. Needs at least
// one term.
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
      const int64_t last = count - (used - 1) * lanes;
      if (kept.step() == 1)
        alongMany<State, true>(used, reduced, base, 1, last, begin, end, states);
      else
        alongMany<State, false>(used, reduced, base, kept.step(), last, begin, end, states);
    }
  };
  const auto write = [&](int64_t item, State* states) {
    if (along) states[0] = states[0].folded();
    const int64_t count = outputsOf(item);
    for (int64_t i = 0; i < count; i += lanes)
      finish(outputOf(item) + i, std::min<int64_t>(lanes, count - i), states[i / lanes]);
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
  State* all = reinterpret_cast<State*>(
      context.scratch(items * parts * vectors * static_cast<int64_t>(sizeof(State) / sizeof(float))));
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
  if (kind == "logsumexp")
    return reduceAll<LogSumExp>(call, context, [=](int64_t output, int64_t n, const LogSumExp& state) {
      storePartial(y + output, n, state.value());
    });
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
  const auto isReduced = [&](size_t axis) {
    return std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
  };
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
      const auto fetch = [&](const float* p, int64_t k, int64_t m) {
        return p == nullptr ? vf{}
               : along == 0 ? broadcast(p[output])
               : m == lanes ? load(p + output + k)
                            : loadPartial(p + output + k, m);
      };
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
  if (kind == "logsumexp")
    return spread(call, context, [](vf x, vf y, vf) { return select(y == -infinity, vf{}, exp(x - y)); });
  spread(call, context, [](vf x, vf y, vf ties) { return select(isNan(y), y, select(x == y, 1.0f / ties, vf{})); });
}

}  // namespace birkhoff::BIRKHOFF_ISA
