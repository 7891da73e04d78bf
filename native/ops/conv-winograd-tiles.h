// How images are cut into tiles for Winograd's convolution, and the transform of what tiles read. Tiles are numbered
// through the batch: how they are shared out changes no sum.
#pragma once

#include "conv-plan.h"
#include "conv-winograd-transform.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA::winograd {
namespace {

// With fewer channels than this on either side the products do not pay for the transforms.
constexpr int64_t leastChannels = 16;
// They do when at most half of the direct multiplications are left, or, from so many channels on, three quarters. More
// are left of images little larger than some tiles, whose direct sums skip the padding.
constexpr int64_t manyChannels = 32;
// Results of a row whose tiles are transformed together: their pixels stay in the first-level cache.
constexpr int64_t stripResults = 32;
constexpr int64_t stripFloats = points * (stripResults + points) * lanes;
// Floats of a line of the caches. What is written position after position lies this much off a power of two, since
// lines that are a power of two apart share few places.
constexpr int64_t line = 16;
// Weights of this many sources are transformed together.
constexpr int64_t packedSources = 16;

// Tiles first to end - 1 of one group.
struct Part {
  int64_t group, first, end;

  int64_t count() const { return end - first; }
};

// Neighbouring tiles of one row, from the pixel (row, column) of the result on.
struct Strip {
  int64_t image, row, column, tiles;
};

// Tiles per column and row of an image, for kernels of taps × taps.
template <int taps>
struct Grid {
  static constexpr int outputs = outputsOf(taps);

  int64_t down, across;

  explicit Grid(const Extent& result) : down(ceilDivide(result[1], outputs)), across(ceilDivide(result[2], outputs)) {}

  int64_t tiles() const { return down * across; }

  // visit(strip, number of its first tile within the part)
  template <class Visit>
  void forStrips(const Part& part, Visit&& visit) const {
    for (int64_t tile = part.first; tile < part.end;) {
      const int64_t column = tile % across,
                    count = std::min({part.end - tile, across - column, stripResults / outputs});
      visit(Strip{tile / across / down, tile / across % down * outputs, column * outputs, count}, tile - part.first);
      tile += count;
    }
  }
};

// Pairs of a result and a tap that meet within the image, along one axis.
inline int64_t reached(const Axis& axis) {
  int64_t count = 0;
  for (const Tap& tap : axis.phases[0].taps) count += tap.high - tap.low;
  return count;
}

// Whether results with these axes are computed by tiles of kernels of taps × taps. From sizes alone, and never the
// batch: an image has the same result in any.
template <int taps>
bool suits(const Geometry& g, const Extent& result, const Axis& rows, const Axis& columns) {
  if (g.kernel != Extent{1, taps, taps} || volume(g.stride) != 1 || volume(g.dilation) != 1) return false;
  if (g.size[0] != 1 || g.out[0] != 1 || g.start[0] != 0) return false;
  const int64_t least = std::min(g.channels, g.features);
  if (least < leastChannels || volume(result) == 0) return false;
  const int64_t left = Grid<taps>(result).tiles() * positions, direct = reached(rows) * reached(columns);
  return least < manyChannels ? 2 * left <= direct : 4 * left <= 3 * direct;
}

// What tiles read: the first one from (row, column) on. Channels are those of a group.
struct Source {
  const float* from;
  int64_t groups, channels;
  Extent size;
  int64_t row, column;
};

// pixels: `rows` × `width` × lanes channels from what a strip reads, zeros around the image.
inline void loadPixels(const Source& source, int64_t group, const Strip& strip, int64_t channel, int64_t rows,
                       int64_t width, float* pixels) {
  const int64_t area = volume(source.size), channels = std::min<int64_t>(lanes, source.channels - channel);
  const float* image = source.from + ((strip.image * source.groups + group) * source.channels + channel) * area;
  const int64_t first = strip.column + source.column;
  const int64_t low = std::clamp<int64_t>(-first, 0, width), high = std::clamp(source.size[2] - first, low, width);
  for (int64_t i = 0; i < rows; i++, pixels += width * lanes) {
    const int64_t row = strip.row + source.row + i;
    if (row < 0 || row >= source.size[1]) {
      std::fill_n(pixels, width * lanes, 0.0f);
      continue;
    }
    std::fill_n(pixels, low * lanes, 0.0f);
    std::fill_n(pixels + high * lanes, (width - high) * lanes, 0.0f);
    for (int64_t j = low; j < high; j += lanes) {
      transposeBlock(image + row * source.size[2] + first + j, area, pixels + j * lanes, lanes, channels,
                     std::min<int64_t>(lanes, high - j), lanes);
    }
  }
}

// to[position·size + tile·pitch + c] for `vectors` vectors of channels from `channel` on; a tile reads window × window.
template <int window, int taps>
void transformTiles(const Source& source, const Grid<taps>& grid, const Part& part, int64_t channel, int64_t vectors,
                    float* to, int64_t pitch, int64_t size, float* pixels) {
  constexpr int outputs = outputsOf(taps);
  for (int64_t v = 0; v < vectors; v++) {
    grid.forStrips(part, [&](const Strip& strip, int64_t number) {
      const int64_t width = strip.tiles * outputs + window - outputs;
      loadPixels(source, part.group, strip, channel + v * lanes, window, width, pixels);
      for (int64_t column = 0; column < width; column++) {
        vf x[window], y[points];
#pragma GCC unroll 6
        for (int i = 0; i < window; i++) x[i] = load(pixels + (i * width + column) * lanes);
        toPoints(x, y);
#pragma GCC unroll 6
        for (int i = 0; i < points; i++) store(pixels + (i * width + column) * lanes, y[i]);
      }
      for (int64_t tile = 0; tile < strip.tiles; tile++) {
        float* at = to + (number + tile) * pitch + v * lanes;
        for (int64_t i = 0; i < points; i++) {
          vf x[window], y[points];
#pragma GCC unroll 6
          for (int k = 0; k < window; k++) x[k] = load(pixels + (i * width + tile * outputs + k) * lanes);
          toPoints(x, y);
#pragma GCC unroll 6
          for (int k = 0; k < points; k++) store(at + (i * points + k) * size, y[k]);
        }
      }
    });
  }
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::winograd
