// Layer, instance and batch normalisation, forward and backward.
//
// A group is cut into blocks of blockTerms elements by its shape alone, so results do not depend on the number of
// threads. With inner = 1 a group is a column, and columns are taken `lanes` at a time.
#include "norm.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// f(offset, column, n) for the rows of columns [begin, end) in the order of memory; `flush` after every so many rows,
// so that long sums are sums of sums.
template <class F, class Flush>
void eachRow(const View& view, int64_t begin, int64_t end, F&& f, Flush&& flush) {
  constexpr int64_t rowsPerSum = 256;
  for (int64_t a = 0; a < view.outer; a++) {
    vectors(begin, end, [&](int64_t c, int64_t n) { f(a * view.groups + c, c, n); });
    if ((a + 1) % rowsPerSum == 0 || a + 1 == view.outer) flush();
  }
}

// total += part; part = 0.
void carry(float* part, float* total, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c++) {
    total[c] += part[c];
    part[c] = 0.0f;
  }
}

int64_t columnGrain(const View& view) { return std::max<int64_t>(4 * lanes, grain / view.outer); }

void forwardColumns(const View& view, Context& context, const float* x, float* y, Statistics out, const float* weight,
                    const float* bias, float eps) {
  const float count = static_cast<float>(view.outer);
  // The mean relative to the first row.
  float *mean = context.scratch(view.groups), *part = context.scratch(view.groups);
  context.parallel(view.groups, columnGrain(view), [&](int64_t begin, int64_t end, int) {
    for (float* sums : {part, mean, out.variance}) std::fill(sums + begin, sums + end, 0.0f);
    const auto addDifference = [&](int64_t at, int64_t c, int64_t n) {
      put(part + c, n, take(part + c, n) + (take(x + at, n) - take(x + c, n)));
    };
    eachRow(view, begin, end, addDifference, [&] { carry(part, mean, begin, end); });
    for (int64_t c = begin; c < end; c++) mean[c] /= count;
    const auto addSquare = [&](int64_t at, int64_t c, int64_t n) {
      const vf d = take(x + at, n) - take(x + c, n) - take(mean + c, n);
      put(part + c, n, fma(d, d, take(part + c, n)));
    };
    eachRow(view, begin, end, addSquare, [&] { carry(part, out.variance, begin, end); });
    for (int64_t c = begin; c < end; c++) {
      out.variance[c] /= count;
      out.mean[c] = x[c] + mean[c];
      part[c] = rstdOf(out.variance[c], eps);
    }
    const auto write = [&](int64_t at, int64_t c, int64_t n) {
      vf value = (take(x + at, n) - take(x + c, n) - take(mean + c, n)) * take(part + c, n);
      if (weight) value *= take(weight + c, n);
      if (bias) value += take(bias + c, n);
      put(y + at, n, value);
    };
    eachRow(view, begin, end, write, [] {});
  });
}

}  // namespace

void normForward(const Call& call, Context& context) {
  const View view = viewOf(call);
  const float eps = static_cast<float>(call.scalar("eps"));
  const bool hasWeight = call.flag("weight");
  const float* x = call.inputs[0].f32();
  const float* weight = hasWeight ? call.inputs[1].f32() : nullptr;
  const float* bias = call.flag("bias") ? call.inputs[hasWeight ? 2 : 1].f32() : nullptr;
  float* y = call.outputs[0].f32();
  const Statistics out{call.outputs[1].f32(), call.outputs[2].f32()};
  if (view.columns()) return forwardColumns(view, context, x, y, out, weight, bias, eps);
  const auto store = [&](int64_t group, float origin, const Moments& all) {
    out.mean[group] = static_cast<float>(origin + all.mean);
    out.variance[group] = static_cast<float>(all.squares / std::max(1.0, all.count));
  };
  const auto write = [&](int64_t group, int64_t block, float mean) {
    normalize(view, x, y, group, view.begin(block), view.begin(block + 1), originOf(view, x, group), mean,
              rstdOf(out.variance[group], eps), affineOf(view, weight, bias, group));
  };
  if (view.blocks() == 1) {
    return eachBlock(view, context, [&](int64_t group, int64_t) {
      const float origin = originOf(view, x, group);
      const Moments all = momentsOf(view, x, origin, group, 0, view.terms());
      store(group, origin, all);
      write(group, 0, static_cast<float>(all.mean));
    });
  }
  const int64_t blocks = view.blocks();
  Moments* partial = reinterpret_cast<Moments*>(
      context.scratch(view.groups * blocks * static_cast<int64_t>(sizeof(Moments) / sizeof(float))));
  eachBlock(view, context, [&](int64_t group, int64_t block) {
    partial[group * blocks + block] =
        momentsOf(view, x, originOf(view, x, group), group, view.begin(block), view.begin(block + 1));
  });
  for (int64_t group = 0; group < view.groups; group++) {
    Moments& all = partial[group * blocks];
    for (int64_t block = 1; block < blocks; block++) all.merge(partial[group * blocks + block]);
    store(group, originOf(view, x, group), all);
  }
  eachBlock(view, context, [&](int64_t group, int64_t block) {
    write(group, block, static_cast<float>(partial[group * blocks].mean));
  });
}

