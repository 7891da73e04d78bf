// Elements change their place: strided copies, transposes, indexed reads and their gradients. The walks are those of
// src/ops/shape/reference.ts.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "kernel.h"
#include "simd.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

using Sizes = std::vector<int64_t>;

// Elements per piece of work.
constexpr int64_t grain = 1 << 14;

int64_t product(const Sizes& sizes) {
  int64_t result = 1;
  for (const int64_t size : sizes) result *= size;
  return result;
}

Sizes stridesOf(const Sizes& shape) {
  Sizes result(shape.size());
  int64_t step = 1;
  for (size_t axis = shape.size(); axis-- > 0; step *= shape[axis]) result[axis] = step;
  return result;
}

// A loop nest with strides into each operand; at least one axis.
template <int operands>
struct Walk {
  Sizes sizes;
  std::array<Sizes, operands> strides;
};

// Drops axes of size 1 and merges neighbours that every operand walks as one.
template <int operands>
Walk<operands> collapse(const Sizes& shape, const std::array<Sizes, operands>& steps) {
  Walk<operands> result;
  for (size_t axis = 0; axis < shape.size(); axis++) {
    if (shape[axis] == 1) continue;
    bool joins = !result.sizes.empty();
    for (int k = 0; k < operands && joins; k++) joins = result.strides[k].back() == steps[k][axis] * shape[axis];
    if (joins) {
      result.sizes.back() *= shape[axis];
      for (int k = 0; k < operands; k++) result.strides[k].back() = steps[k][axis];
    } else {
      result.sizes.push_back(shape[axis]);
      for (int k = 0; k < operands; k++) result.strides[k].push_back(steps[k][axis]);
    }
  }
  if (result.sizes.empty()) {
    result.sizes.push_back(1);
    for (int k = 0; k < operands; k++) result.strides[k].push_back(1);
  }
  return result;
}

// Calls body(offsets, length) for runs along the innermost axis of at most `run` elements, `perPiece` runs to a piece
// of work.
template <int operands, class Body>
void forRuns(Context& context, const Walk<operands>& walk, int64_t run, int64_t perPiece, Body body) {
  const size_t last = walk.sizes.size() - 1;
  const int64_t length = walk.sizes[last], chunks = (length + run - 1) / run;
  const int64_t rows = product(walk.sizes) / std::max<int64_t>(length, 1);
  context.parallel(rows * chunks, std::max<int64_t>(perPiece, 1), [&](int64_t begin, int64_t end, int) {
    Sizes index(last);
    std::array<int64_t, operands> row{};
    int64_t rest = begin / chunks;
    for (size_t axis = last; axis-- > 0; rest /= walk.sizes[axis]) {
      index[axis] = rest % walk.sizes[axis];
      for (int k = 0; k < operands; k++) row[k] += index[axis] * walk.strides[k][axis];
    }
    int64_t chunk = begin % chunks;
    for (int64_t i = begin; i < end; i++) {
      std::array<int64_t, operands> at = row;
      for (int k = 0; k < operands; k++) at[k] += chunk * run * walk.strides[k][last];
      body(at, std::min(run, length - chunk * run));
      if (++chunk < chunks) continue;
      chunk = 0;
      for (size_t axis = last; axis-- > 0;) {
        const bool wraps = ++index[axis] == walk.sizes[axis];
        for (int k = 0; k < operands; k++)
          row[k] += wraps ? -(walk.sizes[axis] - 1) * walk.strides[k][axis] : walk.strides[k][axis];
        if (!wraps) break;
        index[axis] = 0;
      }
    }
  });
}

template <int operands>
int64_t runsPerPiece(const Walk<operands>& walk) {
  return grain / std::clamp<int64_t>(walk.sizes.back(), 1, grain);
}

// Copies four-byte elements along a walk with strides into x and y.
void copy(Context& context, const uint32_t* x, uint32_t* y, const Walk<2>& walk) {
  const int64_t xStep = walk.strides[0].back(), yStep = walk.strides[1].back();
  forRuns(context, walk, grain, runsPerPiece(walk), [=](const std::array<int64_t, 2>& at, int64_t length) {
    const uint32_t* from = x + at[0];
    uint32_t* to = y + at[1];
    if (yStep == 1 && xStep == 1 && length >= 16) {
      std::memcpy(to, from, length * sizeof(uint32_t));
    } else if (yStep == 1 && xStep == 0) {
      std::fill(to, to + length, *from);
    } else {
      for (int64_t i = 0; i < length; i++) to[i * yStep] = from[i * xStep];
    }
  });
}

void clear(Context& context, const Tensor& y) {
  context.parallel(y.size, grain, [&](int64_t begin, int64_t end, int) {
    std::memset(y.u32() + begin, 0, (end - begin) * sizeof(uint32_t));
  });
}

