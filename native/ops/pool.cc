// Windows over planes. A work item is a plane: forward writes its results, backward adds to its pixels in scan order.
#include <algorithm>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// A plane below this many operations is not worth a thread of its own.
constexpr int64_t grainWork = 16384;

struct Windows {
  int64_t planes, height, width, rows, columns;
  int64_t kernelHeight, kernelWidth, strideY, strideX, paddingY, paddingX;

  Windows(const Call& call, const Tensor& large, const Tensor& small)
      : planes(large.shape[0] * large.shape[1]),
        height(large.shape[2]),
        width(large.shape[3]),
        rows(small.shape[2]),
        columns(small.shape[3]) {
    const auto &kernel = call.integers("kernel"), &stride = call.integers("stride"),
               &padding = call.integers("padding");
    kernelHeight = kernel[0], kernelWidth = kernel[1];
    strideY = stride[0], strideX = stride[1];
    paddingY = padding[0], paddingX = padding[1];
  }

  int64_t grain() const {
    return std::max<int64_t>(1, grainWork / std::max<int64_t>(1, rows * columns * kernelHeight * kernelWidth));
  }
  int64_t firstRow(int64_t i) const { return std::max<int64_t>(0, i * strideY - paddingY); }
  int64_t endRow(int64_t i) const { return std::min(height, i * strideY - paddingY + kernelHeight); }
  int64_t firstColumn(int64_t j) const { return std::max<int64_t>(0, j * strideX - paddingX); }
  int64_t endColumn(int64_t j) const { return std::min(width, j * strideX - paddingX + kernelWidth); }
  // Windows first to end - 1 of a row lie inside of the plane's width.
  int64_t firstInside() const { return std::min(columns, (paddingX + strideX - 1) / strideX); }
  int64_t endInside() const {
    return std::max(firstInside(), std::min(columns, (width + paddingX - kernelWidth) / strideX + 1));
  }
};

// Lane i reads p[i·stride].
BIRKHOFF_INLINE vf loadStrided(const float* p, int64_t stride) {
  if (stride == 1) return load(p);
  float values[lanes];
  for (int64_t i = 0; i < lanes; i++) values[i] = p[i * stride];
  return load(values);
}

// Calls vector(j) for `lanes` windows of a row from j on, all inside of the plane, and scalar(j) for the others.
template <class V, class S>
void alongRow(const Windows& w, V&& vector, S&& scalar) {
  int64_t j = 0;
  for (; j < w.firstInside(); j++) scalar(j);
  for (; j + lanes <= w.endInside(); j += lanes) vector(j);
  for (; j < w.columns; j++) scalar(j);
}

}  // namespace

void poolMax(const Call& call, Context& context) {
  const Windows w(call, call.inputs[0], call.outputs[0]);
  const int64_t area = w.rows * w.columns;
  vi lane;
  for (int i = 0; i < lanes; i++) lane[i] = i;
  context.parallel(w.planes, w.grain(), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float* x = call.inputs[0].f32() + plane * w.height * w.width;
      for (int64_t i = 0; i < w.rows; i++) {
        float* y = call.outputs[0].f32() + plane * area + i * w.columns;
        int32_t* indices = call.outputs[1].i32() + plane * area + i * w.columns;
        const int64_t top = w.firstRow(i), bottom = w.endRow(i);
        const auto vector = [&](int64_t j) {
          const int64_t left = j * w.strideX - w.paddingX;
          vf best = broadcast(-infinity);
          vi at = lane * static_cast<int32_t>(w.strideX) + static_cast<int32_t>(top * w.width + left);
          for (int64_t row = top; row < bottom; row++) {
            for (int64_t v = 0; v < w.kernelWidth; v++) {
              const vf value = loadStrided(x + row * w.width + left + v, w.strideX);
              const vi better = (value > best) | isNan(value);
              best = select(better, value, best);
              at = select(better,
                          lane * static_cast<int32_t>(w.strideX) + static_cast<int32_t>(row * w.width + left + v), at);
            }
          }
          store(y + j, best);
          store(indices + j, at);
        };
        const auto scalar = [&](int64_t j) {
          const int64_t left = w.firstColumn(j), right = w.endColumn(j);
          float best = -infinity;
          int64_t at = top * w.width + left;
          for (int64_t row = top; row < bottom; row++) {
            for (int64_t column = left; column < right; column++) {
              const float value = x[row * w.width + column];
              if (value > best || value != value) {
                best = value;
                at = row * w.width + column;
              }
            }
          }
          y[j] = best;
          indices[j] = static_cast<int32_t>(at);
        };
        alongRow(w, vector, scalar);
      }
    }
  });
}

