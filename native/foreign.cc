#include "foreign.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "platform.h"

namespace birkhoff {

namespace {

// The C view of a call, and behind it what its functions need.
struct View : birkhoff_call {
  const Call* call;
  Context* context;
};

std::vector<birkhoff_tensor> tensorsOf(const std::vector<Tensor>& operands) {
  std::vector<birkhoff_tensor> result;
  for (const Tensor& tensor : operands) {
    result.push_back({tensor.data, static_cast<int32_t>(tensor.dtype), static_cast<int32_t>(tensor.shape.size()),
                      tensor.shape.data(), tensor.size});
  }
  return result;
}

double attribute(const birkhoff_call* view, const char* name) {
  for (const auto& [known, value] : static_cast<const View*>(view)->call->attrs) {
    if (known != name) continue;
    if (const double* number = std::get_if<double>(&value)) return *number;
    if (const bool* flag = std::get_if<bool>(&value)) return *flag;
  }
  return std::nan("");
}

void parallel(const birkhoff_call* view, int64_t count, int64_t grain, void (*body)(void*, int64_t, int64_t),
              void* data) {
  static_cast<const View*>(view)->context->parallel(count, grain,
                                                    [&](int64_t begin, int64_t end, int) { body(data, begin, end); });
}

void fault(const birkhoff_call* view, double value) { static_cast<const View*>(view)->context->fault(value); }

}  // namespace

birkhoff_kernel loadForeign(const std::string& library, const std::string& symbol) {
  return reinterpret_cast<birkhoff_kernel>(loadSymbol(library.c_str(), symbol.c_str()));
}

void runForeign(birkhoff_kernel kernel, const Call& call, Context& context) {
  const std::vector<birkhoff_tensor> inputs = tensorsOf(call.inputs), outputs = tensorsOf(call.outputs);
  View view{};
  view.inputs = inputs.data();
  view.outputs = outputs.data();
  view.scalars = call.scalars.data();
  view.input_count = static_cast<int32_t>(inputs.size());
  view.output_count = static_cast<int32_t>(outputs.size());
  view.scalar_count = static_cast<int32_t>(call.scalars.size());
  view.attribute = attribute;
  view.parallel = parallel;
  view.fault = fault;
  view.call = &call;
  view.context = &context;
  kernel(&view);
}

}  // namespace birkhoff