// An axis that runs along memory in x becomes another than the one that runs along memory in y: squares turned over in
// registers. A task is a strip of x of some columns: wide enough that a page of x is used for several cache lines at a
// time, and narrow enough that the pages of y it writes stay known to the processor.
void transposed(Context& context, const float* x, float* y, const Walk<2>& walk, size_t column) {
  constexpr int64_t stripColumns = 128;
  const size_t row = walk.sizes.size() - 1;
  const int64_t rows = walk.sizes[row], columns = walk.sizes[column], xRow = walk.strides[0][row],
                yColumn = walk.strides[1][column];
  // The third operand counts columns, so that a strip knows how wide it is.
  Walk<3> strips{walk.sizes, {walk.strides[0], walk.strides[1], Sizes(walk.sizes.size(), 0)}};
  strips.sizes.pop_back();
  for (Sizes& steps : strips.strides) steps.pop_back();
  strips.sizes[column] = (columns + stripColumns - 1) / stripColumns;
  strips.strides[0][column] = strips.strides[2][column] = stripColumns;
  strips.strides[1][column] = stripColumns * yColumn;
  const int64_t stripSize = rows * std::min(columns, stripColumns);
  forRuns(context, strips, 1, grain / stripSize, [=](const std::array<int64_t, 3>& at, int64_t) {
    const int64_t width = std::min(stripColumns, columns - at[2]);
    for (int64_t r = 0; r < rows; r += lanes) {
      const int64_t height = std::min<int64_t>(lanes, rows - r);
      for (int64_t c = 0; c < width; c += lanes) {
        transposeBlock(x + at[0] + r * xRow + c, xRow, y + at[1] + c * yColumn + r, yColumn, height,
                       std::min<int64_t>(lanes, width - c), height);
      }
    }
  });
}

Sizes without(const Sizes& list, int64_t axis) {
  Sizes result = list;
  result.erase(result.begin() + axis);
  return result;
}

// Strides that step through a slice in the whole tensor.
Sizes sliceSteps(const Call& call, const Sizes& whole) {
  Sizes result = stridesOf(whole);
  result[call.integer("axis")] *= call.integer("step");
  return result;
}

// The number that the index holds, as it goes into a message.
double shown(const Tensor& index, uint32_t value) {
  return index.dtype == DType::int32 ? static_cast<double>(static_cast<int32_t>(value)) : value;
}

// Axes of an indexed read, with strides into x (the indexed axis left out), the index, and the result.
Walk<3> gatherWalk(const Call& call, const Sizes& x, const Sizes& index) {
  const int64_t axis = call.integer("axis");
  const Sizes own = stridesOf(x), picks = stridesOf(index);
  if (!call.flag("rows")) {
    Sizes steps = own;
    steps[axis] = 0;
    return collapse<3>(index, {steps, picks, picks});
  }
  Sizes sizes(x.begin(), x.begin() + axis), steps(own.begin(), own.begin() + axis), pickSteps(axis, 0);
  sizes.insert(sizes.end(), index.begin(), index.end());
  steps.insert(steps.end(), index.size(), 0);
  pickSteps.insert(pickSteps.end(), picks.begin(), picks.end());
  sizes.insert(sizes.end(), x.begin() + axis + 1, x.end());
  steps.insert(steps.end(), own.begin() + axis + 1, own.end());
  pickSteps.resize(sizes.size(), 0);
  return collapse<3>(sizes, {steps, pickSteps, stridesOf(sizes)});
}

}  // namespace

void shapePermute(const Call& call, Context& context) {
  const Sizes own = stridesOf(call.inputs[0].shape);
  Sizes steps;
  for (const int64_t axis : call.integers("axes")) steps.push_back(own[axis]);
  const Sizes& shape = call.outputs[0].shape;
  const Walk<2> walk = collapse<2>(shape, {steps, stridesOf(shape)});
  const size_t column = std::find(walk.strides[0].begin(), walk.strides[0].end(), 1) - walk.strides[0].begin();
  if (column + 1 < walk.sizes.size() && walk.sizes[column] >= 4 && walk.sizes.back() >= 4) {
    return transposed(context, call.inputs[0].f32(), call.outputs[0].f32(), walk, column);
  }
  copy(context, call.inputs[0].u32(), call.outputs[0].u32(), walk);
}

void shapeExpand(const Call& call, Context& context) {
  const Sizes &from = call.inputs[0].shape, &to = call.outputs[0].shape, own = stridesOf(from);
  Sizes steps(to.size(), 0);
  for (size_t i = 0; i < from.size(); i++) steps[to.size() - from.size() + i] = from[i] == 1 ? 0 : own[i];
  copy(context, call.inputs[0].u32(), call.outputs[0].u32(), collapse<2>(to, {steps, stridesOf(to)}));
}

