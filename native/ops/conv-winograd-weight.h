// The weight gradient of 3×3 and 5×5 kernels by the adjoint of Winograd's convolution: tiles of the image and of dy are
// transformed, their products summed over tiles, and the sums transformed to kernels.
//
// The tiles of the batch are split as their number says, and the splits are added in order: the result does not depend
// on the number of threads.
#pragma once

#include <vector>

#include "conv-plan.h"
#include "conv-tile.h"
#include "conv-winograd-tiles.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA::winograd {
namespace {

// Tiles that are transformed before they are multiplied: they stay in the second-level cache.
constexpr int64_t chunkTiles = 28;
// Channels, and features, of one work item at most. Each of either is transformed once per so many of the other.
constexpr int64_t itemChannels = 64;
// The batch is split until there is this much to share out, but no split has fewer tiles than this.
constexpr int64_t wantedSplits = 16, leastSplitTiles = 128;

// For kernels of taps × taps.
template <int taps>
class WeightGradient {
  static constexpr int outputs = outputsOf(taps);

 public:
  WeightGradient(const Geometry& geometry, const float* dy, const float* x, Context& context)
      : s(geometry),
        context_(context),
        grid_(s.out),
        tiles_(s.batch * grid_.tiles()),
        image_{x, s.groups, s.channels, s.size, -s.start[1], -s.start[2]},
        gradient_{dy, s.groups, s.features, s.out, 0, 0},
        blocks_(channelBlocks(1, s.features, false)),
        channelVectors_(ceilDivide(s.channels, lanes)) {
    const int64_t items = s.groups * ceilDivide(s.channels, itemChannels) * ceilDivide(s.features, itemChannels);
    splits_ = std::max<int64_t>(1, std::min(ceilDivide(wantedSplits, items), tiles_ / leastSplitTiles));
  }