void normFixed(const Call& call, Context& context) {
  const View view = viewOf(call);
  const float eps = static_cast<float>(call.scalar("eps"));
  const bool hasWeight = call.flag("weight");
  const float *x = call.inputs[0].f32(), *mean = call.inputs[1].f32(), *variance = call.inputs[2].f32();
  const float* weight = hasWeight ? call.inputs[3].f32() : nullptr;
  const float* bias = call.flag("bias") ? call.inputs[hasWeight ? 4 : 3].f32() : nullptr;
  float* y = call.outputs[0].f32();
  if (view.columns() && !view.byElement) {
    context.parallel(view.outer, pieces(view.groups), [&](int64_t begin, int64_t end, int) {
      for (int64_t a = begin; a < end; a++) {
        vectors(0, view.groups, [&](int64_t c, int64_t n) {
          const int64_t at = a * view.groups + c;
          vf value = (take(x + at, n) - take(mean + c, n)) / sqrt(take(variance + c, n) + eps);
          if (weight) value *= take(weight + c, n);
          if (bias) value += take(bias + c, n);
          put(y + at, n, value);
        });
      }
    });
    return;
  }
  eachBlock(view, context, [&](int64_t group, int64_t block) {
    normalize(view, x, y, group, view.begin(block), view.begin(block + 1), 0.0f, mean[group],
              rstdOf(variance[group], eps), affineOf(view, weight, bias, group));
  });
}

namespace {

struct Sums {
  double h = 0, product = 0;
};

struct BackwardInputs {
  const float *g, *x, *mean, *variance, *weight;
  float eps;
};

// Sums of h = g · weight and of h · scaled over a range of one group.
Sums sumsOf(const View& view, const BackwardInputs& in, int64_t group, int64_t statistics, int64_t k0, int64_t k1,
            const Affine& affine) {
  const float mean = in.mean[statistics], rstd = rstdOf(in.variance[statistics], in.eps);
  vf total{}, product{};
  runs(view, group, k0, k1, [&](int64_t at, int64_t length, int64_t k) {
    vectors(0, length, [&](int64_t i, int64_t n) {
      const vf h = take(in.g + at + i, n) * affine.scale(k + i, n);
      total += h;
      product = fma(h, take(in.x + at + i, n) - mean, product);
    });
  });
  return {sum(total), sum(product) * rstd};
}

void backwardColumns(const View& view, Context& context, const BackwardInputs& in, float* dx) {
  float *parts[2], *totals[2];
  for (int i = 0; i < 2; i++) {
    parts[i] = context.scratch(view.groups);
    totals[i] = context.scratch(view.groups);
  }
  float* rstd = context.scratch(view.groups);
  context.parallel(view.groups, columnGrain(view), [&](int64_t begin, int64_t end, int) {
    for (float* sums : {parts[0], parts[1], totals[0], totals[1]}) std::fill(sums + begin, sums + end, 0.0f);
    for (int64_t c = begin; c < end; c++) rstd[c] = rstdOf(in.variance[c], in.eps);
    const auto weighted = [&](int64_t at, int64_t c, int64_t n) {
      return in.weight ? take(in.g + at, n) * take(in.weight + c, n) : take(in.g + at, n);
    };
    const auto scaled = [&](int64_t at, int64_t c, int64_t n) {
      return (take(in.x + at, n) - take(in.mean + c, n)) * take(rstd + c, n);
    };
    const auto add = [&](int64_t at, int64_t c, int64_t n) {
      const vf h = weighted(at, c, n);
      put(parts[0] + c, n, take(parts[0] + c, n) + h);
      put(parts[1] + c, n, fma(h, scaled(at, c, n), take(parts[1] + c, n)));
    };
    eachRow(view, begin, end, add, [&] {
      for (int i = 0; i < 2; i++) carry(parts[i], totals[i], begin, end);
    });
    const float average = 1.0f / static_cast<float>(view.outer);
    const auto write = [&](int64_t at, int64_t c, int64_t n) {
      put(dx + at, n,
          take(rstd + c, n) * (weighted(at, c, n) - take(totals[0] + c, n) * average -
                               scaled(at, c, n) * take(totals[1] + c, n) * average));
    };
    eachRow(view, begin, end, write, [] {});
  });
}

}  // namespace

