// The weight gradient. Rows of the batch are split as the sizes say, and splits are added in order: the result does not
// depend on the number of threads.
#pragma once

#include <vector>

#include "conv-plan.h"
#include "conv-tile.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// With fewer channels per group the tile runs along a row of the kernel instead of along channels.
constexpr int64_t fewChannels = 4;
// Channels and features of one work item at most: each of either is copied once per so many of the other, and their
// sums stay in the second cache.
constexpr int64_t itemChannels = 64, itemFeatures = 128;
// Floats of x and dy that are copied at once, if a row of results has no more.
constexpr int64_t copiedFloats = 1 << 17;
// With fewer products per element of x than this, channels are read where they are.
constexpr int64_t fewProducts = 80;
// Floats of dy that every tap reads before the next ones: they stay in the first cache.
constexpr int64_t usedFloats = 1 << 12;
// Rows are split until there is this much to share out, but no split has fewer pixels than this.
constexpr int64_t wantedWeightItems = 16, leastSplitPixels = 256;

class Weights {
 public:
  Weights(const Geometry& geometry, const float* dy, const float* x, Context& context)
      : s(geometry),
        dy_(dy),
        x_(x),
        context_(context),
        planes_(forwardAxis(s, 0)),
        rows_(forwardAxis(s, 1)),
        columns_(forwardAxis(s, 2)),
        kernelRows_(s.kernel[0] * s.kernel[1]),
        deep_(s.size[0] > 1 || s.out[0] > 1),
        packed_(packsGroups(s.groups, s.features)),
        alongKernel_(packed_ || s.channels < fewChannels),
        blocks_(channelBlocks(s.groups, s.features, packed_)),
        sets_(packed_ ? static_cast<int64_t>(blocks_.size()) : s.groups),
        blocksPerSet_(static_cast<int64_t>(blocks_.size()) / sets_) {
    const int64_t length = alongKernel_ ? s.kernel[2] : s.channels, vectors = blocks_.front().vectors;
    tiles_ = tileCount(length, vectors);
    for (int64_t t = 0; t <= tiles_; t++) edges_.push_back(length * t / tiles_);
    others_ = alongKernel_ ? s.channels : tiles_;
    inPlace_ = !alongKernel_ && s.features * volume(s.kernel) < fewProducts;
    unit_ = packed_ ? lanes : alongKernel_ || inPlace_ ? 1 : ceilDivide(ceilDivide(length, tiles_), lanes) * lanes;
    rowX_ = alongKernel_ ? (s.out[2] - 1) * s.stride[2] + (s.kernel[2] - 1) * s.dilation[2] + 1 : s.size[2];
    othersEach_ = alongKernel_ ? others_ : std::clamp<int64_t>(itemChannels * tiles_ / length, 1, tiles_);
    blocksEach_ = std::clamp<int64_t>(itemFeatures / (vectors * lanes), 1, blocksPerSet_);
    makeBands();
    const int64_t units = s.batch * static_cast<int64_t>(bands_.size());
    const int64_t pixels = s.batch * volume(s.out) / leastSplitPixels;
    splits_ =
        std::clamp<int64_t>(std::min(ceilDivide(wantedWeightItems, items()), pixels), 1, std::max<int64_t>(units, 1));
    for (const Block& block : blocks_) {
      sumOffsets_.push_back(splitSize_);
      splitSize_ += kernelRows_ * s.kernel[2] * s.channels * block.vectors * lanes;
    }
  }

