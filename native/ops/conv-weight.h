// The weight gradient. Every weight belongs to one work item per split of the batch, and splits are added in order:
// the result does not depend on the number of threads.
#pragma once

#include <vector>

#include "conv-plan.h"
#include "conv-tile.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// With fewer channels per group the tile runs along a row of the kernel instead of along channels.
constexpr int64_t fewChannels = 4;
// The batch is split until there is this much to share out.
constexpr int64_t wantedWeightItems = 16;

class Weights {
 public:
  Weights(const Geometry& geometry, const float* dy, const float* x, Context& context)
      : s(geometry),
        dy_(dy),
        image_(x),
        x_(x),
        context_(context),
        planes_(forwardAxis(s, 0)),
        rows_(forwardAxis(s, 1)),
        columns_(forwardAxis(s, 2)),
        kernelRows_(s.kernel[0] * s.kernel[1]),
        imageRows_(s.size[0] * s.size[1]) {
    packed_ = packsGroups(s.groups, s.features);
    alongKernel_ = packed_ || s.channels < fewChannels;
    blocks_ = channelBlocks(s.groups, s.features, packed_);
    const int64_t length = alongKernel_ ? s.kernel[2] : s.channels;
    tiles_ = tileCount(length, blocks_.front().vectors);
    for (int64_t t = 0; t <= tiles_; t++) edges_.push_back(length * t / tiles_);
    // An item is a block of features, a row of the kernel, and a tile of channels or, along the kernel, one channel.
    others_ = alongKernel_ ? s.channels : tiles_;
    const int64_t items = static_cast<int64_t>(blocks_.size()) * kernelRows_ * others_;
    splits_ = std::clamp<int64_t>(ceilDivide(wantedWeightItems, items), 1, std::max<int64_t>(s.batch, 1));
  }

