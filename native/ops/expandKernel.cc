// Kernel expansion W[o, g, i, n] = sum over m of R[g, n, m] w[o, i, m], and its gradients: products whose operands and
// results stay in the layouts of src/ops/expandKernel/README.md; R as it is, as a product of two factors, or as
// positions.
#include <algorithm>
#include <vector>

#include "expandKernel-product.h"
#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

using namespace expansion;

struct Sizes {
  int64_t matrices, identity, elements, cin, kernels, d;

  Sizes(const Call& call, const Tensor& matrices, const Tensor& w)
      : matrices(matrices.shape[0]),
        identity(call.flag("identity")),
        elements(this->matrices + identity),
        cin(w.shape[1]),
        kernels(w.shape[0] * cin),
        d(kernels > 0 ? w.size / kernels : 0) {}

  // The layouts behind a group axis of p: rows (o, i, a), as if (i, a) were channels.
  Sizes behind(int64_t p) const {
    Sizes inner = *this;
    inner.cin *= p;
    inner.kernels *= p;
    inner.d /= p;
    return inner;
  }

  // Where canonical kernel `kernel` = o cin + i begins in W for a group element.
  int64_t expanded(int64_t kernel, int64_t element) const {
    return ((kernel / cin * elements + element) * cin + kernel % cin) * d;
  }
};

constexpr int wide = static_cast<int>(panelColumns);

// A panel of rows, or of columns of b, that lie where row(i) says.
template <int width, class Row>
void packRows(Row&& row, int64_t first, int64_t count, int64_t step, int64_t steps, float* to) {
  const float* rows[width];
  for (int64_t i = 0; i < count; i++) rows[i] = row(first + i) + step;
  turnRows<width>(rows, count, steps, to);
}

// A panel whose steps lie where at(l) says, `first` numbers further on.
template <int width, class Step>
void packSteps(Step&& at, int64_t first, int64_t count, int64_t step, int64_t steps, float* to) {
  for (int64_t l = 0; l < steps; l++) copyPadded<width>(at(step + l) + first, count, to + l * width);
}

// Row (kernel, a) of w, mixed along the group axis: to[m] = sum over b of factors[a, b] · w[kernel, b, m] for `count`
// numbers from `first` on.
void mix(const float* factors, const float* w, int64_t p, int64_t s, int64_t row, int64_t first, int64_t count,
         float* to) {
  const float *from = w + (row - row % p) * s + first, *weights = factors + row % p * p;
  for (int64_t m = 0; m < count; m += lanes) {
    const int64_t here = std::min<int64_t>(lanes, count - m);
    vf total{};
    for (int64_t b = 0; b < p; b++) total = fma(broadcast(weights[b]), loadPartial(from + b * s + m, here), total);
    storePartial(to + m, here, total);
  }
}

// What every element's share of the result does that is not a product: the identity copies, or adds up.
template <class Body>
void eachKernel(const Sizes& sizes, Context& context, Body&& body) {
  context.parallel(sizes.kernels, std::max<int64_t>(1, taskMoves / std::max<int64_t>(1, sizes.d)),
                   [&](int64_t begin, int64_t end, int) {
                     for (int64_t kernel = begin; kernel < end; kernel++) body(kernel);
                   });
}

void copyIdentity(const Sizes& sizes, Context& context, const float* w, float* out) {
  if (!sizes.identity) return;
  eachKernel(sizes, context,
             [&](int64_t kernel) { std::copy_n(w + kernel * sizes.d, sizes.d, out + sizes.expanded(kernel, 0)); });
}

}  // namespace

void expandKernelForward(const Call& call, Context& context) {
  const Sizes sizes(call, call.inputs[0], call.inputs[1]);
  const float *r = call.inputs[0].f32(), *w = call.inputs[1].f32();
  float* out = call.outputs[0].f32();
  const int64_t d = sizes.d;
  copyIdentity(sizes, context, w, out);
  product(
      {1, sizes.kernels, sizes.matrices * d, d}, context,
      [&](int64_t, auto... panel) { packRows<panelRows>([&](int64_t row) { return w + row * d; }, panel...); },
      [&](int64_t, auto... panel) { packRows<wide>([&](int64_t row) { return r + row * d; }, panel...); },
      [&](int64_t, int64_t row, int64_t first, int64_t count, const float* values) {
        for (int64_t at = first; at < first + count;) {
          const int64_t end = std::min(first + count, (at / d + 1) * d);
          std::copy_n(values + at - first, end - at, out + sizes.expanded(row, sizes.identity + at / d) + at % d);
          at = end;
        }
      });
}