void poolMaxBackward(const Call& call, Context& context) {
  const Windows w(call, call.outputs[0], call.inputs[0]);
  const int64_t area = w.rows * w.columns, pixels = w.height * w.width;
  context.parallel(w.planes, w.grain(), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float* dy = call.inputs[0].f32() + plane * area;
      const int32_t* indices = call.inputs[1].i32() + plane * area;
      float* dx = call.outputs[0].f32() + plane * pixels;
      std::fill(dx, dx + pixels, 0.0f);
      for (int64_t i = 0; i < area; i++) {
        if (indices[i] >= 0 && indices[i] < pixels) dx[indices[i]] += dy[i];
      }
    }
  });
}

void poolAverage(const Call& call, Context& context) {
  const Windows w(call, call.inputs[0], call.outputs[0]);
  const float count = static_cast<float>(w.kernelHeight * w.kernelWidth);
  context.parallel(w.planes, w.grain(), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float* x = call.inputs[0].f32() + plane * w.height * w.width;
      for (int64_t i = 0; i < w.rows; i++) {
        float* y = call.outputs[0].f32() + (plane * w.rows + i) * w.columns;
        const auto vector = [&](int64_t j) {
          vf total{};
          for (int64_t row = w.firstRow(i); row < w.endRow(i); row++) {
            for (int64_t v = 0; v < w.kernelWidth; v++)
              total += loadStrided(x + row * w.width + j * w.strideX - w.paddingX + v, w.strideX);
          }
          store(y + j, total / count);
        };
        const auto scalar = [&](int64_t j) {
          float total = 0;
          for (int64_t row = w.firstRow(i); row < w.endRow(i); row++) {
            for (int64_t column = w.firstColumn(j); column < w.endColumn(j); column++)
              total += x[row * w.width + column];
          }
          y[j] = total / count;
        };
        alongRow(w, vector, scalar);
      }
    }
  });
}

void poolAverageBackward(const Call& call, Context& context) {
  const Windows w(call, call.outputs[0], call.inputs[0]);
  const float count = static_cast<float>(w.kernelHeight * w.kernelWidth);
  context.parallel(w.planes, w.grain(), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float* dy = call.inputs[0].f32() + plane * w.rows * w.columns;
      float* dx = call.outputs[0].f32() + plane * w.height * w.width;
      std::fill(dx, dx + w.height * w.width, 0.0f);
      for (int64_t i = 0; i < w.rows; i++) {
        for (int64_t j = 0; j < w.columns; j++) {
          const float share = dy[i * w.columns + j] / count;
          for (int64_t row = w.firstRow(i); row < w.endRow(i); row++) {
            for (int64_t column = w.firstColumn(j); column < w.endColumn(j); column++)
              dx[row * w.width + column] += share;
          }
        }
      }
    }
  });
}

void poolGlobalAverage(const Call& call, Context& context) {
  const Tensor& x = call.inputs[0];
  const int64_t planes = x.shape[0] * x.shape[1], area = x.shape[2] * x.shape[3];
  context.parallel(planes, std::max<int64_t>(1, grainWork / area), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float* from = x.f32() + plane * area;
      vf total{};
      for (int64_t i = 0; i < area; i += lanes) total += loadPartial(from + i, std::min<int64_t>(lanes, area - i));
      call.outputs[0].f32()[plane] = sum(total) / static_cast<float>(area);
    }
  });
}

void poolGlobalAverageBackward(const Call& call, Context& context) {
  const Tensor& dx = call.outputs[0];
  const int64_t planes = dx.shape[0] * dx.shape[1], area = dx.shape[2] * dx.shape[3];
  context.parallel(planes, std::max<int64_t>(1, grainWork / area), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t plane = begin; plane < end; plane++) {
      const float value = call.inputs[0].f32()[plane] / static_cast<float>(area);
      std::fill(dx.f32() + plane * area, dx.f32() + (plane + 1) * area, value);
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