  void run(float* dw) {
    const int64_t blocks = static_cast<int64_t>(blocks_.size());
    int64_t vectorsEach = itemChannels / lanes, blocksEach = ceilDivide(itemChannels, maxVectors * lanes);
    const auto items = [&] {
      return splits_ * s.groups * ceilDivide(channelVectors_, vectorsEach) * ceilDivide(blocks, blocksEach);
    };
    const int64_t wanted = itemsToShare(context_, s);
    while (items() < wanted && blocksEach > 1) blocksEach /= 2;
    while (items() < wanted && vectorsEach > 1) vectorsEach /= 2;
    const int64_t across = ceilDivide(channelVectors_, vectorsEach), down = ceilDivide(blocks, blocksEach);

    sums_ = context_.scratch(splits_ * s.groups * sumsPerGroup());
    const int64_t imageArea = positions * (chunkTiles * imagePitch(vectorsEach) + line);
    const int64_t gradientArea = positions * (chunkTiles * maxVectors * lanes + line);
    float* areas = context_.scratch(context_.threads() * (imageArea + gradientArea + stripFloats));
    context_.parallel(items(), ceilDivide(items(), wanted), [&](int64_t begin, int64_t end, int64_t thread) {
      float* image = areas + thread * (imageArea + gradientArea + stripFloats);
      float *gradient = image + imageArea, *pixels = gradient + gradientArea;
      for (int64_t item = begin; item < end; item++) {
        const int64_t column = item % across * vectorsEach, row = item / across % down * blocksEach;
        const int64_t group = item / across / down % s.groups, split = item / across / down / s.groups;
        const Share share{column, std::min(column + vectorsEach, channelVectors_), row,
                          std::min(row + blocksEach, blocks)};
        accumulate(group, split, share, image, gradient, pixels);
      }
    });
    const int64_t chunks = ceilDivide(s.channels, packedSources);
    context_.parallel(s.groups * blocks * chunks, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++) {
        const int64_t block = item / chunks % blocks;
        for (int64_t v = 0; v < blocks_[block].vectors; v++)
          collect(item / chunks / blocks, block, v, item % chunks * packedSources, dw);
      }
    });
  }

 private:
  // Vectors of channels and blocks of features of one work item.
  struct Share {
    int64_t vector, vectorEnd, block, blockEnd;
  };

  // Of the transformed image, per tile: the vectors of a share, and a line so that tiles lie off powers of two.
  static int64_t imagePitch(int64_t vectors) { return vectors * lanes + line; }

  // Sums are laid out [split][group][block][position][channel][lanes].
  int64_t sumsPitch(int64_t block) const { return s.channels * blocks_[block].vectors * lanes + line; }
  int64_t sumsPerGroup() const {
    const int64_t last = static_cast<int64_t>(blocks_.size()) - 1;
    return positions * (last * sumsPitch(0) + sumsPitch(last));
  }
  float* sumsOf(int64_t split, int64_t group, int64_t block) const {
    return sums_ + (split * s.groups + group) * sumsPerGroup() + block * positions * sumsPitch(0);
  }

  void accumulate(int64_t group, int64_t split, const Share& share, float* image, float* gradient,
                  float* pixels) const {
    const int64_t firstChannel = share.vector * lanes, endChannel = std::min(share.vectorEnd * lanes, s.channels);
    const int64_t channels = endChannel - firstChannel, vectors = share.vectorEnd - share.vector;
    const int64_t firstTile = tiles_ * split / splits_, endTile = tiles_ * (split + 1) / splits_;
    const int64_t chunks = ceilDivide(endTile - firstTile, chunkTiles);
    for (int64_t block = share.block; block < share.blockEnd; block++) {
      const int64_t width = blocks_[block].vectors * lanes;
      for (int64_t position = 0; position < positions; position++) {
        float* from = sumsOf(split, group, block) + position * sumsPitch(block) + firstChannel * width;
        std::fill_n(from, channels * width, 0.0f);
      }
    }
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      const Part part{group, firstTile + (endTile - firstTile) * chunk / chunks,
                      firstTile + (endTile - firstTile) * (chunk + 1) / chunks};
      const int64_t imageSize = part.count() * imagePitch(vectors) + line;
      transformTiles<points>(image_, grid_, part, firstChannel, vectors, image, imagePitch(vectors), imageSize, pixels);
      for (int64_t index = share.block; index < share.blockEnd; index++) {
        const Block& block = blocks_[index];
        const int64_t width = block.vectors * lanes, gradientSize = part.count() * width + line;
        transformTiles<outputs>(gradient_, grid_, part, block.channel, block.vectors, gradient, width, gradientSize,
                                pixels);
        const int64_t start = 0, panels = tileCount(channels, block.vectors);
        const Terms terms{&start, &start, 1, part.count(), imagePitch(vectors)};
        for (int64_t position = 0; position < positions; position++) {
          float* sums = sumsOf(split, group, index) + position * sumsPitch(index) + firstChannel * width;
          for (int64_t panel = 0; panel < panels; panel++) {
            const int64_t first = channels * panel / panels, end = channels * (panel + 1) / panels;
            findTile(Factor::unit, block.vectors, end - first)(sums + first * width,
                                                               image + position * imageSize + first,
                                                               gradient + position * gradientSize, terms, 1);
          }
        }
      }
    }
  }

  // Adds the splits of one vector of features and some channels, and transforms them to kernels.
  void collect(int64_t group, int64_t index, int64_t v, int64_t channel, float* dw) const {
    constexpr int64_t each = taps * taps;
    const Block& block = blocks_[index];
    const int64_t width = block.vectors * lanes, feature = block.channel + v * lanes;
    const int64_t channels = std::min(packedSources, s.channels - channel);
    // [channel][tap][lanes]
    float raw[packedSources * each * lanes];
    for (int64_t c = 0; c < channels; c++) {
      vf m[points][points] = {}, kernel[taps][taps];
      for (int64_t split = 0; split < splits_; split++) {
        const float* from = sumsOf(split, group, index) + (channel + c) * width + v * lanes;
#pragma GCC unroll 36
        for (int i = 0; i < positions; i++) m[i / points][i % points] += load(from + i * sumsPitch(index));
      }
      fromPositions(m, kernel);
#pragma GCC unroll 25
      for (int tap = 0; tap < each; tap++) store(raw + (c * each + tap) * lanes, kernel[tap / taps][tap % taps]);
    }
    float* to = dw + ((group * s.features + feature) * s.channels + channel) * each;
    for (int64_t i = 0; i < channels * each; i += lanes) {
      const int64_t count = std::min<int64_t>(lanes, channels * each - i);
      transposeBlock(raw + i * lanes, lanes, to + i, s.channels * each, count,
                     std::min<int64_t>(lanes, s.features - feature), count);
    }
  }

  const Geometry& s;
  Context& context_;
  const Grid<taps> grid_;
  // Of the batch.
  const int64_t tiles_;
  const Source image_, gradient_;
  // Of one group.
  const std::vector<Block> blocks_;
  const int64_t channelVectors_;
  int64_t splits_;
  float* sums_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::winograd
