// Kernels of 3×3 without stride or dilation, forward and data gradient, by Winograd's F(4×4, 3×3): 36 multiplications
// per channel where the direct sum has 144.
//
// A work item transforms a block of tiles, multiplies them with one block of features after the other and transforms
// back, all in the second-level cache. Tiles are numbered through the batch: how they are cut into blocks changes no
// sum.
#pragma once

#include <utility>
#include <vector>

#include "conv-plan.h"
#include "conv-sweep.h"
#include "conv-winograd-transform.h"
#include "kernel.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA::winograd {
namespace {

// Bytes of transformed tiles and products that a work item keeps.
constexpr int64_t itemBytes = 1 << 19;
// Tiles of a row that are transformed together: their pixels stay in the first-level cache.
constexpr int64_t stripTiles = 8;
constexpr int64_t stripWidth = stripTiles * outputs + points - outputs;
// Sources whose weights are transformed together.
constexpr int64_t packedSources = 16;
// Floats of a line of the caches: what is written position after position lies this much off a power of two, since
// lines that are a power of two apart share few places.
constexpr int64_t line = 16;
// Work items per thread, where there are several.
constexpr int64_t itemsPerThread = 4;

// to[p][v] = Σ_c x[p·pitch + c] · w[c][v] for P tiles and V vectors of features.
template <int P, int V>
void multiply(const float* x, int64_t pitch, const float* w, int64_t terms, float* to) {
  vf sums[P][V] = {};
  for (int64_t c = 0; c < terms; c++) {
    vf weights[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) weights[v] = load(w + (c * V + v) * lanes);
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) {
      const vf value = broadcast(x[(p / 4) * (4 * pitch) + (p % 4) * pitch + c]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sums[p][v] = fma(value, weights[v], sums[p][v]);
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) store(to + (p * V + v) * lanes, sums[p][v]);
  }
}

using Multiply = void (*)(const float* x, int64_t pitch, const float* w, int64_t terms, float* to);

template <int V, int... P>
Multiply pickMultiply(int64_t size, std::integer_sequence<int, P...>) {
  static constexpr Multiply all[] = {multiply<(P < maxTile(V) ? P + 1 : 1), V>...};
  return all[size - 1];
}

inline Multiply findMultiply(int64_t vectors, int64_t size) {
  constexpr std::make_integer_sequence<int, largestTile> sizes;
  return vectors == 2 ? pickMultiply<2>(size, sizes) : pickMultiply<1>(size, sizes);
}

// With fewer channels on either side a panel of products does not pay for the transforms, …
constexpr int64_t leastChannels = 16;
// … nor when more than 4/9 of the direct multiplications are left: of images smaller than a tile or little larger than
// some, whose direct sums skip the padding.
constexpr int64_t mostLeft = 4, ofDirect = 9;

// Pairs of a result and a tap that meet within the image, along one axis.
inline int64_t reached(const Axis& axis) {
  int64_t count = 0;
  for (const Tap& tap : axis.phases[0].taps) count += tap.high - tap.low;
  return count;
}

// From sizes alone, and never the batch: an image has the same result in any.
inline bool suits(const Geometry& g, const Sweep& s) {
  if (g.kernel != Extent{1, taps, taps} || volume(g.stride) != 1 || volume(g.dilation) != 1) return false;
  if (g.size[0] != 1 || g.out[0] != 1 || g.start[0] != 0) return false;
  if (std::min(g.channels, g.features) < leastChannels || volume(s.result) == 0) return false;
  const int64_t tiles = ceilDivide(s.result[1], outputs) * ceilDivide(s.result[2], outputs);
  return tiles * positions * ofDirect <= reached(s.rows) * reached(s.columns) * mostLeft;
}

// Where the result pixel 0 reads through the tap 0, and whether the taps of the kernel are in reverse.
struct Reading {
  int64_t row, column;
  bool reversed;
};

class Convolver {
 public:
  Convolver(const Sweep& sweep, const Reading& reading, Context& context)
      : s(sweep),
        reading_(reading),
        context_(context),
        blocks_(channelBlocks(1, s.results, false)),
        down_(ceilDivide(s.result[1], outputs)),
        across_(ceilDivide(s.result[2], outputs)),
        tiles_(s.batch * down_ * across_),
        sourceVectors_(ceilDivide(s.sources, lanes)),
        pitch_(sourceVectors_ * lanes + line) {}

