// Kernel expansion W[o, g, i, n] = sum over m of R[g, n, m] w[o, i, m], and its gradients, as small matrix products
// whose operands and results stay in the layouts of src/ops/expandKernel/README.md.
#include <algorithm>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Rows of the result that share each vector of b, and vectors of columns computed at once.
constexpr int rowsAtOnce = 4;
constexpr int vectorsAtOnce = lanes == 16 ? 4 : 2;
// Multiplications per piece of work: about 20 µs.
constexpr int64_t grain = 1 << 19;

struct Sizes {
  int64_t matrices, identity, elements, cout, cin, d, side;

  Sizes(const Tensor& r, const Tensor& w, bool identity)
      : matrices(r.shape[0]),
        identity(identity),
        elements(matrices + identity),
        cout(w.shape[0]),
        cin(w.shape[1]),
        d(r.shape[1]),
        side((d + lanes - 1) / lanes * lanes) {}

  // Where canonical kernel `kernel` = o cin + i begins in W for a group element.
  int64_t expanded(int64_t kernel, int64_t element) const {
    return ((kernel / cin * elements + element) * cin + kernel % cin) * d;
  }
};

// Rows of d numbers into rows of `side`, the rest 0, so that a product reads whole vectors.
void pad(const float* from, int64_t count, const Sizes& sizes, float* to) {
  for (int64_t row = 0; row < count; row++) {
    std::copy(from + row * sizes.d, from + (row + 1) * sizes.d, to + row * sizes.side);
    std::fill(to + row * sizes.side + sizes.d, to + (row + 1) * sizes.side, 0.0f);
  }
}

using Sums = vf[rowsAtOnce][vectorsAtOnce];

// sums[r][v] += sum over k < depth of rows[r][k · step] · b[k][v]; b has rows of `side`.
template <int V>
BIRKHOFF_INLINE void multiply(const float* const (&rows)[rowsAtOnce], int64_t step, int64_t depth, const float* b,
                              int64_t side, Sums& sums) {
  vf local[rowsAtOnce][V];
  for (int r = 0; r < rowsAtOnce; r++) {
    for (int v = 0; v < V; v++) local[r][v] = sums[r][v];
  }
  for (int64_t k = 0; k < depth; k++) {
    vf factor[V];
    for (int v = 0; v < V; v++) factor[v] = load(b + k * side + v * lanes);
    for (int r = 0; r < rowsAtOnce; r++) {
      const vf weight = broadcast(rows[r][k * step]);
      for (int v = 0; v < V; v++) local[r][v] = fma(weight, factor[v], local[r][v]);
    }
  }
  for (int r = 0; r < rowsAtOnce; r++) {
    for (int v = 0; v < V; v++) sums[r][v] = local[r][v];
  }
}

void multiplyUpTo(int64_t vectors, const float* const (&rows)[rowsAtOnce], int64_t step, int64_t depth, const float* b,
                  int64_t side, Sums& sums) {
  switch (std::min<int64_t>(vectors, vectorsAtOnce)) {
    case 1:
      return multiply<1>(rows, step, depth, b, side, sums);
    case 2:
      return multiply<2>(rows, step, depth, b, side, sums);
    case 3:
      return multiply < vectorsAtOnce == 4 ? 3 : 1 > (rows, step, depth, b, side, sums);
    default:
      return multiply<vectorsAtOnce>(rows, step, depth, b, side, sums);
  }
}

// For each block of columns: body(first column, vectors left from there).
template <class F>
void eachColumns(const Sizes& sizes, F&& body) {
  for (int64_t column = 0; column < sizes.side; column += vectorsAtOnce * lanes)
    body(column, (sizes.side - column) / lanes);
}

// The part of a row of sums that lies within d columns.
void storeSums(const vf (&sums)[vectorsAtOnce], int64_t column, int64_t d, float* row) {
  for (int v = 0; v < vectorsAtOnce; v++) {
    const int64_t at = column + v * lanes, width = std::min<int64_t>(lanes, d - at);
    if (width > 0) storePartial(row + at, width, sums[v]);
  }
}

int64_t pieces(int64_t multiplicationsPerBlock) {
  return std::max<int64_t>(1, grain / std::max<int64_t>(1, multiplicationsPerBlock));
}

}  // namespace

