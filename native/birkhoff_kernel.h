/*
 * The C interface of a native kernel outside this package: what `customOp({ native: { library, symbol } })` loads.
 * Compile it as a shared library: c++ -O3 -shared -fPIC mine.cc -o mine.so
 *
 *   #include "birkhoff_kernel.h"
 *   extern "C" void scale(const birkhoff_call* call) { ... }
 *
 * The kernel runs on the device's queue thread, writes every element of every output, and keeps no pointer when it
 * returns.
 */
#ifndef BIRKHOFF_KERNEL_H
#define BIRKHOFF_KERNEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BIRKHOFF_FLOAT32 = 0, BIRKHOFF_INT32 = 1, BIRKHOFF_UINT32 = 2, BIRKHOFF_FLOAT16 = 3 };

/* Dense, row-major, 64-byte aligned. `data` may be null when `size` is 0. */
typedef struct {
  void* data;
  int32_t dtype;
  int32_t rank;
  const int64_t* shape;
  int64_t size; /* number of elements */
} birkhoff_tensor;

typedef struct birkhoff_call {
  const birkhoff_tensor* inputs;
  const birkhoff_tensor* outputs;
  const double* scalars; /* in the order of the op's `scalars` */
  int32_t input_count;
  int32_t output_count;
  int32_t scalar_count;
  /* A number or boolean among the op's attributes; NaN when there is none of that name. */
  double (*attribute)(const struct birkhoff_call* call, const char* name);
  /* Runs body(data, begin, end) over pieces of [0, count) of at least `grain` on all threads, and waits for them. */
  void (*parallel)(const struct birkhoff_call* call, int64_t count, int64_t grain,
                   void (*body)(void* data, int64_t begin, int64_t end), void* data);
  /* The data broke the op's precondition; `value` is what came. */
  void (*fault)(const struct birkhoff_call* call, double value);
} birkhoff_call;

typedef void (*birkhoff_kernel)(const birkhoff_call* call);

#ifdef __cplusplus
}
#endif

#endif
