// Layer, instance and batch normalisation, forward and backward.
//
// A group is cut into blocks of blockTerms elements by its shape alone, so results do not depend on the number of
// threads. With inner = 1 a group is a column, and columns are taken `lanes` at a time.
#include "norm.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

struct Sums {
  double h = 0, product = 0;
};

struct BackwardInputs {
  const float *g, *x, *mean, *variance, *weight;
  float eps;
};

// A group is a column of x [rows, columns]. Blocks of rows small enough for a cache are reduced apart, reading in the
// order of memory, and then put together in order.
struct Columns {
  int64_t rows, columns;

  int64_t rowsPerBlock() const { return std::clamp<int64_t>(4 * blockTerms / columns, 1, 512); }
  int64_t blocks() const { return std::max<int64_t>(1, (rows + rowsPerBlock() - 1) / rowsPerBlock()); }
  int64_t begin(int64_t block) const { return std::min(rows, block * rowsPerBlock()); }
  int64_t count(int64_t block) const { return begin(block + 1) - begin(block); }

  // body(block) for every block.
  template <class F>
  void eachBlock(Context& context, F&& body) const {
    context.parallel(blocks(), pieces(rowsPerBlock() * columns), [&](int64_t first, int64_t last, int) {
      for (int64_t block = first; block < last; block++) body(block);
    });
  }

  // body(c, n) for vectors of columns.
  template <class F>
  void eachColumn(Context& context, F&& body) const {
    context.parallel(columns, pieces(blocks()), [&](int64_t first, int64_t last, int) { vectors(first, last, body); });
  }

  // body(offset, c, n) for vectors of columns, over the rows [first, last).
  template <class F>
  [[gnu::always_inline]] void eachRow(int64_t first, int64_t last, F&& body) const {
    for (int64_t a = first; a < last; a++) {
      vectors(0, columns, [&](int64_t c, int64_t n) INLINED { body(a * columns + c, c, n); });
    }
  }

  template <class F>
  void eachElement(Context& context, F&& body) const {
    context.parallel(rows, pieces(columns), [&](int64_t first, int64_t last, int) { eachRow(first, last, body); });
  }
};

void forwardColumns(const View& view, Context& context, const float* x, float* y, Statistics out, const float* weight,
                    const float* bias, float eps) {
  const Columns shape{view.outer, view.groups};
  const int64_t columns = shape.columns;
  // Mean, relative to the first row, and squared deviations of each block.
  float* partial = context.scratch(2 * shape.blocks() * columns);
  shape.eachBlock(context, [&](int64_t block) {
    const int64_t first = shape.begin(block), last = shape.begin(block + 1);
    float *mean = partial + 2 * block * columns, *squares = mean + columns;
    std::fill(mean, mean + 2 * columns, 0.0f);
    shape.eachRow(first, last, [&](int64_t at, int64_t c, int64_t n) INLINED {
      put(mean + c, n, take(mean + c, n) + (take(x + at, n) - take(x + c, n)));
    });
    for (int64_t c = 0; c < columns; c++) mean[c] /= static_cast<float>(last - first);
    shape.eachRow(first, last, [&](int64_t at, int64_t c, int64_t n) INLINED {
      const vf d = take(x + at, n) - take(x + c, n) - take(mean + c, n);
      put(squares + c, n, fma(d, d, take(squares + c, n)));
    });
  });
  float *center = context.scratch(columns), *scale = context.scratch(columns);
  shape.eachColumn(context, [&](int64_t c, int64_t n) {
    vf mean = take(partial + c, n), squares = take(partial + columns + c, n);
    double count = static_cast<double>(shape.count(0));
    for (int64_t block = 1; block < shape.blocks(); block++) {
      const double own = static_cast<double>(shape.count(block)), share = own / (count + own);
      const float* other = partial + 2 * block * columns + c;
      const vf distance = take(other, n) - mean;
      mean += distance * static_cast<float>(share);
      squares += take(other + columns, n) + distance * distance * static_cast<float>(count * share);
      count += own;
    }
    const vf variance = squares / static_cast<float>(count);
    put(center + c, n, mean);
    put(scale + c, n, 1.0f / sqrt(variance + eps));
    put(out.mean + c, n, take(x + c, n) + mean);
    put(out.variance + c, n, variance);
  });
  shape.eachElement(context, [&](int64_t at, int64_t c, int64_t n) INLINED {
    vf value = (take(x + at, n) - take(x + c, n) - take(center + c, n)) * take(scale + c, n);
    if (weight) value *= take(weight + c, n);
    if (bias) value += take(bias + c, n);
    put(y + at, n, value);
  });
}