void expandKernelForward(const Call& call, Context& context) {
  const Sizes sizes(call.inputs[0], call.inputs[1], call.flag("identity"));
  const float *r = call.inputs[0].f32(), *w = call.inputs[1].f32();
  float* out = call.outputs[0].f32();
  const int64_t d = sizes.d, side = sizes.side, kernels = sizes.cout * sizes.cin;
  // Each matrix transposed: its columns become rows, along which the vectors lie.
  float* turned = context.scratch(sizes.matrices * d * side);
  context.parallel(sizes.matrices * d, std::max<int64_t>(1, 32768 / side), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const float* matrix = r + row / d * d * d;
      for (int64_t n = 0; n < d; n++) turned[row * side + n] = matrix[n * d + row % d];
      std::fill(turned + row * side + d, turned + (row + 1) * side, 0.0f);
    }
  });
  const int64_t blocks = (kernels + rowsAtOnce - 1) / rowsAtOnce;
  context.parallel(blocks, pieces(rowsAtOnce * sizes.matrices * d * side), [&](int64_t begin, int64_t end, int) {
    for (int64_t first = begin * rowsAtOnce; first < std::min(end * rowsAtOnce, kernels); first += rowsAtOnce) {
      const int64_t count = std::min<int64_t>(rowsAtOnce, kernels - first);
      const float* rows[rowsAtOnce];
      for (int64_t k = 0; k < rowsAtOnce; k++) rows[k] = w + std::min(first + k, kernels - 1) * d;
      if (sizes.identity) {
        for (int64_t k = 0; k < count; k++) std::copy(rows[k], rows[k] + d, out + sizes.expanded(first + k, 0));
      }
      for (int64_t matrix = 0; matrix < sizes.matrices; matrix++) {
        eachColumns(sizes, [&](int64_t column, int64_t vectors) {
          Sums sums = {};
          multiplyUpTo(vectors, rows, 1, d, turned + matrix * d * side + column, side, sums);
          for (int64_t k = 0; k < count; k++)
            storeSums(sums[k], column, d, out + sizes.expanded(first + k, matrix + sizes.identity));
        });
      }
    }
  });
}

void expandKernelBackwardWeight(const Call& call, Context& context) {
  const Sizes sizes(call.inputs[0], call.outputs[0], call.flag("identity"));
  const float* gradient = call.inputs[1].f32();
  float* dw = call.outputs[0].f32();
  const int64_t d = sizes.d, side = sizes.side, kernels = sizes.cout * sizes.cin;
  const float* r = call.inputs[0].f32();
  if (side != d) {
    float* area = context.scratch(sizes.matrices * d * side);
    pad(r, sizes.matrices * d, sizes, area);
    r = area;
  }
  const int64_t blocks = (kernels + rowsAtOnce - 1) / rowsAtOnce;
  context.parallel(blocks, pieces(rowsAtOnce * sizes.matrices * d * side), [&](int64_t begin, int64_t end, int) {
    for (int64_t first = begin * rowsAtOnce; first < std::min(end * rowsAtOnce, kernels); first += rowsAtOnce) {
      const int64_t count = std::min<int64_t>(rowsAtOnce, kernels - first);
      eachColumns(sizes, [&](int64_t column, int64_t vectors) {
        Sums sums = {};
        if (sizes.identity) {
          for (int64_t k = 0; k < count; k++) {
            for (int v = 0; v < vectorsAtOnce; v++) {
              const int64_t at = column + v * lanes, width = std::min<int64_t>(lanes, d - at);
              if (width > 0) sums[k][v] = loadPartial(gradient + sizes.expanded(first + k, 0) + at, width);
            }
          }
        }
        for (int64_t matrix = 0; matrix < sizes.matrices; matrix++) {
          const float* rows[rowsAtOnce];
          for (int64_t k = 0; k < rowsAtOnce; k++)
            rows[k] = gradient + sizes.expanded(std::min(first + k, kernels - 1), matrix + sizes.identity);
          multiplyUpTo(vectors, rows, 1, d, r + matrix * d * side + column, side, sums);
        }
        for (int64_t k = 0; k < count; k++) storeSums(sums[k], column, d, dw + (first + k) * d);
      });
    }
  });
}

void expandKernelBackwardMatrices(const Call& call, Context& context) {
  const Sizes sizes(call.outputs[0], call.inputs[0], call.flag("identity"));
  const float* gradient = call.inputs[1].f32();
  float* dr = call.outputs[0].f32();
  const int64_t d = sizes.d, side = sizes.side, kernels = sizes.cout * sizes.cin;
  const float* w = call.inputs[0].f32();
  if (side != d && kernels > 0) {
    float* area = context.scratch(kernels * side);
    pad(w, kernels, sizes, area);
    w = area;
  }
  const int64_t perMatrix = (d + rowsAtOnce - 1) / rowsAtOnce;
  context.parallel(
      sizes.matrices * perMatrix, pieces(rowsAtOnce * kernels * side), [&](int64_t begin, int64_t end, int) {
        for (int64_t block = begin; block < end; block++) {
          const int64_t matrix = block / perMatrix, first = block % perMatrix * rowsAtOnce,
                        count = std::min<int64_t>(rowsAtOnce, d - first);
          eachColumns(sizes, [&](int64_t column, int64_t vectors) {
            Sums sums = {};
            // The kernels of one output channel are neighbours in both operands.
            for (int64_t o = 0; o < sizes.cout && sizes.cin > 0; o++) {
              const float* rows[rowsAtOnce];
              for (int64_t k = 0; k < rowsAtOnce; k++)
                rows[k] =
                    gradient + sizes.expanded(o * sizes.cin, matrix + sizes.identity) + std::min(first + k, d - 1);
              multiplyUpTo(vectors, rows, d, sizes.cin, w + o * sizes.cin * side + column, side, sums);
            }
            for (int64_t k = 0; k < count; k++) storeSums(sums[k], column, d, dr + (matrix * d + first + k) * d);
          });
        }
      });
}

}  // namespace birkhoff::BIRKHOFF_ISA