void expandKernelBackwardWeight(const Call& call, Context& context) {
  const Sizes sizes(call, call.inputs[0], call.outputs[0]);
  const float *r = call.inputs[0].f32(), *gradient = call.inputs[1].f32();
  float* dw = call.outputs[0].f32();
  const int64_t d = sizes.d;
  product(
      {1, sizes.kernels, d, sizes.matrices * d}, context,
      [&](int64_t, int64_t first, int64_t count, int64_t step, int64_t steps, float* to) {
        // The depth goes through one element of the group after the other.
        for (int64_t at = step; at < step + steps;) {
          const int64_t element = at / d, end = std::min(step + steps, (element + 1) * d);
          packRows<panelRows>([&](int64_t row) { return gradient + sizes.expanded(row, sizes.identity + element); },
                              first, count, at - element * d, end - at, to + (at - step) * panelRows);
          at = end;
        }
      },
      [&](int64_t, auto... panel) { packSteps<wide>([&](int64_t l) { return r + l * d; }, panel...); },
      [&](int64_t, int64_t row, int64_t first, int64_t count, const float* values) {
        const float* own = gradient + sizes.expanded(row, 0) + first;
        for (int64_t i = 0; i < count; i++) dw[row * d + first + i] = values[i] + (sizes.identity ? own[i] : 0.0f);
      });
}

void expandKernelBackwardMatrices(const Call& call, Context& context) {
  const Sizes sizes(call, call.outputs[0], call.inputs[0]);
  const float *w = call.inputs[0].f32(), *gradient = call.inputs[1].f32();
  float* dr = call.outputs[0].f32();
  const int64_t d = call.outputs[0].shape[1];
  product(
      {sizes.matrices, d, d, sizes.kernels, true}, context,
      [&](int64_t matrix, auto... panel) {
        packSteps<panelRows>([&](int64_t kernel) { return gradient + sizes.expanded(kernel, sizes.identity + matrix); },
                             panel...);
      },
      [&](int64_t, auto... panel) { packSteps<wide>([&](int64_t kernel) { return w + kernel * d; }, panel...); },
      [&](int64_t matrix, int64_t row, int64_t first, int64_t count, const float* values) {
        std::copy_n(values, count, dr + (matrix * d + row) * d + first);
      });
}

void expandKernelFactorised(const Call& call, Context& context) {
  const Tensor &group = call.inputs[0], &space = call.inputs[1], &w = call.inputs[2];
  const Sizes outer(call, group, w);
  const int64_t p = group.shape[1], s = space.shape[1];
  const Sizes sizes = outer.behind(p);
  float* out = call.outputs[0].f32();
  copyIdentity(sizes, context, w.f32(), out);
  product(
      {sizes.matrices, sizes.kernels, s, s}, context,
      [&](int64_t matrix, int64_t first, int64_t count, int64_t step, int64_t steps, float* to) {
        float mixed[panelRows * blockSteps];
        const float* rows[panelRows];
        for (int64_t i = 0; i < count; i++) {
          rows[i] = mixed + i * blockSteps;
          mix(group.f32() + matrix * p * p, w.f32(), p, s, first + i, step, steps, mixed + i * blockSteps);
        }
        turnRows<panelRows>(rows, count, steps, to);
      },
      [&](int64_t matrix, auto... panel) {
        packRows<wide>([&](int64_t n) { return space.f32() + (matrix * s + n) * s; }, panel...);
      },
      [&](int64_t matrix, int64_t row, int64_t first, int64_t count, const float* values) {
        std::copy_n(values, count, out + sizes.expanded(row, sizes.identity + matrix) + first);
      });
}

void expandKernelBackwardFactorised(const Call& call, Context& context) {
  const Tensor &group = call.inputs[0], &space = call.inputs[1], &w = call.inputs[2];
  const Sizes outer(call, group, w);
  const int64_t p = group.shape[1], s = space.shape[1], matrices = outer.matrices;
  const Sizes sizes = outer.behind(p);
  const float* gradient = call.inputs[3].f32();
  float *dgroup = call.outputs[0].f32(), *dw = call.outputs[1].f32();
  // What arrives times the space factor serves both gradients.
  float* arrived = context.scratch(matrices * sizes.kernels * s);
  product(
      {matrices, sizes.kernels, s, s}, context,
      [&](int64_t matrix, auto... panel) {
        packRows<panelRows>([&](int64_t row) { return gradient + sizes.expanded(row, sizes.identity + matrix); },
                            panel...);
      },
      [&](int64_t matrix, auto... panel) {
        packSteps<wide>([&](int64_t n) { return space.f32() + (matrix * s + n) * s; }, panel...);
      },
      [&](int64_t matrix, int64_t row, int64_t first, int64_t count, const float* values) {
        std::copy_n(values, count, arrived + (matrix * sizes.kernels + row) * s + first);
      });
  eachKernel(sizes, context, [&](int64_t row) {
    for (int64_t m = 0; m < s; m += lanes) {
      const int64_t here = std::min<int64_t>(lanes, s - m);
      vf total = sizes.identity ? loadPartial(gradient + sizes.expanded(row, 0) + m, here) : vf{};
      for (int64_t matrix = 0; matrix < matrices; matrix++) {
        const float* from = arrived + (matrix * sizes.kernels + row - row % p) * s + m;
        for (int64_t a = 0; a < p; a++)
          total = fma(broadcast(group.f32()[(matrix * p + a) * p + row % p]), loadPartial(from + a * s, here), total);
      }
      storePartial(dw + row * s + m, here, total);
    }
  });
  // Four entries of a row of the group factor share what arrived.
  constexpr int64_t four = 4;
  const int64_t fours = parts(p, four);
  context.parallel(matrices * p * fours, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t row = task / fours, b = task % fours * four, last = std::min(four, p - b) - 1;
      const float* x = arrived + (row / p * sizes.kernels + row % p) * s;
      const float* y = w.f32() + b * s;
      vf totals[four] = {};
      for (int64_t kernel = 0; kernel < outer.kernels; kernel++, x += p * s, y += p * s) {
        for (int64_t m = 0; m < s; m += lanes) {
          const int64_t here = std::min<int64_t>(lanes, s - m);
          const vf own = loadPartial(x + m, here);
          for (int64_t i = 0; i < four; i++)
            totals[i] = fma(own, loadPartial(y + std::min(i, last) * s + m, here), totals[i]);
        }
      }
      for (int64_t i = 0; i <= last; i++) dgroup[row * p + b + i] = sum(totals[i]);
    }
  });
}

void expandKernelBackwardSpace(const Call& call, Context& context) {
  const Tensor &group = call.inputs[0], &w = call.inputs[1];
  const int64_t p = group.shape[1], s = call.outputs[0].shape[1];
  const Sizes sizes = Sizes(call, group, w).behind(p);
  const float* gradient = call.inputs[2].f32();
  float* dspace = call.outputs[0].f32();
  product(
      {sizes.matrices, s, s, sizes.kernels}, context,
      [&](int64_t matrix, auto... panel) {
        packSteps<panelRows>([&](int64_t row) { return gradient + sizes.expanded(row, sizes.identity + matrix); },
                             panel...);
      },
      [&](int64_t matrix, int64_t first, int64_t count, int64_t step, int64_t steps, float* to) {
        std::fill(to, to + steps * wide, 0.0f);
        for (int64_t l = 0; l < steps; l++)
          mix(group.f32() + matrix * p * p, w.f32(), p, s, step + l, first, count, to + l * wide);
      },
      [&](int64_t matrix, int64_t row, int64_t first, int64_t count, const float* values) {
        std::copy_n(values, count, dspace + (matrix * s + row) * s + first);
      });
}

void expandKernelGather(const Call& call, Context& context) {
  const Tensor &index = call.inputs[0], &w = call.inputs[1];
  const Sizes sizes(call, index, w);
  const int64_t d = sizes.d;
  const uint32_t* picks = index.u32();
  float* out = call.outputs[0].f32();
  for (int64_t i = 0; i < index.size; i++) {
    if (picks[i] >= d) context.fault(index.dtype == DType::int32 ? static_cast<int32_t>(picks[i]) : double(picks[i]));
  }
  copyIdentity(sizes, context, w.f32(), out);
  eachKernel(sizes, context, [&](int64_t kernel) {
    const float* from = w.f32() + kernel * d;
    for (int64_t matrix = 0; matrix < sizes.matrices; matrix++) {
      float* to = out + sizes.expanded(kernel, sizes.identity + matrix);
      for (int64_t n = 0; n < d; n++) {
        const uint32_t picked = picks[matrix * d + n];
        to[n] = picked < d ? from[picked] : 0.0f;
      }
    }
  });
}

void expandKernelScatter(const Call& call, Context& context) {
  const Tensor &index = call.inputs[0], &dw = call.outputs[0];
  const Sizes sizes(call, index, dw);
  const int64_t d = sizes.d;
  const uint32_t* picks = index.u32();
  const float* gradient = call.inputs[1].f32();
  eachKernel(sizes, context, [&](int64_t kernel) {
    float* to = dw.f32() + kernel * d;
    const float* own = gradient + sizes.expanded(kernel, 0);
    if (sizes.identity) {
      std::copy_n(own, d, to);
    } else {
      std::fill(to, to + d, 0.0f);
    }
    for (int64_t matrix = 0; matrix < sizes.matrices; matrix++) {
      const float* from = gradient + sizes.expanded(kernel, sizes.identity + matrix);
      for (int64_t n = 0; n < d; n++) {
        const uint32_t picked = picks[matrix * d + n];
        if (picked < d) to[picked] += from[n];
      }
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
