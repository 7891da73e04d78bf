// Kernels from shared libraries of the user's own, behind the C interface of birkhoff_kernel.h.
#pragma once

#include <string>

#include "birkhoff_kernel.h"
#include "kernel.h"

namespace birkhoff {

// Loads the library and finds the symbol; the library stays loaded. Throws std::runtime_error with the linker's reason.
birkhoff_kernel loadForeign(const std::string& library, const std::string& symbol);

// Runs it on a call as any kernel.
void runForeign(birkhoff_kernel kernel, const Call& call, Context& context);

}  // namespace birkhoff
