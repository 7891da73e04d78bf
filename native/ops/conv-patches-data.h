// The data gradient of few channels, pixels across the lanes: what every tap of every channel sends back is a product
// of matrices that reads dy as it lies; its rows are added up where the taps reach.
//
// A pixel adds its taps in order, and each tap is a sum over features in order: bands change no sum.
#pragma once

#include <vector>

#include "conv-patches.h"

namespace birkhoff::BIRKHOFF_ISA::patches {
namespace {

class Data {
 public:
  Data(const Geometry& geometry, Context& context)
      : s(geometry), context_(context), columns_(geometry), height_(height()) {
    // Rows of dy at the edge of a band would be multiplied for both sides: then each row of the kernel has its own.
    together_ = height_ == s.size[1] ? s.kernel[1] : 1;
    tiles_ = Tiles(s.channels * together_ * s.kernel[2]);
  }

  void run(const float* dy, const float* w, const float* bias, float* dx) const {
    const int64_t images = s.batch * s.groups, each = tiles_.rows * s.features;
    if (images == 0 || volume(s.size) == 0) return;
    const int64_t products = tiles_.rows * pitch(), parts = s.kernel[0] * s.kernel[1] / together_;
    const int64_t area = products + s.channels * height_ * columns_.width();
    const std::vector<Band> bands = bandsOf(s.size[0], s.size[1], height_);
    const int64_t perImage = static_cast<int64_t>(bands.size());
    float* weights = context_.scratch(s.groups * parts * each);
    for (int64_t i = 0; i < s.groups * parts; i++) pack(i / parts, i % parts, w, weights + i * each);
    float* areas = context_.scratch(context_.threads() * area);
    context_.parallel(images * perImage, ceilDivide(images * perImage, itemsToShare(context_, s)),
                      [&](int64_t begin, int64_t end, int64_t thread) {
                        float *sent = areas + thread * area, *sums = sent + products;
                        for (int64_t item = begin; item < end; item++) {
                          const int64_t image = item / perImage, group = image % s.groups;
                          const Band& band = bands[item % perImage];
                          std::fill_n(sums, s.channels * band.rows() * columns_.width(), 0.0f);
                          for (int64_t part = 0; part < parts; part++) {
                            compute(band, part, dy + image * s.features * volume(s.out),
                                    weights + (group * parts + part) * each, sent, sums);
                          }
                          write(band, bias ? bias + group * s.channels : nullptr, sums,
                                dx + image * s.channels * volume(s.size));
                        }
                      });
  }

 private:
  // Pixels of the rows of dy that reach a band through the rows of the kernel that are multiplied together.
  int64_t pitch() const {
    const int64_t reach = (height_ - 1 + (together_ - 1) * s.dilation[1]) / s.stride[1] + 1;
    return ceilDivide(std::min(s.out[1], reach) * s.out[2], lanes) * lanes + lanes;
  }

  int64_t height() const {
    const int64_t images = std::max<int64_t>(1, s.batch * s.groups * s.size[0]);
    const int64_t wanted = ceilDivide(itemsToShare(context_, s), images);
    const int64_t taps = s.channels * s.kernel[1] * s.kernel[2];
    const int64_t most = patchBytes / 4 * s.stride[1] / std::max<int64_t>(1, taps * s.out[2]);
    return std::clamp<int64_t>(std::min(most, s.size[1] / wanted), 1, std::max<int64_t>(1, s.size[1]));
  }

  // Of one plane of the kernel and some of its rows.
  void pack(int64_t group, int64_t part, const float* w, float* to) const {
    const int64_t taps = together_ * s.kernel[2], all = volume(s.kernel);
    tiles_.pack(s.features, to, [&](int64_t row, int64_t f) {
      return w[((group * s.features + f) * s.channels + row / taps) * all + part * taps + row % taps];
    });
  }

  // sums: [channel][row of the band][columns]
  void compute(const Band& band, int64_t part, const float* dy, const float* weights, float* sent, float* sums) const {
    const int64_t uz = part * together_ / s.kernel[1], first = part * together_ % s.kernel[1];
    const int64_t distance = band.plane + s.start[0] - uz * s.dilation[0], plane = distance / s.stride[0];
    if (distance < 0 || distance % s.stride[0] != 0 || plane >= s.out[0]) return;
    const int64_t above = s.start[1] - first * s.dilation[1];
    const int64_t low =
        std::max<int64_t>(0, ceilDivide(band.first + above - (together_ - 1) * s.dilation[1], s.stride[1]));
    const int64_t high = std::min(s.out[1], ceilDivide(band.end + above, s.stride[1]));
    if (low >= high) return;
    const int64_t pixels = (high - low) * s.out[2], step = pitch();
    tiles_.product(weights, s.features, dy + (plane * s.out[1] + low) * s.out[2], volume(s.out), pixels, nullptr, sent,
                   step);
    for (int64_t c = 0; c < s.channels; c++) {
      for (int64_t uy = first; uy < first + together_; uy++) {
        for (int64_t ux = 0; ux < s.kernel[2]; ux++, sent += step)
          add(sent, band, low, high, uy, sums + c * band.rows() * columns_.width() + columns_.at(ux));
      }
    }
  }

  void add(const float* from, const Band& band, int64_t low, int64_t high, int64_t uy, float* to) const {
    for (int64_t o = low; o < high; o++, from += s.out[2]) {
      const int64_t row = o * s.stride[1] + uy * s.dilation[1] - s.start[1];
      if (row < band.first || row >= band.end) continue;
      float* sums = to + (row - band.first) * columns_.width();
      int64_t j = 0;
      for (; j + lanes <= s.out[2]; j += lanes) store(sums + j, load(sums + j) + load(from + j));
      if (j < s.out[2]) {
        const int64_t left = s.out[2] - j;
        storePartial(sums + j, left, loadPartial(sums + j, left) + loadPartial(from + j, left));
      }
    }
  }

  void write(const Band& band, const float* bias, const float* sums, float* dx) const {
    for (int64_t c = 0; c < s.channels; c++) {
      float* to = dx + c * volume(s.size) + (band.plane * s.size[1] + band.first) * s.size[2];
      for (int64_t i = 0; i < band.rows(); i++, to += s.size[2], sums += columns_.width())
        columns_.write(sums, bias ? bias[c] : 0.0f, to);
    }
  }

  const Geometry& s;
  Context& context_;
  const Columns columns_;
  // Rows of a band, and rows of the kernel that are multiplied together.
  const int64_t height_;
  int64_t together_ = 1;
  Tiles tiles_{0};
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::patches
