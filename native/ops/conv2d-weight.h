// The weight gradient. Every weight belongs to one work item per split of the batch, and splits are added in order:
// the result does not depend on the number of threads.
#pragma once

#include <vector>

#include "conv2d-plan.h"
#include "conv2d-tile.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// With fewer channels per group the tile runs along a row of the kernel instead of along channels.
constexpr int64_t fewChannels = 4;
// The batch is split until there is this much to share out.
constexpr int64_t wantedWeightItems = 16;

struct Sizes {
  int64_t batch, groups, channels, features;
  int64_t height, width, kernelHeight, kernelWidth, rows, columns;
  Axis vertical, horizontal;
  int64_t strideX, dilationX, paddingX;
  const float *dy, *x;
};

class Weights {
 public:
  Weights(const Sizes& sizes, Context& context) : s(sizes), context_(context) {
    packed_ = packsGroups(s.groups, s.features);
    alongKernel_ = packed_ || s.channels < fewChannels;
    blocks_ = channelBlocks(s.groups, s.features, packed_);
    const int64_t length = alongKernel_ ? s.kernelWidth : s.channels;
    tiles_ = tileCount(length, blocks_.front().vectors);
    for (int64_t t = 0; t <= tiles_; t++) edges_.push_back(length * t / tiles_);
    // An item is a block of features, a row of the kernel, and a tile of channels or, along the kernel, one channel.
    others_ = alongKernel_ ? s.channels : tiles_;
    const int64_t items = static_cast<int64_t>(blocks_.size()) * s.kernelHeight * others_;
    splits_ = std::clamp<int64_t>(ceilDivide(wantedWeightItems, items), 1, std::max<int64_t>(s.batch, 1));
  }