void shapeConcat(const Call& call, Context& context) {
  const int64_t axis = call.integer("axis");
  const Sizes& shape = call.outputs[0].shape;
  const int64_t rows = product(Sizes(shape.begin(), shape.begin() + axis)),
                row = product(Sizes(shape.begin() + axis, shape.end()));
  int64_t first = 0;
  for (const Tensor& x : call.inputs) {
    const int64_t part = product(Sizes(x.shape.begin() + axis, x.shape.end()));
    if (x.size > 0)
      copy(context, x.u32(), call.outputs[0].u32() + first, collapse<2>({rows, part}, {Sizes{part, 1}, Sizes{row, 1}}));
    first += part;
  }
}

void shapeSlice(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &y = call.outputs[0];
  const int64_t first = call.integer("start") * stridesOf(x.shape)[call.integer("axis")];
  copy(context, x.u32() + first, y.u32(), collapse<2>(y.shape, {sliceSteps(call, x.shape), stridesOf(y.shape)}));
}

void shapeSliceBackward(const Call& call, Context& context) {
  const Tensor &g = call.inputs[0], &dx = call.outputs[0];
  clear(context, dx);
  if (g.size == 0) return;
  const int64_t first = call.integer("start") * stridesOf(dx.shape)[call.integer("axis")];
  copy(context, g.u32(), dx.u32() + first, collapse<2>(g.shape, {stridesOf(g.shape), sliceSteps(call, dx.shape)}));
}

void shapeGather(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &index = call.inputs[1], &y = call.outputs[0];
  const int64_t axis = call.integer("axis"), size = x.shape[axis], step = stridesOf(x.shape)[axis];
  const Walk<3> walk = gatherWalk(call, x.shape, index.shape);
  const int64_t xStep = walk.strides[0].back(), indexStep = walk.strides[1].back();
  forRuns(context, walk, grain, runsPerPiece(walk), [&](const std::array<int64_t, 3>& at, int64_t length) {
    uint32_t* to = y.u32() + at[2];
    const auto known = [&](uint32_t picked) {
      if (static_cast<int64_t>(picked) < size) return true;
      context.fault(shown(index, picked));
      return false;
    };
    if (indexStep == 0 && xStep == 1) {
      const uint32_t picked = index.u32()[at[1]];
      if (known(picked)) {
        std::memcpy(to, x.u32() + at[0] + picked * step, length * sizeof(uint32_t));
      } else {
        std::fill(to, to + length, 0u);
      }
      return;
    }
    for (int64_t i = 0; i < length; i++) {
      const uint32_t picked = index.u32()[at[1] + i * indexStep];
      to[i] = known(picked) ? x.u32()[at[0] + i * xStep + picked * step] : 0u;
    }
  });
}

// A thread owns lines of dx (what one coordinate off the indexed axis selects) and adds their terms in order.
void shapeGatherBackward(const Call& call, Context& context) {
  const Tensor &g = call.inputs[0], &index = call.inputs[1], &dx = call.outputs[0];
  clear(context, dx);
  if (g.size == 0) return;
  const int64_t axis = call.integer("axis"), size = dx.shape[axis];
  const bool rows = call.flag("rows");
  const Sizes own = stridesOf(dx.shape);
  Sizes shape = rows ? dx.shape : index.shape;
  if (rows) shape[axis] = index.size;
  const Sizes steps = stridesOf(shape), sizes = without(shape, axis), gSteps = without(steps, axis);
  const Walk<3> walk = collapse<3>(sizes, {gSteps, rows ? Sizes(sizes.size(), 0) : gSteps, without(own, axis)});
  const int64_t terms = shape[axis], gTerm = steps[axis], indexTerm = rows ? 1 : steps[axis], dStep = own[axis];
  const int64_t gLine = walk.strides[0].back(), indexLine = walk.strides[1].back(), dLine = walk.strides[2].back();
  const int64_t run = std::max<int64_t>(lanes, grain / terms / lanes * lanes);
  const int64_t perPiece = grain / (terms * std::min(run, walk.sizes.back()));
  forRuns(context, walk, run, perPiece, [&](const std::array<int64_t, 3>& at, int64_t length) {
    const float* from = g.f32() + at[0];
    const uint32_t* picks = index.u32() + at[1];
    float* to = dx.f32() + at[2];
    const auto add = [&](int64_t term, int64_t line) {
      const uint32_t picked = picks[term * indexTerm + line * indexLine];
      if (static_cast<int64_t>(picked) < size) to[line * dLine + picked * dStep] += from[term * gTerm + line * gLine];
    };
    if (gLine != 1) {
      for (int64_t line = 0; line < length; line++) {
        for (int64_t term = 0; term < terms; term++) add(term, line);
      }
    } else if (indexLine == 0 && dLine == 1) {
      for (int64_t term = 0; term < terms; term++) {
        const uint32_t picked = picks[term * indexTerm];
        if (static_cast<int64_t>(picked) >= size) continue;
        float* row = to + picked * dStep;
        for (int64_t line = 0; line < length; line++) row[line] += from[term * gTerm + line];
      }
    } else {
      for (int64_t term = 0; term < terms; term++) {
        for (int64_t line = 0; line < length; line++) add(term, line);
      }
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
