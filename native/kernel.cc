#include "kernel.h"

#include <stdexcept>

#include "memory.h"

namespace birkhoff {

namespace {

template <class T>
const T& find(const Call& call, const char* name) {
  for (const auto& [key, value] : call.attrs) {
    if (key != name) continue;
    if (const T* found = std::get_if<T>(&value)) return *found;
    throw std::logic_error(std::string("attribute `") + name + "` has another type than the kernel expects");
  }
  throw std::logic_error(std::string("attribute `") + name + "` is missing");
}

}  // namespace

int64_t Call::integer(const char* attr) const { return static_cast<int64_t>(find<double>(*this, attr)); }
double Call::number(const char* attr) const { return find<double>(*this, attr); }
bool Call::flag(const char* attr) const { return find<bool>(*this, attr); }
const std::string& Call::text(const char* attr) const { return find<std::string>(*this, attr); }
const std::vector<int64_t>& Call::integers(const char* attr) const { return find<std::vector<int64_t>>(*this, attr); }

double Call::scalar(const char* name) const {
  for (size_t i = 0; i < scalarNames.size(); i++) {
    if (scalarNames[i] == name) return scalars[i];
  }
  throw std::logic_error(std::string("scalar `") + name + "` is missing");
}

float* Context::scratch(int64_t floats) {
  return static_cast<float*>(scratch_.take(static_cast<size_t>(floats) * sizeof(float)));
}

}  // namespace birkhoff
