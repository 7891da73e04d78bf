// The weight gradient of few channels: products of patches with dy, features across the lanes.
//
// The bands of all images are split as the sizes say, and the splits are added in order: the result does not depend on
// the number of threads.
#pragma once

#include <vector>

#include "conv-patches.h"

namespace birkhoff::BIRKHOFF_ISA::patches {
namespace {

// With more channels and taps the direct sums are faster.
constexpr int64_t mostTerms = 48;
inline bool suitsWeights(const Geometry& g) { return suits(g) && g.channels * volume(g.kernel) <= mostTerms; }

// Bands are split until there is this much to share out.
constexpr int64_t wantedSplits = 16;

class Weights {
 public:
  Weights(const Geometry& geometry, Context& context)
      : s(geometry),
        context_(context),
        patches_(geometry),
        terms_(patches_.terms()),
        high_(patches_.height(1)),
        bands_(bandsOf(s.out[0], s.out[1], high_)),
        blocks_(channelBlocks(1, s.features, false)),
        units_(s.batch * static_cast<int64_t>(bands_.size())),
        splits_(std::clamp<int64_t>(units_, 1, wantedSplits)) {}

  void run(const float* dy, const float* x, float* dw) const {
    const int64_t rows = patches_.floats(high_), area = rows + high_ * s.out[2] * maxVectors * lanes;
    const int64_t blocks = static_cast<int64_t>(blocks_.size());
    const int64_t wanted = itemsToShare(context_, s);
    const int64_t shares = std::clamp<int64_t>(ceilDivide(wanted, splits_ * s.groups), 1, blocks);
    const int64_t items = splits_ * s.groups * shares;
    float* sums = context_.scratch(splits_ * s.groups * perGroup());
    float* areas = context_.scratch(context_.threads() * area);
    context_.parallel(items, ceilDivide(items, wanted), [&](int64_t begin, int64_t end, int64_t thread) {
      float* patches = areas + thread * area;
      for (int64_t item = begin; item < end; item++) {
        const int64_t share = item % shares, group = item / shares % s.groups, split = item / shares / s.groups;
        const int64_t first = blocks * share / shares, last = blocks * (share + 1) / shares;
        float* to = sums + (split * s.groups + group) * perGroup();
        std::fill(to + offset(first), to + offset(last), 0.0f);
        for (int64_t unit = units_ * split / splits_; unit < units_ * (split + 1) / splits_; unit++) {
          const Band& band = bands_[unit % static_cast<int64_t>(bands_.size())];
          const int64_t image = unit / static_cast<int64_t>(bands_.size()) * s.groups + group;
          const int64_t at = (band.plane * s.out[1] + band.first) * s.out[2];
          patches_.fill(x + image * s.channels * volume(s.size), band, patches);
          for (int64_t block = first; block < last; block++) {
            accumulate(blocks_[block], dy + image * s.features * volume(s.out) + at, patches, band, patches + rows,
                       to + offset(block));
          }
        }
      }
    });
    context_.parallel(s.groups * s.features, std::max<int64_t>(1, (1 << 12) / std::max<int64_t>(1, terms_)),
                      [&](int64_t begin, int64_t end, int64_t) {
                        for (int64_t i = begin; i < end; i++) collect(i, sums, dw + i * terms_);
                      });
  }

 private:
  // Sums are laid out [split][group][block][term][lanes]; all blocks before the last have the most vectors.
  int64_t offset(int64_t block) const {
    const int64_t whole = terms_ * maxVectors * lanes, last = static_cast<int64_t>(blocks_.size()) - 1;
    return block <= last ? block * whole : last * whole + terms_ * blocks_.back().vectors * lanes;
  }
  int64_t perGroup() const { return offset(static_cast<int64_t>(blocks_.size())); }

  void accumulate(const Block& block, const float* dy, const float* patches, const Band& band, float* gradients,
                  float* sums) const {
    const int64_t width = block.vectors * lanes, pixels = band.rows() * s.out[2], step = patches_.pitch(band.rows());
    for (int64_t v = 0; v < block.vectors; v++) {
      const float* planes[lanes];
      const int64_t channels = std::min<int64_t>(lanes, block.channels - v * lanes);
      for (int64_t c = 0; c < channels; c++) planes[c] = dy + (block.channel + v * lanes + c) * volume(s.out);
      toLanes(gradients + v * lanes, width, planes, channels, pixels);
    }
    const int64_t start = 0, tiles = tileCount(terms_, block.vectors);
    const Terms terms{&start, &start, 1, pixels, 1};
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t k = terms_ * tile / tiles, count = terms_ * (tile + 1) / tiles - k;
      findTile(Factor::strided, block.vectors, count)(sums + k * width, patches + k * step, gradients, terms, step);
    }
  }

  void collect(int64_t feature, const float* sums, float* dw) const {
    const int64_t group = feature / s.features, channel = feature % s.features;
    const Block& block = blocks_[channel / (maxVectors * lanes)];
    const float* from = sums + group * perGroup() + offset(channel / (maxVectors * lanes)) + channel - block.channel;
    for (int64_t k = 0; k < terms_; k++) {
      float sum = 0;
      for (int64_t split = 0; split < splits_; split++)
        sum += from[split * s.groups * perGroup() + k * block.vectors * lanes];
      dw[k] = sum;
    }
  }

  const Geometry& s;
  Context& context_;
  const Patches patches_;
  const int64_t terms_, high_;
  const std::vector<Band> bands_;
  // Of one group.
  const std::vector<Block> blocks_;
  // Bands of all images.
  const int64_t units_, splits_;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::patches
