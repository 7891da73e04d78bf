// From calls to the sweep over result pixels and to the sums of weights, or to patches or Winograd's tiles where they
// suit.
#include "conv-patches-data.h"
#include "conv-patches-weight.h"
#include "conv-patches.h"
#include "conv-sweep.h"
#include "conv-weight.h"
#include "conv-winograd-weight.h"
#include "conv-winograd.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {

static void run(const Geometry& geometry, const Sweep& sweep, const winograd::Reading& reading, Context& context) {
  if (winograd::suits<3>(geometry, sweep.result, sweep.rows, sweep.columns)) {
    winograd::Convolver<3>(sweep, reading, context).run();
  } else if (winograd::suits<5>(geometry, sweep.result, sweep.rows, sweep.columns)) {
    winograd::Convolver<5>(sweep, reading, context).run();
  } else {
    Sweeper(sweep, context).run();
  }
}

void conv(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &w = call.inputs[1], &y = call.outputs[0];
  const Geometry g(call, x, w, y);
  const float* bias = call.inputs.size() > 2 ? call.inputs[2].f32() : nullptr;
  if (patches::suits(g)) return patches::Forward(g, context).run(x.f32(), w.f32(), bias, y.f32());
  const int64_t taps = volume(g.kernel);
  const Sweep sweep{
      .batch = g.batch,
      .groups = g.groups,
      .sources = g.channels,
      .results = g.features,
      .source = g.size,
      .result = g.out,
      .kernel = g.kernel,
      .planes = forwardAxis(g, 0),
      .rows = forwardAxis(g, 1),
      .columns = forwardAxis(g, 2),
      .channelStride = g.channels * taps,
      .sourceStride = taps,
      .groupStride = g.features * g.channels * taps,
      .from = x.f32(),
      .weights = w.f32(),
      .bias = bias,
      .to = y.f32(),
      .items = itemsToShare(context, g),
  };
  run(g, sweep, {-g.start[1], -g.start[2], false}, context);
}

void convData(const Call& call, Context& context) {
  const Tensor &y = call.inputs[0], &w = call.inputs[1], &x = call.outputs[0];
  const Geometry g(call, x, w, y);
  const float* bias = call.inputs.size() > 2 ? call.inputs[2].f32() : nullptr;
  if (patches::suits(g)) return patches::Data(g, context).run(y.f32(), w.f32(), bias, x.f32());
  const int64_t taps = volume(g.kernel);
  const Sweep sweep{
      .batch = g.batch,
      .groups = g.groups,
      .sources = g.features,
      .results = g.channels,
      .source = g.out,
      .result = g.size,
      .kernel = g.kernel,
      .planes = dataAxis(g, 0),
      .rows = dataAxis(g, 1),
      .columns = dataAxis(g, 2),
      .channelStride = taps,
      .sourceStride = g.channels * taps,
      .groupStride = g.features * g.channels * taps,
      .from = y.f32(),
      .weights = w.f32(),
      .bias = bias,
      .to = x.f32(),
      .items = itemsToShare(context, g),
  };
  run(g, sweep, {g.start[1] + 1 - g.kernel[1], g.start[2] + 1 - g.kernel[2], true}, context);
}

void convWeight(const Call& call, Context& context) {
  const Tensor &y = call.inputs[0], &x = call.inputs[1], &w = call.outputs[0];
  const Geometry g(call, x, w, y);
  if (patches::suitsWeights(g)) return patches::Weights(g, context).run(y.f32(), x.f32(), w.f32());
  const Axis rows = forwardAxis(g, 1), columns = forwardAxis(g, 2);
  if (winograd::suits<3>(g, g.out, rows, columns)) {
    winograd::WeightGradient<3>(g, y.f32(), x.f32(), context).run(w.f32());
  } else if (winograd::suits<5>(g, g.out, rows, columns)) {
    winograd::WeightGradient<5>(g, y.f32(), x.f32(), context).run(w.f32());
  } else {
    Weights(g, y.f32(), x.f32(), context).run(w.f32());
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA
