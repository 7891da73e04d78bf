// Kernels of 3×3 and 5×5 without stride or dilation, forward and data gradient, by Winograd's F(4×4, 3×3) and
// F(2×2, 5×5): 36 multiplications per channel where the direct sum has 144 or 100.
//
// A work item transforms a block of tiles, multiplies them with one block of features after the other and transforms
// back, all in the second-level cache. Tiles are numbered through the batch: how they are cut into blocks changes no
// sum.
#pragma once

#include <utility>
#include <vector>

#include "conv-plan.h"
#include "conv-sweep.h"
#include "conv-winograd-tiles.h"
#include "kernel.h"
#include "products.h"

namespace birkhoff::BIRKHOFF_ISA::winograd {
namespace {

// Bytes of transformed tiles and products that a work item keeps.
constexpr int64_t itemBytes = 1 << 19;

// to[p][v] = Σ_c x[p·pitch + c] · w[c][v] for P tiles and V vectors of features.
template <int P, int V>
void multiply(const float* x, int64_t pitch, const float* w, int64_t terms, float* to) {
  vf sums[P][V] = {};
  addProducts<false>(sums, terms, x, pitch, 1, w, V * lanes);
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

// Where the result pixel 0 reads through the tap 0, and whether the taps of the kernel are in reverse.
struct Reading {
  int64_t row, column;
  bool reversed;
};

// For kernels of taps × taps.
template <int taps>
class Convolver {
  static constexpr int outputs = outputsOf(taps);

 public:
  Convolver(const Sweep& sweep, const Reading& reading, Context& context)
      : s(sweep),
        reading_(reading),
        context_(context),
        blocks_(channelBlocks(1, s.results, false)),
        grid_(s.result),
        tiles_(s.batch * grid_.tiles()),
        source_{s.from, s.groups, s.sources, s.source, reading.row, reading.column},
        sourceVectors_(ceilDivide(s.sources, lanes)),
        pitch_(sourceVectors_ * lanes + line) {}

  void run() {
    if (tiles_ == 0) return;
    packWeights();
    const int64_t largest = maxTile(maxVectors), bytes = positions * (pitch_ + maxVectors * lanes) * 4;
    const int64_t most = largest * std::max<int64_t>(1, itemBytes / (bytes * largest));
    const int64_t wanted = s.items;
    const int64_t blocks = static_cast<int64_t>(blocks_.size());
    const int64_t cuts = std::max(ceilDivide(tiles_, most), std::min(ceilDivide(wanted, s.groups), tiles_ / largest));
    const int64_t shares = std::clamp<int64_t>(ceilDivide(wanted, std::max<int64_t>(1, cuts * s.groups)), 1, blocks);
    const int64_t tilesArea = positions * (most * pitch_ + line);
    const int64_t productsArea = positions * (most * maxVectors * lanes + line);
    float* areas = context_.scratch(context_.threads() * (tilesArea + productsArea + stripFloats));
    context_.parallel(
        cuts * s.groups * shares, ceilDivide(cuts * s.groups * shares, wanted),
        [&](int64_t begin, int64_t end, int64_t thread) {
          float* tiles = areas + thread * (tilesArea + productsArea + stripFloats);
          float *products = tiles + tilesArea, *pixels = products + productsArea;
          for (int64_t item = begin; item < end; item++) {
            const int64_t share = item % shares, group = item / shares % s.groups, cut = item / shares / s.groups;
            const Part part{group, tiles_ * cut / cuts, tiles_ * (cut + 1) / cuts};
            transformTiles<points>(source_, grid_, part, 0, sourceVectors_, tiles, pitch_, tilesPitch(part), pixels);
            for (int64_t block = blocks * share / shares; block < blocks * (share + 1) / shares; block++) {
              multiplyTiles(part, block, tiles, products);
              for (int64_t v = 0; v < blocks_[block].vectors; v++) finish(part, blocks_[block], v, products, pixels);
            }
          }
        });
  }

 private:
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
      vf kernel[taps][taps], whole[points][points];
#pragma GCC unroll 25
      for (int tap = 0; tap < each; tap++)
        kernel[tap / taps][tap % taps] = load(raw + (j * each + (reading_.reversed ? each - 1 - tap : tap)) * lanes);
      toPositions(kernel, whole);
#pragma GCC unroll 36
      for (int i = 0; i < positions; i++)
        store(to + i * weightsPitch(width) + (source + j) * width, whole[i / points][i % points]);
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
    grid_.forStrips(part, [&](const Strip& strip, int64_t number) {
      const int64_t pitch = strip.tiles * outputs;
      for (int64_t tile = 0; tile < strip.tiles; tile++) {
        const float* from = products + (number + tile) * width + v * lanes;
        vf m[points][points], y[outputs][outputs];
#pragma GCC unroll 36
        for (int i = 0; i < positions; i++) m[i / points][i % points] = load(from + i * size);
        fromPositions(m, y);
#pragma GCC unroll 16
        for (int i = 0; i < outputs * outputs; i++) {
          const vf value = y[i / outputs][i % outputs] + bias;
          store(pixels + (i / outputs * pitch + tile * outputs + i % outputs) * lanes, value);
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
  const Grid<taps> grid_;
  // Of the batch.
  const int64_t tiles_;
  const Source source_;
  const int64_t sourceVectors_, pitch_;
  float* weights_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::winograd