  void run() {
    if (tiles_ == 0) return;
    packWeights();
    const int64_t largest = maxTile(maxVectors), bytes = positions * (pitch_ + maxVectors * lanes) * 4;
    const int64_t most = largest * std::max<int64_t>(1, itemBytes / (bytes * largest));
    const int64_t wanted = context_.threads() > 1 ? itemsPerThread * context_.threads() : 1;
    const int64_t blocks = static_cast<int64_t>(blocks_.size());
    const int64_t cuts = std::max(ceilDivide(tiles_, most), std::min(ceilDivide(wanted, s.groups), tiles_ / largest));
    const int64_t shares = std::clamp<int64_t>(ceilDivide(wanted, std::max<int64_t>(1, cuts * s.groups)), 1, blocks);
    const int64_t tilesArea = positions * (most * pitch_ + line);
    const int64_t productsArea = positions * (most * maxVectors * lanes + line);
    const int64_t strip = points * stripWidth * lanes;
    float* areas = context_.scratch(context_.threads() * (tilesArea + productsArea + strip));
    context_.parallel(cuts * s.groups * shares, 1, [&](int64_t begin, int64_t end, int64_t thread) {
      float* tiles = areas + thread * (tilesArea + productsArea + strip);
      float *products = tiles + tilesArea, *pixels = products + productsArea;
      for (int64_t item = begin; item < end; item++) {
        const int64_t share = item % shares, group = item / shares % s.groups, cut = item / shares / s.groups;
        const Part part{group, tiles_ * cut / cuts, tiles_ * (cut + 1) / cuts};
        transformTiles(part, tiles, pixels);
        for (int64_t block = blocks * share / shares; block < blocks * (share + 1) / shares; block++) {
          multiplyTiles(part, block, tiles, products);
          for (int64_t v = 0; v < blocks_[block].vectors; v++) finish(part, blocks_[block], v, products, pixels);
        }
      }
    });
  }

 private:
  // Tiles first to end - 1 of one group.
  struct Part {
    int64_t group, first, end;

    int64_t count() const { return end - first; }
  };

  // Neighbouring tiles of one row.
  struct Strip {
    int64_t image, row, column, tiles;
  };

  // visit(strip, number of its first tile within the part)
  template <class Visit>
  void forStrips(const Part& part, Visit&& visit) const {
    for (int64_t tile = part.first; tile < part.end;) {
      const int64_t column = tile % across_, count = std::min({part.end - tile, across_ - column, stripTiles});
      visit(Strip{tile / across_ / down_, tile / across_ % down_ * outputs, column * outputs, count},
            tile - part.first);
      tile += count;
    }
  }

  // Floats per position: of a part's tiles and products, and of a block's weights.
  int64_t tilesPitch(const Part& part) const { return part.count() * pitch_ + line; }
  static int64_t productsPitch(const Part& part, int64_t width) { return part.count() * width + line; }
  int64_t weightsPitch(int64_t width) const { return s.sources * width + line; }

  // All blocks before the last of a group have the most vectors.
  int64_t weightsOf(int64_t group, int64_t block) const {
    const int64_t whole = positions * weightsPitch(maxVectors * lanes), last = static_cast<int64_t>(blocks_.size()) - 1;
    return group * (last * whole + positions * weightsPitch(blocks_.back().vectors * lanes)) + block * whole;
  }