  void run(float* dw) {
    const int64_t wanted = itemsToShare(context_, s), splits = splits_;
    while (splits * items() < wanted && blocksEach_ > 1) blocksEach_ = ceilDivide(blocksEach_, 2);
    while (splits * items() < wanted && othersEach_ > 1) othersEach_ = ceilDivide(othersEach_, 2);
    const int64_t down = ceilDivide(blocksPerSet_, blocksEach_), across = ceilDivide(others_, othersEach_);
    sums_ = context_.scratch(splits * splitSize_);
    const int64_t area = othersEach_ * copiedX_ + blocksEach_ * copiedDy_;
    float* areas = context_.scratch(context_.threads() * area);
    context_.parallel(splits * items(), ceilDivide(splits * items(), wanted),
                      [&](int64_t begin, int64_t end, int64_t thread) {
                        Lists lists;
                        for (int64_t i = begin; i < end; i++) {
                          const int64_t set = i / (across * down) % sets_, other = i % across * othersEach_,
                                        block = i / across % down * blocksEach_;
                          const Item item{i / (across * down * sets_),
                                          set,
                                          set * blocksPerSet_ + block,
                                          set * blocksPerSet_ + std::min(blocksPerSet_, block + blocksEach_),
                                          other,
                                          std::min(others_, other + othersEach_)};
                          compute(item, areas + thread * area, areas + thread * area + othersEach_ * copiedX_, lists);
                        }
                      });
    const int64_t positions = kernelRows_ * s.kernel[2] * s.channels, blocks = static_cast<int64_t>(blocks_.size());
    context_.parallel(blocks * positions, collectGrain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; i++) collect(i / positions, i % positions, dw);
    });
  }

 private:
  // Sums that one thread adds and moves at least.
  static constexpr int64_t collectGrain = 128;

  // Results first to end - 1 of one axis, and the rows of all planes of the image that they read.
  struct Band {
    int64_t first, end, row, rows;
  };

  // Of one split and one group, or packed block: blocks of features, and tiles of channels or, along the kernel,
  // channels.
  struct Item {
    int64_t split, set, block, blockEnd, other, otherEnd;
  };

  struct Lists {
    std::vector<int64_t> x, g;
  };

  // Of the first split, if there are no more.
  int64_t items() const { return sets_ * ceilDivide(blocksPerSet_, blocksEach_) * ceilDivide(others_, othersEach_); }

  // Sums are laid out [split][block][kernel row][tap][channel][lanes], or with [channel][tap] along the kernel.
  float* sumsOf(int64_t split, int64_t block) const { return sums_ + split * splitSize_ + sumOffsets_[block]; }
  int64_t position(int64_t u, int64_t v, int64_t c) const {
    return alongKernel_ ? (u * s.channels + c) * s.kernel[2] + v : (u * s.kernel[2] + v) * s.channels + c;
  }

  void makeBands() {
    const int axis = deep_ ? 0 : 1;
    const Axis& along = axis == 0 ? planes_ : rows_;
    const int64_t inner = deep_ ? s.size[1] : 1;
    innerOut_ = deep_ ? s.out[1] * s.out[2] : s.out[2];
    const int64_t each = othersEach_ * inner * rowX_ * unit_ * s.stride[axis] +
                         blocksEach_ * innerOut_ * blocks_.front().vectors * lanes;
    const int64_t high =
        std::clamp<int64_t>(copiedFloats / std::max<int64_t>(each, 1), 1, std::max<int64_t>(s.out[axis], 1));
    const int64_t count = volume(s.out) == 0 ? 0 : ceilDivide(s.out[axis], high);
    for (int64_t i = 0; i < count; i++) {
      const int64_t first = s.out[axis] * i / count, end = s.out[axis] * (i + 1) / count;
      const Span span = spanOf(along.phases[0], along.step, first, end, s.size[axis]);
      bands_.push_back({first, end, span.low * inner, span.count() * inner});
      if (!inPlace_) copiedX_ = std::max(copiedX_, span.count() * inner * rowX_ * unit_);
      copiedDy_ = std::max(copiedDy_, (end - first) * innerOut_ * maxVectors * lanes);
    }
  }

  void compute(const Item& item, float* x, float* g, Lists& lists) const {
    for (int64_t block = item.block; block < item.blockEnd; block++) {
      for (int64_t other = item.other; other < item.otherEnd; other++) clear(sumsOf(item.split, block), block, other);
    }
    const int64_t bands = static_cast<int64_t>(bands_.size()), units = s.batch * bands;
    for (int64_t unit = units * item.split / splits_; unit < units * (item.split + 1) / splits_; unit++) {
      const Band& band = bands_[unit % bands];
      const int64_t image = unit / bands;
      for (int64_t other = item.other; other < item.otherEnd && !inPlace_; other++) {
        float* to = x + (other - item.other) * copiedX_;
        alongKernel_ ? copyRows(image, item.set, other, band, to) : turnRows(image, item.set, other, band, to);
      }
      for (int64_t block = item.block; block < item.blockEnd; block++)
        copyGradient(image, blocks_[block], band, g + (block - item.block) * copiedDy_);
      for (int64_t block = item.block; block < item.blockEnd; block++) {
        const int64_t each = innerOut_ * blocks_[block].vectors * lanes;
        const int64_t high = std::max<int64_t>(1, usedFloats / each);
        const float* read = inPlace_ ? imageOf(image, item.set) + band.row * s.size[2] : x;
        for (int64_t first = band.first; first < band.end; first += high)
          accumulate(item, block, band, first, std::min(band.end, first + high), read,
                     g + (block - item.block) * copiedDy_, lists);
      }
    }
  }

  void clear(float* sums, int64_t block, int64_t other) const {
    const int64_t width = blocks_[block].vectors * lanes;
    for (int64_t u = 0; u < kernelRows_; u++) {
      for (int64_t v = 0; v < s.kernel[2]; v++) {
        const int64_t first = alongKernel_ ? other : edges_[other], end = alongKernel_ ? other + 1 : edges_[other + 1];
        std::fill_n(sums + position(u, v, first) * width, (end - first) * width, 0.0f);
      }
    }
  }

  // The channels of one group.
  const float* imageOf(int64_t image, int64_t group) const {
    return x_ + (image * s.groups + group) * s.channels * volume(s.size);
  }

  // to: [pixel][channel of the tile]
  void turnRows(int64_t image, int64_t set, int64_t tile, const Band& band, float* to) const {
    const int64_t area = volume(s.size), count = edges_[tile + 1] - edges_[tile];
    const float* from = imageOf(image, set) + edges_[tile] * area + band.row * s.size[2];
    for (int64_t c = 0; c < count; c += lanes) {
      const float* planes[lanes];
      const int64_t channels = std::min<int64_t>(lanes, count - c);
      for (int64_t i = 0; i < channels; i++) planes[i] = from + (c + i) * area;
      toLanes(to + c, unit_, planes, channels, band.rows * s.size[2]);
    }
  }

  // to: [row][pixel], or [row][pixel][lanes] where groups are packed. Padding becomes zeros, so that all taps of a row
  // reach the same pixels.
  void copyRows(int64_t image, int64_t set, int64_t channel, const Band& band, float* to) const {
    const int64_t left = std::min(s.start[2], rowX_), count = std::clamp<int64_t>(rowX_ - left, 0, s.size[2]);
    const int64_t area = volume(s.size);
    std::fill_n(to, band.rows * rowX_ * unit_, 0.0f);
    const float* from = x_ + image * s.groups * s.channels * area + band.row * s.size[2];
    for (int64_t i = 0; i < band.rows; i++, from += s.size[2]) {
      float* row = to + (i * rowX_ + left) * unit_;
      if (!packed_) {
        std::copy_n(from + (set * s.channels + channel) * area, count, row);
        continue;
      }
      const Block& block = blocks_[set];
      const float* planes[lanes];
      for (int64_t c = 0; c < block.channels; c++)
        planes[c] = from + ((block.channel + c) / s.features * s.channels + channel) * area;
      toLanes(row, lanes, planes, block.channels, count);
    }
  }

  // to: [pixel][feature of the block]
  void copyGradient(int64_t image, const Block& block, const Band& band, float* to) const {
    const int64_t area = volume(s.out);
    const float* from = dy_ + (image * s.groups * s.features + block.channel) * area + band.first * innerOut_;
    for (int64_t v = 0; v < block.vectors; v++) {
      const float* planes[lanes];
      const int64_t channels = std::min<int64_t>(lanes, block.channels - v * lanes);
      for (int64_t c = 0; c < channels; c++) planes[c] = from + (v * lanes + c) * area;
      toLanes(to + v * lanes, block.vectors * lanes, planes, channels, (band.end - band.first) * innerOut_);
    }
  }

  // Results first to end - 1 of a band.
  void accumulate(const Item& item, int64_t index, const Band& band, int64_t first, int64_t end, const float* x,
                  const float* g, Lists& lists) const {
    const Block& block = blocks_[index];
    const int64_t width = block.vectors * lanes;
    float* sums = sumsOf(item.split, index);
    const int64_t area = volume(s.size), pitch = alongKernel_ ? s.dilation[2] * unit_ : inPlace_ ? area : 1;
    const Factor factor = packed_ ? Factor::vector : pitch == 1 ? Factor::unit : Factor::strided;
    for (const Tap& above : planes_.phases[0].taps) {
      const int64_t k0 = deep_ ? std::max(above.low, first) : above.low,
                    k1 = deep_ ? std::min(above.high, end) : above.high;
      for (const Tap& tap : rows_.phases[0].taps) {
        const int64_t i0 = deep_ ? tap.low : std::max(tap.low, first), i1 = deep_ ? tap.high : std::min(tap.high, end);
        if (k0 >= k1 || i0 >= i1) continue;
        const int64_t u = above.index * s.kernel[1] + tap.index;
        // `low`: the first pixel of a row that a tap reaches; `start`: where it reads for it.
        const auto listRows = [&](int64_t start, int64_t low) {
          lists.x.clear();
          lists.g.clear();
          for (int64_t k = k0; k < k1; k++) {
            for (int64_t i = i0; i < i1; i++) {
              const int64_t row = (above.start + k * planes_.step) * s.size[1] + tap.start + i * rows_.step - band.row;
              const int64_t pixel = deep_ ? ((k - band.first) * s.out[1] + i) * s.out[2] : (i - band.first) * s.out[2];
              lists.x.push_back((row * rowX_ + start) * unit_);
              lists.g.push_back((pixel + low) * width);
            }
          }
        };
        const auto multiply = [&](int64_t other, int64_t v, int64_t count, int64_t pixels) {
          const Terms terms{lists.x.data(), lists.g.data(), static_cast<int64_t>(lists.x.size()), pixels,
                            s.stride[2] * unit_};
          const int64_t channel = alongKernel_ ? other : edges_[other];
          const float* from = inPlace_ ? x + channel * area : x + (other - item.other) * copiedX_;
          findTile(factor, block.vectors, count)(sums + position(u, v, channel) * width, from, g, terms, pitch);
        };
        if (alongKernel_) {
          for (int64_t t = 0; t < tiles_; t++) {
            listRows(edges_[t] * s.dilation[2], 0);
            for (int64_t other = item.other; other < item.otherEnd; other++)
              multiply(other, edges_[t], edges_[t + 1] - edges_[t], s.out[2]);
          }
          continue;
        }
        for (const Tap& column : columns_.phases[0].taps) {
          listRows(column.start + column.low * columns_.step, column.low);
          for (int64_t other = item.other; other < item.otherEnd; other++)
            multiply(other, column.index, edges_[other + 1] - edges_[other], column.high - column.low);
        }
      }
    }
  }

  // One weight of every feature of a block.
  void collect(int64_t index, int64_t at, float* dw) const {
    const Block& block = blocks_[index];
    const int64_t taps = s.kernel[2], row = at / (taps * s.channels);
    const int64_t c = alongKernel_ ? at / taps % s.channels : at % s.channels;
    const int64_t v = alongKernel_ ? at % taps : at / s.channels % taps;
    float* to = dw + block.channel * s.channels * kernelRows_ * taps + (c * kernelRows_ + row) * taps + v;
    for (int64_t first = 0; first < block.channels; first += lanes) {
      vf sum{};
      for (int64_t split = 0; split < splits_; split++)
        sum += load(sumsOf(split, index) + at * block.vectors * lanes + first);
      const int64_t count = std::min<int64_t>(lanes, block.channels - first);
      for (int64_t l = 0; l < count; l++, to += s.channels * kernelRows_ * taps) *to = sum[l];
    }
  }

  const Geometry& s;
  const float *dy_, *x_;
  Context& context_;
  const Axis planes_, rows_, columns_;
  // Rows of all planes of the kernel.
  const int64_t kernelRows_;
  // Whether bands are planes, with all their rows; else rows of the one plane.
  const bool deep_;
  const bool packed_, alongKernel_;
  bool inPlace_;
  const std::vector<Block> blocks_;
  // Groups, or packed blocks.
  const int64_t sets_, blocksPerSet_;
  // Of channels, or along the kernel of its taps.
  int64_t tiles_;
  std::vector<int64_t> edges_;
  // Tiles of channels, or along the kernel channels.
  int64_t others_;
  // Of a work item.
  int64_t othersEach_, blocksEach_;
  // Floats of a pixel, pixels of a row of what is copied; floats of all of it for one of `others_`, and for one block.
  int64_t unit_, rowX_, copiedX_ = 0, copiedDy_ = 0;
  std::vector<Band> bands_;
  int64_t innerOut_ = 0, splits_ = 1, splitSize_ = 0;
  std::vector<int64_t> sumOffsets_;
  float* sums_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
