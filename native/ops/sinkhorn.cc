// Sinkhorn normalisation, forward and backward: what a call asks for, and which way of running it is taken.
#include "sinkhorn.h"

#include "sinkhorn-general-backward.h"
#include "sinkhorn-general.h"
#include "sinkhorn-lanes.h"
#include "sinkhorn-rows.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace sinkhorn {

Run::Run(const Call& call, Context& context, const std::string& record) : context(&context) {
  const Tensor& matrix = call.inputs[0];
  const int64_t high = matrix.shape[matrix.shape.size() - 2], wide = matrix.shape.back();
  const bool columnsFirst = call.text("order") == "column";
  count = matrix.size / (high * wide);
  n = columnsFirst ? wide : high;
  m = columnsFirst ? high : wide;
  rowStep = columnsFirst ? 1 : wide;
  columnStep = columnsFirst ? wide : 1;
  iterations = call.integer("iterations");
  annealed = call.integer("annealed");
  const auto number = [&](const char* name) { return static_cast<float>(call.scalar(name)); };
  temperature = number("temperature");
  hot = number("hot");
  cooling = number("cooling");
  leakRows = number("leak_rows");
  leakColumns = number("leak_columns");
  start = rows() + n + m;
  history = start + m;
  stride = (n + m) * (call.flag("unbalanced") ? 2 : 1);
  size = record == "none" ? 0 : record == "head" ? start : history + iterations * stride;
}

Operand Run::operand(const Call& call, std::string_view name, int64_t firstInput, int64_t itemSize) const {
  std::string_view names = call.text("operands");
  for (int64_t input = firstInput; !names.empty(); input++) {
    const size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) {
      const Tensor& tensor = call.inputs[input];
      return {&tensor, tensor.size > itemSize ? itemSize : 0};
    }
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return {};
}

Forward::Forward(const Call& call, Context& context)
    : Run(call, context, call.text("record")),
      rowMasses(operand(call, "rows", 1, n)),
      columnMasses(operand(call, "columns", 1, m)),
      begin(operand(call, "start", 1, m)),
      mask(operand(call, "mask", 1, area())),
      sizes(operand(call, "sizes", 1, 2)),
      uniform(call.flag("uniform")),
      error(call.flag("error")),
      logarithmic(call.text("plan") == "logP"),
      checkEvery(call.integer("checkEvery")),
      tolerance(static_cast<float>(call.scalar("tolerance"))),
      logits(call.inputs[0].f32()),
      plan(call.text("plan") == "none" ? nullptr : call.outputs[0].f32()),
      record(size == 0 ? nullptr : call.outputs[1].f32()),
      withHistory(call.text("record") == "history") {}

std::pair<int64_t, int64_t> Forward::extent(int64_t b) const {
  if (!sizes) return {n, m};
  const int32_t* stated = sizes.i32(b);
  const auto within = [&](int64_t size, int64_t most) {
    if (size < 0 || size > most) context->fault(static_cast<double>(size));
    return std::clamp<int64_t>(size, 0, most);
  };
  return {within(stated[turned() ? 1 : 0], n), within(stated[turned() ? 0 : 1], m)};
}

void Forward::masses(int64_t b, float* rows, float* columns) const {
  const auto [high, wide] = extent(b);
  const auto fill = [&](float* to, int64_t length, int64_t inside, const Operand& given, float otherwise) {
    for (int64_t i = 0; i < length; i++) {
      const float mass = i >= inside ? 0.0f : given ? given.f32(b)[i] : otherwise;
      const bool broken = !(mass >= 0 && mass < infinity);
      if (broken) context->fault(mass);
      to[i] = broken ? 0.0f : mass;
    }
  };
  const float down = static_cast<float>(high), across = static_cast<float>(wide);
  fill(rows, n, high, rowMasses, uniform ? 1 / down : 1.0f);
  fill(columns, m, wide, columnMasses, uniform ? 1 / across : down / across);
}

void Forward::beginning(int64_t b, float* g) const {
  for (int64_t j = 0; j < m; j++) {
    const float value = begin ? begin.f32(b)[j] : 0.0f;
    const bool broken = !(std::abs(value) < infinity);
    if (broken) context->fault(value);
    g[j] = broken ? 0.0f : value;
  }
}

Backward::Backward(const Call& call, Context& context) : Run(call, context, call.text("record")) {
  const std::string& matrix = call.text("matrix");
  kind = matrix == "P" ? Matrix::plan : matrix == "logP" ? Matrix::logPlan : Matrix::logits;
  const auto data = [&](const char* name) {
    const Operand found = operand(call, name, 2, call.inputs[0].size);
    return found ? found.tensor->f32() : nullptr;
  };
  values = call.inputs[0].f32();
  record = call.inputs[1].f32();
  gradient = data("gradient");
  recordGradient = data("recordGradient");
  logits = kind == Matrix::logits ? values : data("logits");
  mask = operand(call, "mask", 2, area());
  plain = call.flag("plain") && kind == Matrix::plan && !turned() && gradient && !recordGradient && annealed == 0 &&
          !unbalanced();
  dx = call.outputs[0].f32();
  dvectors = call.flag("vectors") ? call.outputs[1].f32() : nullptr;
}

namespace {

// Up to this side a vector holds one number of each of `lanes` matrices, whatever the batch.
constexpr int64_t lanesSide = 32;

}  // namespace
}  // namespace sinkhorn

void sinkhornForward(const Call& call, Context& context) {
  const sinkhorn::Forward run(call, context);
  if (!run.plain()) return sinkhorn::forwardGeneral(run);
  run.n <= sinkhorn::lanesSide ? sinkhorn::forwardInLanes(run) : sinkhorn::forwardInRows(run);
}

void sinkhornBackward(const Call& call, Context& context) {
  const sinkhorn::Backward run(call, context);
  if (!run.plain) return sinkhorn::backwardGeneral(run);
  run.n <= sinkhorn::lanesSide ? sinkhorn::backwardInLanes(run) : sinkhorn::backwardInRows(run);
}

void sinkhornImplicit(const Call& call, Context& context) { sinkhorn::implicit(sinkhorn::Backward(call, context)); }

}  // namespace birkhoff::BIRKHOFF_ISA