void normBackward(const Call& call, Context& context) {
  const View view = viewOf(call);
  const bool fixed = call.flag("fixed");
  const BackwardInputs in{call.inputs[0].f32(),
                          call.inputs[1].f32(),
                          call.inputs[2].f32(),
                          call.inputs[3].f32(),
                          call.flag("weight") ? call.inputs[4].f32() : nullptr,
                          static_cast<float>(call.scalar("eps"))};
  float* dx = call.outputs[0].f32();
  if (view.columns() && !fixed) return backwardColumns(view, context, in, dx);
  const int64_t blocks = view.blocks();
  const auto sums = [&](int64_t group, int64_t block) {
    return sumsOf(view, in, group, group, view.begin(block), view.begin(block + 1),
                  affineOf(view, in.weight, nullptr, group));
  };
  const auto write = [&](int64_t group, int64_t block, const Sums& all) {
    const Affine affine = affineOf(view, in.weight, nullptr, group);
    const float mean = in.mean[group], rstd = rstdOf(in.variance[group], in.eps);
    const double terms = static_cast<double>(std::max<int64_t>(1, view.terms()));
    const float h = static_cast<float>(all.h / terms), product = static_cast<float>(all.product / terms) * rstd;
    runs(view, group, view.begin(block), view.begin(block + 1), [&](int64_t at, int64_t length, int64_t k) {
      vectors(0, length, [&](int64_t i, int64_t n) {
        const vf own = take(in.g + at + i, n) * affine.scale(k + i, n);
        const vf away = take(in.x + at + i, n) - mean;
        put(dx + at + i, n, rstd * (own - h - away * product));
      });
    });
  };
  if (fixed) return eachBlock(view, context, [&](int64_t group, int64_t block) { write(group, block, {}); });
  if (blocks == 1) return eachBlock(view, context, [&](int64_t group, int64_t) { write(group, 0, sums(group, 0)); });
  Sums* partial = reinterpret_cast<Sums*>(
      context.scratch(view.groups * blocks * static_cast<int64_t>(sizeof(Sums) / sizeof(float))));
  eachBlock(view, context, [&](int64_t group, int64_t block) { partial[group * blocks + block] = sums(group, block); });
  for (int64_t group = 0; group < view.groups; group++) {
    for (int64_t block = 1; block < blocks; block++) {
      partial[group * blocks].h += partial[group * blocks + block].h;
      partial[group * blocks].product += partial[group * blocks + block].product;
    }
  }
  eachBlock(view, context, [&](int64_t group, int64_t block) { write(group, block, partial[group * blocks]); });
}

