// From calls to the sweep over result pixels and to the sums of weights; the bias gradient.
#include <algorithm>
#include <vector>

#include "conv2d-sweep.h"
#include "conv2d-weight.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {

namespace {

// The attributes that all three share.
struct Options {
  const std::vector<int64_t>&stride, &padding, &dilation;
  int64_t groups;

  explicit Options(const Call& call)
      : stride(call.integers("stride")),
        padding(call.integers("padding")),
        dilation(call.integers("dilation")),
        groups(call.integer("groups")) {}
};

}  // namespace

void conv2d(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &w = call.inputs[1], &y = call.outputs[0];
  const Options o(call);
  const int64_t channels = w.shape[1], features = w.shape[0] / o.groups, taps = w.shape[2] * w.shape[3];
  Sweep sweep{
      .batch = x.shape[0],
      .groups = o.groups,
      .sources = channels,
      .results = features,
      .sourceHeight = x.shape[2],
      .sourceWidth = x.shape[3],
      .resultHeight = y.shape[2],
      .resultWidth = y.shape[3],
      .kernelHeight = w.shape[2],
      .kernelWidth = w.shape[3],
      .rows = forwardAxis(x.shape[2], w.shape[2], y.shape[2], o.stride[0], o.padding[0], o.dilation[0]),
      .columns = forwardAxis(x.shape[3], w.shape[3], y.shape[3], o.stride[1], o.padding[1], o.dilation[1]),
      .channelStride = channels * taps,
      .sourceStride = taps,
      .groupStride = features * channels * taps,
      .source = x.f32(),
      .weights = w.f32(),
      .bias = call.inputs.size() > 2 ? call.inputs[2].f32() : nullptr,
      .result = y.f32(),
  };
  flatten(sweep);
  Sweeper(sweep, context).run();
}

void conv2dBackwardData(const Call& call, Context& context) {
  const Tensor &dy = call.inputs[0], &w = call.inputs[1], &dx = call.outputs[0];
  const Options o(call);
  const int64_t channels = w.shape[1], features = w.shape[0] / o.groups, taps = w.shape[2] * w.shape[3];
  Sweep sweep{
      .batch = dy.shape[0],
      .groups = o.groups,
      .sources = features,
      .results = channels,
      .sourceHeight = dy.shape[2],
      .sourceWidth = dy.shape[3],
      .resultHeight = dx.shape[2],
      .resultWidth = dx.shape[3],
      .kernelHeight = w.shape[2],
      .kernelWidth = w.shape[3],
      .rows = dataAxis(dx.shape[2], w.shape[2], dy.shape[2], o.stride[0], o.padding[0], o.dilation[0]),
      .columns = dataAxis(dx.shape[3], w.shape[3], dy.shape[3], o.stride[1], o.padding[1], o.dilation[1]),
      .channelStride = taps,
      .sourceStride = channels * taps,
      .groupStride = features * channels * taps,
      .source = dy.f32(),
      .weights = w.f32(),
      .bias = nullptr,
      .result = dx.f32(),
  };
  flatten(sweep);
  Sweeper(sweep, context).run();
}

void conv2dBackwardWeight(const Call& call, Context& context) {
  const Tensor &dy = call.inputs[0], &x = call.inputs[1], &dw = call.outputs[0];
  const Options o(call);
  const Sizes sizes{
      .batch = x.shape[0],
      .groups = o.groups,
      .channels = dw.shape[1],
      .features = dw.shape[0] / o.groups,
      .height = x.shape[2],
      .width = x.shape[3],
      .kernelHeight = dw.shape[2],
      .kernelWidth = dw.shape[3],
      .rows = dy.shape[2],
      .columns = dy.shape[3],
      .vertical = forwardAxis(x.shape[2], dw.shape[2], dy.shape[2], o.stride[0], o.padding[0], o.dilation[0]),
      .horizontal = forwardAxis(x.shape[3], dw.shape[3], dy.shape[3], o.stride[1], o.padding[1], o.dilation[1]),
      .strideX = o.stride[1],
      .dilationX = o.dilation[1],
      .paddingX = o.padding[1],
      .dy = dy.f32(),
      .x = x.f32(),
  };
  Weights(sizes, context).run(dw.f32());
}

void conv2dBackwardBias(const Call& call, Context& context) {
  const Tensor& dy = call.inputs[0];
  const int64_t batch = dy.shape[0], features = dy.shape[1], area = dy.shape[2] * dy.shape[3];
  float* db = call.outputs[0].f32();
  context.parallel(features, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, batch * area)),
                   [&](int64_t begin, int64_t end, int64_t) {
                     for (int64_t o = begin; o < end; o++) {
                       vf sums[4] = {};
                       for (int64_t n = 0; n < batch; n++) {
                         const float* plane = dy.f32() + (n * features + o) * area;
                         int64_t i = 0;
                         for (; i + 4 * lanes <= area; i += 4 * lanes) {
                           for (int k = 0; k < 4; k++) sums[k] += load(plane + i + k * lanes);
                         }
                         for (; i < area; i += lanes)
                           sums[0] += loadPartial(plane + i, std::min<int64_t>(lanes, area - i));
                       }
                       db[o] = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
                     }
                   });
}

}  // namespace birkhoff::BIRKHOFF_ISA
