// Which taps of the kernel reach which pixels, and how pixels and channels are cut into tiles and blocks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "conv-tile.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Depth, height, width.
using Extent = std::array<int64_t, 3>;

inline int64_t volume(const Extent& extent) { return extent[0] * extent[1] * extent[2]; }

// One to three spatial axes as three: those that are missing come first.
inline Extent extent(const std::vector<int64_t>& list, size_t skipped, int64_t filler) {
  Extent all{filler, filler, filler};
  std::copy_backward(list.begin() + static_cast<int64_t>(skipped), list.end(), all.end());
  return all;
}

// The sizes of y = conv(x, w), whichever of the three is computed from the others; channels and features per group.
struct Geometry {
  int64_t batch, groups, channels, features;
  Extent size, kernel, out, stride, start, dilation;

  Geometry(const Call& call, const Tensor& x, const Tensor& w, const Tensor& y)
      : batch(x.shape[0]),
        groups(call.integer("groups")),
        channels(w.shape[1]),
        features(w.shape[0] / groups),
        size(extent(x.shape, 2, 1)),
        kernel(extent(w.shape, 2, 1)),
        out(extent(y.shape, 2, 1)),
        stride(extent(call.integers("stride"), 0, 1)),
        start(extent(call.integers("padding"), 0, 0)),
        dilation(extent(call.integers("dilation"), 0, 1)) {
    // Pixels that do not see their neighbours are one long row: tiles then fill up whatever the shape of the image.
    if (volume(kernel) == 1 && volume(stride) == 1 && start == Extent{} && size == out)
      size = out = {1, 1, volume(size)};
  }

  // In multiply-adds, of which moving a number that little is done with takes the time of some.
  int64_t work() const {
    const int64_t products = features * volume(out) * channels * volume(kernel);
    return batch * groups * std::max(products, 16 * (channels * volume(size) + features * volume(out)));
  }
};

// Result pixels low to high - 1 of a phase read source pixel start + pixel·step through this tap.
struct Tap {
  int64_t index, start, low, high;
};

// Result pixels first, first + spacing, …, which share their taps. Taps that reach no pixel are left out.
struct Phase {
  int64_t first, count;
  std::vector<Tap> taps;
};

struct Axis {
  int64_t step, spacing;
  std::vector<Phase> phases;
};

// Another thread takes a microsecond or two to begin: less work than this is not worth that.
constexpr int64_t leastWork = 1 << 16;
// Into how many work items to cut a call at least: several per thread, so that none waits long for another.
inline int64_t itemsToShare(const Context& context, const Geometry& g) {
  return context.threads() > 1 ? std::clamp<int64_t>(g.work() / leastWork, 1, 4 * context.threads()) : 1;
}