  void run(float* dw) {
    prepare();
    const int64_t blocks = static_cast<int64_t>(blocks_.size()), perSplit = blocks * s.kernelHeight * others_;
    context_.parallel(splits_ * perSplit, 1, [&](int64_t begin, int64_t end, int64_t) {
      std::vector<int64_t> x, g;
      for (int64_t item = begin; item < end; item++) {
        const int64_t split = item / perSplit, other = item % others_, u = item / others_ % s.kernelHeight;
        accumulate(item % perSplit / (others_ * s.kernelHeight), u, other, split, x, g);
      }
    });
    context_.parallel(s.groups * s.features, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t o = begin; o < end; o++) collect(o, dw + o * s.channels * s.kernelHeight * s.kernelWidth);
    });
  }

 private:
  // Sums are laid out [split][block][kernel row][tap][channel][lanes], or with [channel][tap] along the kernel.
  float* sumsOf(int64_t split, int64_t block) const { return sums_ + split * splitSize_ + sumOffsets_[block]; }
  int64_t position(int64_t u, int64_t v, int64_t c) const {
    return alongKernel_ ? (u * s.channels + c) * s.kernelWidth + v : (u * s.kernelWidth + v) * s.channels + c;
  }

  // Copies dy with its channels across the lanes, and x where the tile cannot read it as it is.
  void prepare() {
    const int64_t area = s.rows * s.columns, blocks = static_cast<int64_t>(blocks_.size());
    int64_t lanesOfAll = 0;
    splitSize_ = 0;
    for (const Block& block : blocks_) {
      gOffsets_.push_back(lanesOfAll * area);
      sumOffsets_.push_back(splitSize_);
      lanesOfAll += block.vectors * lanes;
      splitSize_ += s.kernelHeight * s.kernelWidth * s.channels * block.vectors * lanes;
    }
    imageG_ = lanesOfAll * area;
    g_ = context_.scratch(s.batch * imageG_);
    sums_ = context_.scratch(splits_ * splitSize_);
    context_.parallel(s.batch * blocks, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++) {
        const Block& block = blocks_[item % blocks];
        const float* from = s.dy + (item / blocks * s.groups * s.features + block.channel) * area;
        float* to = g_ + item / blocks * imageG_ + gOffsets_[item % blocks];
        for (int64_t v = 0; v < block.vectors; v++) {
          const float* planes[lanes];
          const int64_t channels = std::min<int64_t>(lanes, block.channels - v * lanes);
          for (int64_t c = 0; c < channels; c++) planes[c] = from + (v * lanes + c) * area;
          toLanes(to + v * lanes, block.vectors * lanes, planes, channels, area);
        }
      }
    });

    unit_ = packed_ ? lanes : 1;
    x_ = s.x;
    rowX_ = s.width;
    const int64_t needed = (s.columns - 1) * s.strideX + (s.kernelWidth - 1) * s.dilationX + 1;
    if (!packed_ && (!alongKernel_ || (s.paddingX == 0 && needed <= s.width))) return;
    // Padding becomes zeros, so that all taps of a row reach the same pixels.
    rowX_ = needed;
    const int64_t sets = packed_ ? blocks : s.groups, size = s.height * rowX_ * unit_;
    float* copy = context_.scratch(s.batch * sets * s.channels * size);
    x_ = copy;
    context_.parallel(s.batch * sets * s.channels, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++)
        copyPlanes(item / (sets * s.channels), item / s.channels % sets, item % s.channels, copy + item * size);
    });
  }

  void copyPlanes(int64_t image, int64_t set, int64_t channel, float* to) const {
    const int64_t left = std::min(s.paddingX, rowX_), count = std::clamp<int64_t>(rowX_ - left, 0, s.width);
    std::fill(to, to + s.height * rowX_ * unit_, 0.0f);
    const float* from = s.x + image * s.groups * s.channels * s.height * s.width;
    for (int64_t i = 0; i < s.height; i++) {
      float* row = to + (i * rowX_ + left) * unit_;
      if (!packed_) {
        const float* source = from + ((set * s.channels + channel) * s.height + i) * s.width;
        std::copy(source, source + count, row);
        continue;
      }
      const Block& block = blocks_[set];
      const float* planes[lanes];
      for (int64_t c = 0; c < block.channels; c++) {
        const int64_t group = (block.channel + c) / s.features;
        planes[c] = from + ((group * s.channels + channel) * s.height + i) * s.width;
      }
      toLanes(row, lanes, planes, block.channels, count);
    }
  }

  void accumulate(int64_t index, int64_t u, int64_t other, int64_t split, std::vector<int64_t>& x,
                  std::vector<int64_t>& g) const {
    const Block& block = blocks_[index];
    const int64_t width = block.vectors * lanes, sets = packed_ ? static_cast<int64_t>(blocks_.size()) : s.groups;
    const int64_t set = packed_ ? index : block.channel / s.features;
    const int64_t plane = s.height * rowX_ * unit_;
    float* sums = sumsOf(split, index);
    const int64_t firstChannel = alongKernel_ ? other : edges_[other],
                  endChannel = alongKernel_ ? other + 1 : edges_[other + 1];
    for (int64_t v = 0; v < s.kernelWidth; v++) {
      float* from = sums + position(u, v, firstChannel) * width;
      std::fill(from, from + (endChannel - firstChannel) * width, 0.0f);
    }
    const auto& taps = s.vertical.phases[0].taps;
    const auto tap = std::find_if(taps.begin(), taps.end(), [&](const Tap& each) { return each.index == u; });
    if (tap == taps.end()) return;

    // Tiles of one item: taps of a padded row, or one per tap for the pixels that it reaches.
    struct Piece {
      float* sums;
      int64_t start, low, high, count;
    };
    std::vector<Piece> pieces;
    if (alongKernel_) {
      for (int64_t t = 0; t < tiles_; t++) {
        pieces.push_back({sums + position(u, edges_[t], other) * width, edges_[t] * s.dilationX, 0, s.columns,
                          edges_[t + 1] - edges_[t]});
      }
    } else {
      for (const Tap& each : s.horizontal.phases[0].taps) {
        pieces.push_back({sums + position(u, each.index, firstChannel) * width, each.start, each.low, each.high,
                          endChannel - firstChannel});
      }
    }
    const int64_t pitch = alongKernel_ ? s.dilationX * unit_ : plane;
    const Factor factor = packed_ ? Factor::vector : pitch == 1 ? Factor::unit : Factor::strided;
    for (int64_t n = s.batch * split / splits_; n < s.batch * (split + 1) / splits_; n++) {
      const float* image = x_ + ((n * sets + set) * s.channels + firstChannel) * plane;
      const float* gradient = g_ + n * imageG_ + gOffsets_[index];
      for (const Piece& piece : pieces) {
        x.clear();
        g.clear();
        for (int64_t i = tap->low; i < tap->high; i++) {
          x.push_back(((tap->start + i * s.vertical.step) * rowX_ + piece.start + piece.low * s.strideX) * unit_);
          g.push_back((i * s.columns + piece.low) * width);
        }
        const Terms terms{x.data(), g.data(), static_cast<int64_t>(x.size()), piece.high - piece.low,
                          s.strideX * unit_};
        findTile(factor, block.vectors, piece.count)(piece.sums, image, gradient, terms, pitch);
      }
    }
  }

  void collect(int64_t feature, float* dw) const {
    int64_t index = 0;
    while (feature >= blocks_[index].channel + blocks_[index].channels) index++;
    const Block& block = blocks_[index];
    for (int64_t c = 0; c < s.channels; c++) {
      for (int64_t u = 0; u < s.kernelHeight; u++) {
        for (int64_t v = 0; v < s.kernelWidth; v++) {
          const int64_t at = position(u, v, c) * block.vectors * lanes + feature - block.channel;
          float sum = 0;
          for (int64_t split = 0; split < splits_; split++) sum += sumsOf(split, index)[at];
          *dw++ = sum;
        }
      }
    }
  }

  const Sizes& s;
  Context& context_;
  bool packed_, alongKernel_;
  std::vector<Block> blocks_;
  int64_t tiles_, others_, splits_;
  std::vector<int64_t> edges_, gOffsets_, sumOffsets_;
  int64_t imageG_ = 0, splitSize_ = 0, rowX_ = 0, unit_ = 1;
  const float* x_ = nullptr;
  float *g_ = nullptr, *sums_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