  void run(float* dw) {
    prepare();
    const int64_t blocks = static_cast<int64_t>(blocks_.size()), perSplit = blocks * kernelRows_ * others_;
    context_.parallel(splits_ * perSplit, 1, [&](int64_t begin, int64_t end, int64_t) {
      std::vector<int64_t> x, g;
      for (int64_t item = begin; item < end; item++) {
        const int64_t split = item / perSplit, other = item % others_, u = item / others_ % kernelRows_;
        accumulate(item % perSplit / (others_ * kernelRows_), u, other, split, x, g);
      }
    });
    context_.parallel(s.groups * s.features, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t o = begin; o < end; o++) collect(o, dw + o * s.channels * kernelRows_ * s.kernel[2]);
    });
  }

 private:
  // Sums are laid out [split][block][kernel row][tap][channel][lanes], or with [channel][tap] along the kernel.
  float* sumsOf(int64_t split, int64_t block) const { return sums_ + split * splitSize_ + sumOffsets_[block]; }
  int64_t position(int64_t u, int64_t v, int64_t c) const {
    return alongKernel_ ? (u * s.channels + c) * s.kernel[2] + v : (u * s.kernel[2] + v) * s.channels + c;
  }

  // Copies dy with its channels across the lanes, and x where the tile cannot read it as it is.
  void prepare() {
    const int64_t area = volume(s.out), blocks = static_cast<int64_t>(blocks_.size());
    int64_t lanesOfAll = 0;
    splitSize_ = 0;
    for (const Block& block : blocks_) {
      gOffsets_.push_back(lanesOfAll * area);
      sumOffsets_.push_back(splitSize_);
      lanesOfAll += block.vectors * lanes;
      splitSize_ += kernelRows_ * s.kernel[2] * s.channels * block.vectors * lanes;
    }
    imageG_ = lanesOfAll * area;
    g_ = context_.scratch(s.batch * imageG_);
    sums_ = context_.scratch(splits_ * splitSize_);
    context_.parallel(s.batch * blocks, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++) {
        const Block& block = blocks_[item % blocks];
        const float* from = dy_ + (item / blocks * s.groups * s.features + block.channel) * area;
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
    rowX_ = s.size[2];
    const int64_t needed = (s.out[2] - 1) * s.stride[2] + (s.kernel[2] - 1) * s.dilation[2] + 1;
    if (!packed_ && (!alongKernel_ || (s.start[2] == 0 && needed <= s.size[2]))) return;
    // Padding becomes zeros, so that all taps of a row reach the same pixels.
    rowX_ = needed;
    const int64_t sets = packed_ ? blocks : s.groups, size = imageRows_ * rowX_ * unit_;
    float* copy = context_.scratch(s.batch * sets * s.channels * size);
    x_ = copy;
    context_.parallel(s.batch * sets * s.channels, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++)
        copyPlanes(item / (sets * s.channels), item / s.channels % sets, item % s.channels, copy + item * size);
    });
  }

  void copyPlanes(int64_t image, int64_t set, int64_t channel, float* to) const {
    const int64_t left = std::min(s.start[2], rowX_), count = std::clamp<int64_t>(rowX_ - left, 0, s.size[2]);
    std::fill(to, to + imageRows_ * rowX_ * unit_, 0.0f);
    const float* from = image_ + image * s.groups * s.channels * imageRows_ * s.size[2];
    for (int64_t i = 0; i < imageRows_; i++) {
      float* row = to + (i * rowX_ + left) * unit_;
      if (!packed_) {
        const float* source = from + ((set * s.channels + channel) * imageRows_ + i) * s.size[2];
        std::copy(source, source + count, row);
        continue;
      }
      const Block& block = blocks_[set];
      const float* planes[lanes];
      for (int64_t c = 0; c < block.channels; c++) {
        const int64_t group = (block.channel + c) / s.features;
        planes[c] = from + ((group * s.channels + channel) * imageRows_ + i) * s.size[2];
      }
      toLanes(row, lanes, planes, block.channels, count);
    }
  }

  void accumulate(int64_t index, int64_t u, int64_t other, int64_t split, std::vector<int64_t>& x,
                  std::vector<int64_t>& g) const {
    const Block& block = blocks_[index];
    const int64_t width = block.vectors * lanes, sets = packed_ ? static_cast<int64_t>(blocks_.size()) : s.groups;
    const int64_t set = packed_ ? index : block.channel / s.features;
    const int64_t plane = imageRows_ * rowX_ * unit_;
    float* sums = sumsOf(split, index);
    const int64_t firstChannel = alongKernel_ ? other : edges_[other],
                  endChannel = alongKernel_ ? other + 1 : edges_[other + 1];
    for (int64_t v = 0; v < s.kernel[2]; v++) {
      float* from = sums + position(u, v, firstChannel) * width;
      std::fill(from, from + (endChannel - firstChannel) * width, 0.0f);
    }
    const Tap *above = find(planes_, u / s.kernel[1]), *tap = find(rows_, u % s.kernel[1]);
    if (!above || !tap) return;

    // Tiles of one item: taps of a padded row, or one per tap for the pixels that it reaches.
    struct Piece {
      float* sums;
      int64_t start, low, high, count;
    };
    std::vector<Piece> pieces;
    if (alongKernel_) {
      for (int64_t t = 0; t < tiles_; t++) {
        pieces.push_back({sums + position(u, edges_[t], other) * width, edges_[t] * s.dilation[2], 0, s.out[2],
                          edges_[t + 1] - edges_[t]});
      }
    } else {
      for (const Tap& each : columns_.phases[0].taps) {
        pieces.push_back({sums + position(u, each.index, firstChannel) * width, each.start, each.low, each.high,
                          endChannel - firstChannel});
      }
    }
    const int64_t pitch = alongKernel_ ? s.dilation[2] * unit_ : plane;
    const Factor factor = packed_ ? Factor::vector : pitch == 1 ? Factor::unit : Factor::strided;
    for (int64_t n = s.batch * split / splits_; n < s.batch * (split + 1) / splits_; n++) {
      const float* image = x_ + ((n * sets + set) * s.channels + firstChannel) * plane;
      const float* gradient = g_ + n * imageG_ + gOffsets_[index];
      for (const Piece& piece : pieces) {
        x.clear();
        g.clear();
        for (int64_t k = above->low; k < above->high; k++) {
          const int64_t plane = above->start + k * planes_.step;
          for (int64_t i = tap->low; i < tap->high; i++) {
            const int64_t row = plane * s.size[1] + tap->start + i * rows_.step;
            x.push_back((row * rowX_ + piece.start + piece.low * s.stride[2]) * unit_);
            g.push_back(((k * s.out[1] + i) * s.out[2] + piece.low) * width);
          }
        }
        const Terms terms{x.data(), g.data(), static_cast<int64_t>(x.size()), piece.high - piece.low,
                          s.stride[2] * unit_};
        findTile(factor, block.vectors, piece.count)(piece.sums, image, gradient, terms, pitch);
      }
    }
  }

  // The tap of a kernel's row or plane, unless it reaches nothing.
  static const Tap* find(const Axis& axis, int64_t index) {
    for (const Tap& tap : axis.phases[0].taps) {
      if (tap.index == index) return &tap;
    }
    return nullptr;
  }

  void collect(int64_t feature, float* dw) const {
    int64_t index = 0;
    while (feature >= blocks_[index].channel + blocks_[index].channels) index++;
    const Block& block = blocks_[index];
    for (int64_t c = 0; c < s.channels; c++) {
      for (int64_t u = 0; u < kernelRows_; u++) {
        for (int64_t v = 0; v < s.kernel[2]; v++) {
          const int64_t at = position(u, v, c) * block.vectors * lanes + feature - block.channel;
          float sum = 0;
          for (int64_t split = 0; split < splits_; split++) sum += sumsOf(split, index)[at];
          *dw++ = sum;
        }
      }
    }
  }

  const Geometry& s;
  const float *dy_, *image_;
  // What the tiles read: the image, or a copy.
  const float* x_;
  Context& context_;
  Axis planes_, rows_, columns_;
  // Rows of all planes.
  int64_t kernelRows_, imageRows_;
  bool packed_, alongKernel_;
  std::vector<Block> blocks_;
  int64_t tiles_, others_, splits_;
  std::vector<int64_t> edges_, gOffsets_, sumOffsets_;
  int64_t imageG_ = 0, splitSize_ = 0, rowX_ = 0, unit_ = 1;
  float *g_ = nullptr, *sums_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