// Rounded up, for any sign of a.
constexpr int64_t ceilDivide(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

inline void addTap(Phase& phase, int64_t index, int64_t start, int64_t step, int64_t size) {
  const int64_t low = std::clamp<int64_t>(ceilDivide(-start, step), 0, phase.count);
  const int64_t high = std::clamp<int64_t>(ceilDivide(size - start, step), 0, phase.count);
  if (low < high) phase.taps.push_back({index, start, low, high});
}

// y[i] reads x[i·stride + u·dilation − start].
inline Axis forwardAxis(const Geometry& g, int axis) {
  Axis result{g.stride[axis], 1, {{0, g.out[axis], {}}}};
  for (int64_t u = 0; u < g.kernel[axis]; u++)
    addTap(result.phases[0], u, u * g.dilation[axis] - g.start[axis], g.stride[axis], g.size[axis]);
  return result;
}

// dx[r + i·stride] reads dy[(r + start − u·dilation) / stride + i] where that divides.
inline Axis dataAxis(const Geometry& g, int axis) {
  const int64_t stride = g.stride[axis], size = g.size[axis];
  Axis result{1, stride, {}};
  for (int64_t r = 0; r < std::min(stride, size); r++) {
    Phase phase{r, ceilDivide(size - r, stride), {}};
    for (int64_t u = 0; u < g.kernel[axis]; u++) {
      const int64_t distance = r + g.start[axis] - u * g.dilation[axis];
      if (distance % stride == 0) addTap(phase, u, distance / stride, 1, g.out[axis]);
    }
    result.phases.push_back(std::move(phase));
  }
  return result;
}

// Rows low to high - 1 of one axis of the source.
struct Span {
  int64_t low, high;

  int64_t count() const { return high - low; }
};

// What taps of `phase` read for its pixels first to end - 1.
inline Span spanOf(const Phase& phase, int64_t step, int64_t first, int64_t end, int64_t size) {
  Span span{size, 0};
  for (const Tap& tap : phase.taps) {
    const int64_t low = std::max(tap.low, first), high = std::min(tap.high, end);
    if (low >= high) continue;
    span.low = std::min(span.low, tap.start + low * step);
    span.high = std::max(span.high, tap.start + (high - 1) * step + 1);
  }
  return {std::min(span.low, span.high), span.high};
}

// The taps of `phase` that reach `pixel`; returns where that set changes next, at most `end`.
inline int64_t tapsAt(const Phase& phase, int64_t pixel, int64_t end, std::vector<const Tap*>& taps) {
  taps.clear();
  for (const Tap& tap : phase.taps) {
    if (tap.low <= pixel && pixel < tap.high) {
      taps.push_back(&tap);
      end = std::min(end, tap.high);
    } else if (tap.low > pixel) {
      end = std::min(end, tap.low);
    }
  }
  return end;
}

// Neighbouring pixels of one tile that share their taps.
struct Run {
  int64_t first, count;
  std::vector<const Tap*> taps;
};

// `count` pixels are cut into tiles of nearly one size.
constexpr int64_t tileCount(int64_t count, int64_t vectors) {
  return (count + maxTile(vectors) - 1) / maxTile(vectors);
}

// Of pixels low to high - 1: one run per tile and distinct range of pixels that some taps reach.
inline std::vector<Run> columnRuns(const Phase& phase, int64_t low, int64_t high, int64_t vectors) {
  std::vector<Run> runs;
  const int64_t count = high - low, tiles = tileCount(count, vectors);
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t first = low + count * t / tiles, end = low + count * (t + 1) / tiles;
    const size_t begin = runs.size();
    for (const Tap& tap : phase.taps) {
      const int64_t low = std::max(tap.low, first), count = std::min(tap.high, end) - low;
      if (count <= 0) continue;
      const auto same = std::find_if(runs.begin() + static_cast<int64_t>(begin), runs.end(),
                                     [&](const Run& run) { return run.first == low && run.count == count; });
      if (same == runs.end()) {
        runs.push_back({low, count, {&tap}});
      } else {
        same->taps.push_back(&tap);
      }
    }
  }
  return runs;
}

// Channels that are computed together, across the lanes of one or two vectors.
struct Block {
  int64_t channel, channels, vectors;
};

// With this few channels per group a block spans several groups, and each lane reads its own.
constexpr bool packsGroups(int64_t groups, int64_t channels) { return groups > 1 && channels * 4 <= lanes; }

// With this few results of many sources, the sources lie across the lanes and are summed at the end.
constexpr bool sumsLanes(int64_t sources, int64_t results) { return results * 4 <= lanes && sources * 2 >= lanes; }

// All blocks of `channels` channels per group; none spans two groups unless `packed`. All but the last of a group have
// the most vectors.
inline std::vector<Block> channelBlocks(int64_t groups, int64_t channels, bool packed) {
  std::vector<Block> blocks;
  const int64_t spans = packed ? 1 : groups, each = packed ? groups * channels : channels;
  const int64_t most = packed ? lanes : maxVectors * lanes;
  for (int64_t group = 0; group < spans; group++) {
    for (int64_t c = 0; c < each; c += most) {
      const int64_t count = std::min(most, each - c);
      blocks.push_back({group * each + c, count, (count + lanes - 1) / lanes});
    }
  }
  return blocks;
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