namespace {

// Sums down the columns of g [rows, columns], with statistics per row or per column. Blocks of rows are summed apart
// and then in order.
void columnSums(Context& context, const BackwardInputs& in, int64_t rows, int64_t columns, bool statisticsPerRow,
                float* dweight, float* dbias) {
  const int64_t rowsPerBlock = std::max<int64_t>(1, 4 * blockTerms / columns);
  const int64_t blocks = std::max<int64_t>(1, (rows + rowsPerBlock - 1) / rowsPerBlock);
  float* partial = context.scratch(2 * blocks * columns);
  context.parallel(blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; block++) {
      float *weights = partial + 2 * block * columns, *biases = weights + columns;
      std::fill(weights, weights + 2 * columns, 0.0f);
      for (int64_t a = block * rowsPerBlock; a < std::min(rows, (block + 1) * rowsPerBlock); a++) {
        const float *g = in.g + a * columns, *x = in.x + a * columns;
        const float mean = statisticsPerRow ? in.mean[a] : 0.0f,
                    rstd = statisticsPerRow ? rstdOf(in.variance[a], in.eps) : 1.0f;
        vectors(0, columns, [&](int64_t c, int64_t n) {
          const vf cotangent = take(g + c, n);
          const vf center = statisticsPerRow ? broadcast(mean) : take(in.mean + c, n);
          put(weights + c, n, fma(cotangent, (take(x + c, n) - center) * rstd, take(weights + c, n)));
          put(biases + c, n, take(biases + c, n) + cotangent);
        });
      }
    }
  });
  for (int64_t c = 0; c < columns; c++) {
    double weight = 0, bias = 0;
    for (int64_t block = 0; block < blocks; block++) {
      weight += partial[2 * block * columns + c];
      bias += partial[(2 * block + 1) * columns + c];
    }
    dweight[c] = static_cast<float>(statisticsPerRow ? weight : weight * rstdOf(in.variance[c], in.eps));
    dbias[c] = static_cast<float>(bias);
  }
}

}  // namespace

void normParameters(const Call& call, Context& context) {
  const View view = viewOf(call);
  const BackwardInputs in{call.inputs[0].f32(),
                          call.inputs[1].f32(),
                          call.inputs[2].f32(),
                          call.inputs[3].f32(),
                          nullptr,
                          static_cast<float>(call.scalar("eps"))};
  float *dweight = call.outputs[0].f32(), *dbias = call.outputs[1].f32();
  if (view.byElement) return columnSums(context, in, view.groups, view.inner, true, dweight, dbias);
  if (view.columns()) return columnSums(context, in, view.outer, view.groups, false, dweight, dbias);
  // Every group's sums first, then those of a channel in order.
  const int64_t blocks = view.blocks();
  Sums* partial = reinterpret_cast<Sums*>(
      context.scratch(view.groups * blocks * static_cast<int64_t>(sizeof(Sums) / sizeof(float)) + 1));
  eachBlock(view, context, [&](int64_t group, int64_t block) {
    partial[group * blocks + block] =
        sumsOf(view, in, group, group, view.begin(block), view.begin(block + 1), Affine{nullptr, nullptr, false});
  });
  for (int64_t channel = 0; channel < view.channels; channel++) {
    Sums all;
    for (int64_t group = channel; group < view.groups; group += view.channels) {
      for (int64_t block = 0; block < blocks; block++) {
        all.h += partial[group * blocks + block].h;
        all.product += partial[group * blocks + block].product;
      }
    }
    dweight[channel] = static_cast<float>(all.product);
    dbias[channel] = static_cast<float>(all.h);
  }
}

void normTrack(const Call& call, Context&) {
  const float momentum = static_cast<float>(call.scalar("momentum"));
  const double terms = call.number("terms");
  const float unbiased = static_cast<float>(terms / (terms - 1));
  float *runningMean = call.inputs[0].f32(), *runningVariance = call.inputs[1].f32();
  const float *mean = call.inputs[2].f32(), *variance = call.inputs[3].f32();
  vectors(0, call.inputs[0].size, [&](int64_t i, int64_t n) {
    const vf m = take(runningMean + i, n), v = take(runningVariance + i, n);
    put(runningMean + i, n, m + momentum * (take(mean + i, n) - m));
    put(runningVariance + i, n, v + momentum * (unbiased * take(variance + i, n) - v));
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