  // [group][block][position][source][lanes]
  void packWeights() {
    const int64_t blocks = static_cast<int64_t>(blocks_.size()), chunks = ceilDivide(s.sources, packedSources);
    weights_ = context_.scratch(weightsOf(s.groups, 0));
    context_.parallel(s.groups * blocks * chunks, 4, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++) {
        const int64_t block = item / chunks % blocks, group = item / chunks / blocks, width = blocks_[block].vectors;
        for (int64_t v = 0; v < width; v++) {
          packVector(group, blocks_[block].channel + v * lanes, item % chunks * packedSources,
                     weights_ + weightsOf(group, block) + v * lanes, width * lanes);
        }
      }
    });
  }

  void packVector(int64_t group, int64_t channel, int64_t source, float* to, int64_t width) const {
    constexpr int64_t each = taps * taps;
    const int64_t channels = std::min<int64_t>(lanes, s.results - channel);
    const int64_t sources = std::min(packedSources, s.sources - source);
    const float* from = s.weights + group * s.groupStride + channel * s.channelStride + source * s.sourceStride;
    // [source][tap][lanes]
    float raw[packedSources * each * lanes];
    const bool together = s.sourceStride == each;
    const int64_t length = together ? sources * each : each;
    for (int64_t j = 0; j < (together ? 1 : sources); j++) {
      for (int64_t i = 0; i < length; i += lanes) {
        transposeBlock(from + j * s.sourceStride + i, s.channelStride, raw + (j * each + i) * lanes, lanes, channels,
                       std::min<int64_t>(lanes, length - i), lanes);
      }
    }
    for (int64_t j = 0; j < sources; j++) {
      vf half[taps][points];
#pragma GCC unroll 3
      for (int v = 0; v < taps; v++) {
        vf column[taps];
#pragma GCC unroll 3
        for (int u = 0; u < taps; u++) {
          const int tap = u * taps + v;
          column[u] = load(raw + (j * each + (reading_.reversed ? each - 1 - tap : tap)) * lanes);
        }
        transformWeights(column, half[v]);
      }
#pragma GCC unroll 6
      for (int i = 0; i < points; i++) {
        const vf row[taps] = {half[0][i], half[1][i], half[2][i]};
        vf whole[points];
        transformWeights(row, whole);
#pragma GCC unroll 6
        for (int k = 0; k < points; k++)
          store(to + (i * points + k) * weightsPitch(width) + (source + j) * width, whole[k]);
      }
    }
  }

  // tiles: [position][tile][source]
  void transformTiles(const Part& part, float* tiles, float* pixels) const {
    const int64_t size = tilesPitch(part);
    for (int64_t v = 0; v < sourceVectors_; v++) {
      forStrips(part, [&](const Strip& strip, int64_t number) {
        const int64_t width = strip.tiles * outputs + points - outputs;
        loadPixels(part.group, strip, v * lanes, pixels, width);
        for (int64_t column = 0; column < width; column++) {
          vf x[points], y[points];
#pragma GCC unroll 6
          for (int i = 0; i < points; i++) x[i] = load(pixels + (i * width + column) * lanes);
          transformSource(x, y);
#pragma GCC unroll 6
          for (int i = 0; i < points; i++) store(pixels + (i * width + column) * lanes, y[i]);
        }
        for (int64_t tile = 0; tile < strip.tiles; tile++) {
          float* to = tiles + (number + tile) * pitch_ + v * lanes;
          for (int64_t i = 0; i < points; i++) {
            vf x[points], y[points];
#pragma GCC unroll 6
            for (int k = 0; k < points; k++) x[k] = load(pixels + (i * width + tile * outputs + k) * lanes);
            transformSource(x, y);
#pragma GCC unroll 6
            for (int k = 0; k < points; k++) store(to + (i * points + k) * size, y[k]);
          }
        }
      });
    }
  }

  // pixels: [row][column][lanes] of what the strip reads, zeros around the image.
  void loadPixels(int64_t group, const Strip& strip, int64_t source, float* pixels, int64_t width) const {
    const int64_t area = volume(s.source), channels = std::min<int64_t>(lanes, s.sources - source);
    const float* image = s.from + ((strip.image * s.groups + group) * s.sources + source) * area;
    const int64_t first = strip.column + reading_.column;
    const int64_t low = std::clamp<int64_t>(-first, 0, width), high = std::clamp(s.source[2] - first, low, width);
    for (int64_t i = 0; i < points; i++, pixels += width * lanes) {
      const int64_t row = strip.row + reading_.row + i;
      if (row < 0 || row >= s.source[1]) {
        std::fill_n(pixels, width * lanes, 0.0f);
        continue;
      }
      std::fill_n(pixels, low * lanes, 0.0f);
      std::fill_n(pixels + high * lanes, (width - high) * lanes, 0.0f);
      for (int64_t j = low; j < high; j += lanes) {
        transposeBlock(image + row * s.source[2] + first + j, area, pixels + j * lanes, lanes, channels,
                       std::min<int64_t>(lanes, high - j), lanes);
      }
    }
  }

  // products: [position][tile][lanes]
  void multiplyTiles(const Part& part, int64_t block, const float* tiles, float* products) const {
    const int64_t vectors = blocks_[block].vectors, width = vectors * lanes, count = part.count();
    const int64_t panels = tileCount(count, vectors);
    const float* weights = weights_ + weightsOf(part.group, block);
    for (int64_t position = 0; position < positions; position++) {
      for (int64_t panel = 0; panel < panels; panel++) {
        const int64_t first = count * panel / panels, end = count * (panel + 1) / panels;
        findMultiply(vectors, end - first)(tiles + position * tilesPitch(part) + first * pitch_, pitch_,
                                           weights + position * weightsPitch(width), s.sources,
                                           products + position * productsPitch(part, width) + first * width);
      }
    }
  }

  // From products to results of one vector of channels.
  void finish(const Part& part, const Block& block, int64_t v, const float* products, float* pixels) const {
    const int64_t area = volume(s.result), width = block.vectors * lanes, channel = block.channel + v * lanes;
    const int64_t channels = std::min<int64_t>(lanes, s.results - channel), size = productsPitch(part, width);
    const vf bias = s.bias ? loadPartial(s.bias + part.group * s.results + channel, channels) : vf{};
    forStrips(part, [&](const Strip& strip, int64_t number) {
      const int64_t pitch = strip.tiles * outputs;
      for (int64_t tile = 0; tile < strip.tiles; tile++) {
        const float* from = products + (number + tile) * width + v * lanes;
        vf half[points][outputs];
#pragma GCC unroll 6
        for (int k = 0; k < points; k++) {
          vf m[points];
#pragma GCC unroll 6
          for (int i = 0; i < points; i++) m[i] = load(from + (i * points + k) * size);
          transformProducts(m, half[k]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < outputs; i++) {
          const vf m[points] = {half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]};
          vf y[outputs];
          transformProducts(m, y);
#pragma GCC unroll 4
          for (int k = 0; k < outputs; k++) store(pixels + (i * pitch + tile * outputs + k) * lanes, y[k] + bias);
        }
      }
      float* to = s.to + ((strip.image * s.groups + part.group) * s.results + channel) * area +
                  strip.row * s.result[2] + strip.column;
      int64_t rows = std::min<int64_t>(outputs, s.result[1] - strip.row);
      int64_t columns = std::min(pitch, s.result[2] - strip.column);
      if (columns == pitch && columns == s.result[2]) {
        columns *= rows;
        rows = 1;
      }
      for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j += lanes) {
          const int64_t count = std::min<int64_t>(lanes, columns - j);
          transposeBlock(pixels + (i * pitch + j) * lanes, lanes, to + i * s.result[2] + j, area, count, channels,
                         count);
        }
      }
    });
  }

  const Sweep& s;
  const Reading reading_;
  Context& context_;
  // Of one group.
  const std::vector<Block> blocks_;
  // Tiles per column and row of the image, and of the batch.
  const int64_t down_, across_, tiles_;
  const int64_t sourceVectors_, pitch_;
  float* weights_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::winograd