// dweight = Σ g · x̂ and dbias = Σ g down the columns, with statistics per row or per column.
void columnSums(const Columns& shape, Context& context, const BackwardInputs& in, bool statisticsPerRow, float* dweight,
                float* dbias) {
  const int64_t columns = shape.columns;
  float* partial = context.scratch(2 * shape.blocks() * columns);
  shape.eachBlock(context, [&](int64_t block) {
    float *weights = partial + 2 * block * columns, *biases = weights + columns;
    std::fill(weights, weights + 2 * columns, 0.0f);
    for (int64_t a = shape.begin(block); a < shape.begin(block + 1); a++) {
      const float mean = statisticsPerRow ? in.mean[a] : 0.0f;
      const float rstd = statisticsPerRow ? rstdOf(in.variance[a], in.eps) : 1.0f;
      shape.eachRow(a, a + 1, [&](int64_t at, int64_t c, int64_t n) INLINED {
        const vf cotangent = take(in.g + at, n);
        const vf center = statisticsPerRow ? broadcast(mean) : take(in.mean + c, n);
        put(weights + c, n, fma(cotangent, (take(in.x + at, n) - center) * rstd, take(weights + c, n)));
        put(biases + c, n, take(biases + c, n) + cotangent);
      });
    }
  });
  shape.eachColumn(context, [&](int64_t c, int64_t n) {
    vf weight{}, bias{};
    for (int64_t block = 0; block < shape.blocks(); block++) {
      weight += take(partial + 2 * block * columns + c, n);
      bias += take(partial + (2 * block + 1) * columns + c, n);
    }
    if (!statisticsPerRow) weight /= sqrt(take(in.variance + c, n) + in.eps);
    put(dweight + c, n, weight);
    put(dbias + c, n, bias);
  });
}

// The averages that dx needs are those of the parameters' gradients, times the weight.
void backwardColumns(const View& view, Context& context, const BackwardInputs& in, float* dx) {
  const Columns shape{view.outer, view.groups};
  float *products = context.scratch(shape.columns), *sums = context.scratch(shape.columns);
  float* factor = context.scratch(shape.columns);
  columnSums(shape, context, in, false, products, sums);
  const float average = 1.0f / static_cast<float>(shape.rows);
  vectors(0, shape.columns, [&](int64_t c, int64_t n) {
    const vf rstd = 1.0f / sqrt(take(in.variance + c, n) + in.eps);
    put(sums + c, n, take(sums + c, n) * average);
    put(products + c, n, take(products + c, n) * average * rstd);
    put(factor + c, n, in.weight ? rstd * take(in.weight + c, n) : rstd);
  });
  shape.eachElement(context, [&](int64_t at, int64_t c, int64_t n) INLINED {
    const vf away = take(in.x + at, n) - take(in.mean + c, n);
    put(dx + at, n, take(factor + c, n) * (take(in.g + at, n) - take(sums + c, n) - away * take(products + c, n)));
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
        vectors(0, view.groups, [&](int64_t c, int64_t n) INLINED {
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

// Sums of h = g · weight and of h · scaled over a range of one group.
Sums sumsOf(const View& view, const BackwardInputs& in, int64_t group, int64_t statistics, int64_t k0, int64_t k1,
            const Affine& affine) {
  const float mean = in.mean[statistics], rstd = rstdOf(in.variance[statistics], in.eps);
  vf total{}, product{};
  runs(view, group, k0, k1, [&](int64_t at, int64_t length, int64_t k) INLINED {
    vectors(0, length, [&](int64_t i, int64_t n) INLINED {
      const vf h = take(in.g + at + i, n) * affine.scale(k + i, n);
      total += h;
      product = fma(h, take(in.x + at + i, n) - mean, product);
    });
  });
  return {sum(total), sum(product) * rstd};
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
    runs(view, group, view.begin(block), view.begin(block + 1), [&](int64_t at, int64_t length, int64_t k) INLINED {
      vectors(0, length, [&](int64_t i, int64_t n) INLINED {
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

void normParameters(const Call& call, Context& context) {
  const View view = viewOf(call);
  const BackwardInputs in{call.inputs[0].f32(),
                          call.inputs[1].f32(),
                          call.inputs[2].f32(),
                          call.inputs[3].f32(),
                          nullptr,
                          static_cast<float>(call.scalar("eps"))};
  float *dweight = call.outputs[0].f32(), *dbias = call.outputs[1].f32();
  if (view.byElement) return columnSums({view.groups, view.inner}, context, in, true, dweight, dbias);
  if (view.columns()) return columnSums({view.outer, view.groups}, context, in, false, dweight, dbias);
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
  vectors(0, call.inputs[0].size, [&](int64_t i, int64_t n) INLINED {
    const vf m = take(runningMean + i, n), v = take(runningVariance + i, n);
    put(runningMean + i, n, m + momentum * (take(mean + i, n) - m));
    put(runningVariance + i, n, v + momentum * (unbiased * take(variance + i, n) - v));
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
