// Convolution of few channels, pixels across the lanes: what the taps of the kernel read lies in rows, one per channel
// and tap, and is multiplied as a matrix. Results are written as they lie, without a change of layout.
//
// Every result is a sum over channels and taps in order: bands change no sum.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "conv-plan.h"
#include "conv-tile.h"
#include "kernel.h"
#include "products.h"

namespace birkhoff::BIRKHOFF_ISA::patches {
namespace {

// Bytes of patches that a work item keeps in the second-level cache, if a row of results has no more.
constexpr int64_t patchBytes = 1 << 17;
// With more channels the direct sums lose less than the patches cost, and with fewer features each patch is used too
// seldom.
constexpr int64_t fewChannels = 4, leastFeatures = 8;
// A band is a row of results at least: floats of its patches and of the rows that they are copied from, at most.
constexpr int64_t mostFloats = 1 << 18;
inline bool suits(const Geometry& g) {
  const int64_t patches = g.channels * volume(g.kernel) * g.out[2];
  const int64_t rows = g.kernel[0] * ((g.kernel[1] - 1) * g.dilation[1] + 1) * (g.size[2] + g.start[2]);
  return g.channels <= fewChannels && g.features >= leastFeatures && patches + rows <= mostFloats;
}

inline constexpr int rowsAtOnce = static_cast<int>(maxTile(2));

// y[p·yPitch + …] = bias[p] + Σ_k w[k][p] · x[k·xPitch + …] for P rows and V vectors of pixels, `tail` of them in the
// last vector.
template <int P, int V>
void multiply(const float* w, int64_t terms, const float* x, int64_t xPitch, const float* bias, float* y,
              int64_t yPitch, int64_t tail) {
  const auto pass = [&]<bool edge>(std::bool_constant<edge>) {
    vf sums[P][V];
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) {
      const vf start = bias ? broadcast(bias[p]) : vf{};
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sums[p][v] = start;
    }
    addProducts<edge>(sums, terms, w, 1, P, x, xPitch, tail);
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        float* to = y + p * yPitch + v * lanes;
        edge&& v == V - 1 ? storePartial(to, tail, sums[p][v]) : store(to, sums[p][v]);
      }
    }
  };
  tail == lanes ? pass(std::false_type{}) : pass(std::true_type{});
}

using Multiply = void (*)(const float* w, int64_t terms, const float* x, int64_t xPitch, const float* bias, float* y,
                          int64_t yPitch, int64_t tail);

template <int V, int... P>
Multiply pickMultiply(int64_t rows, std::integer_sequence<int, P...>) {
  static constexpr Multiply all[] = {multiply<P + 1, V>...};
  return all[rows - 1];
}

// `rows` rows are cut into tiles of nearly one size, and weights are packed tile after tile, term after term.
struct Tiles {
  int64_t rows, count;

  explicit Tiles(int64_t rows) : rows(rows), count(tileCount(rows, 2)) {}

  int64_t edge(int64_t tile) const { return rows * tile / count; }

  // weight(row, term)
  template <class Weight>
  void pack(int64_t terms, float* to, Weight&& weight) const {
    for (int64_t tile = 0; tile < count; tile++) {
      for (int64_t k = 0; k < terms; k++) {
        for (int64_t row = edge(tile); row < edge(tile + 1); row++) *to++ = weight(row, k);
      }
    }
  }

  // y[row·yPitch + pixel] from packed weights.
  void product(const float* w, int64_t terms, const float* x, int64_t xPitch, int64_t pixels, const float* bias,
               float* y, int64_t yPitch) const {
    constexpr std::make_integer_sequence<int, rowsAtOnce> sizes;
    for (int64_t pixel = 0; pixel < pixels; pixel += 2 * lanes) {
      const int64_t left = std::min<int64_t>(pixels - pixel, 2 * lanes), tail = (left - 1) % lanes + 1;
      for (int64_t tile = 0; tile < count; tile++) {
        const int64_t row = edge(tile), size = edge(tile + 1) - row;
        const Multiply kernel = left > lanes ? pickMultiply<2>(size, sizes) : pickMultiply<1>(size, sizes);
        kernel(w + row * terms, terms, x + pixel, xPitch, bias ? bias + row : nullptr, y + row * yPitch + pixel, yPitch,
               tail);
      }
    }
  }
};

// Rows of an image as taps read them: with padding, and columns sorted by what is left of them when divided by the
// stride, so that what a tap reads for neighbouring results are neighbours.
struct Columns {
  int64_t stride, dilation, start, size, out, pitch;

  explicit Columns(const Geometry& g)
      : stride(g.stride[2]), dilation(g.dilation[2]), start(g.start[2]), size(g.size[2]), out(g.out[2]) {
    const int64_t reach = out + (g.kernel[2] - 1) * dilation / stride + 1;
    pitch = std::max(reach, ceilDivide(size + start, stride) + 1) + lanes;
  }

  int64_t width() const { return stride * pitch; }
  // Where what tap `u` reads for result 0 lies.
  int64_t at(int64_t u) const { return u * dilation % stride * pitch + u * dilation / stride; }

  void read(const float* row, float* to) const {
    std::fill_n(to, width(), 0.0f);
    if (stride == 1) {
      std::copy_n(row, size, to + start);
      return;
    }
    for (int64_t phase = 0; phase < stride; phase++) {
      for (int64_t j = 0, i = phase - start; j < pitch && i < size; j++, i += stride) {
        if (i >= 0) to[phase * pitch + j] = row[i];
      }
    }
  }

  // The reverse: row = bias + from.
  void write(const float* from, float bias, float* row) const {
    if (stride == 1) {
      for (int64_t i = 0; i < size; i++) row[i] = bias + from[start + i];
      return;
    }
    for (int64_t phase = 0; phase < stride; phase++) {
      for (int64_t j = 0, i = phase - start; i < size; j++, i += stride) {
        if (i >= 0) row[i] = bias + from[phase * pitch + j];
      }
    }
  }
};

// Rows first to end - 1 of the results of one plane.
struct Band {
  int64_t plane, first, end;

  int64_t rows() const { return end - first; }
};

// Bands of `planes` planes with `rows` rows each.
inline std::vector<Band> bandsOf(int64_t planes, int64_t rows, int64_t high) {
  std::vector<Band> bands;
  const int64_t count = ceilDivide(rows, high);
  for (int64_t plane = 0; plane < planes; plane++) {
    for (int64_t i = 0; i < count; i++) bands.push_back({plane, rows * i / count, rows * (i + 1) / count});
  }
  return bands;
}

// What the taps read for a band of results: a row per channel and tap, pixel after pixel.
class Patches {
 public:
  explicit Patches(const Geometry& geometry) : s(geometry), columns_(geometry) {}

  int64_t terms() const { return s.channels * volume(s.kernel); }
  int64_t pitch(int64_t rows) const { return ceilDivide(rows * s.out[2] + lanes, lanes) * lanes + lanes; }
  // Rows of a band of which there are `wanted` at least.
  int64_t height(int64_t wanted) const {
    const int64_t each = terms() * s.out[2] + s.kernel[0] * s.stride[1] * columns_.width();
    const int64_t most = patchBytes / 4 / std::max<int64_t>(1, each);
    return std::max<int64_t>(1, std::min(most, s.out[1] / std::max<int64_t>(1, wanted)));
  }
  int64_t floats(int64_t rows) const { return terms() * pitch(rows) + s.kernel[0] * reach(rows) * columns_.width(); }

  // to: [term][pitch], with work area behind it. `image` has the channels of one group.
  void fill(const float* image, const Band& band, float* to) const {
    const int64_t step = pitch(band.rows()), high = reach(band.rows());
    float* rows = to + terms() * step;
    for (int64_t c = 0; c < s.channels; c++) {
      read(image + c * volume(s.size), band, rows);
      for (int64_t uz = 0; uz < s.kernel[0]; uz++) {
        for (int64_t uy = 0; uy < s.kernel[1]; uy++) {
          for (int64_t ux = 0; ux < s.kernel[2]; ux++, to += step) {
            const float* from = rows + (uz * high + uy * s.dilation[1]) * columns_.width() + columns_.at(ux);
            float* row = to;
            // What a row writes too much the next one replaces.
            for (int64_t i = 0; i < band.rows(); i++, row += s.out[2], from += s.stride[1] * columns_.width()) {
              for (int64_t j = 0; j < s.out[2]; j += lanes) store(row + j, load(from + j));
            }
          }
        }
      }
    }
  }

 private:
  int64_t reach(int64_t rows) const { return (rows - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1; }

  void read(const float* channel, const Band& band, float* to) const {
    const int64_t high = reach(band.rows());
    for (int64_t uz = 0; uz < s.kernel[0]; uz++) {
      const int64_t plane = band.plane * s.stride[0] + uz * s.dilation[0] - s.start[0];
      for (int64_t i = 0; i < high; i++, to += columns_.width()) {
        const int64_t row = band.first * s.stride[1] + i - s.start[1];
        if (plane < 0 || plane >= s.size[0] || row < 0 || row >= s.size[1]) {
          std::fill_n(to, columns_.width(), 0.0f);
        } else {
          columns_.read(channel + (plane * s.size[1] + row) * s.size[2], to);
        }
      }
    }
  }

  const Geometry& s;
  const Columns columns_;
};

class Forward {
 public:
  Forward(const Geometry& geometry, Context& context)
      : s(geometry), context_(context), patches_(geometry), tiles_(geometry.features) {}

  void run(const float* x, const float* w, const float* bias, float* y) const {
    const int64_t terms = patches_.terms(), each = s.features * terms, images = s.batch * s.groups;
    if (images == 0 || volume(s.out) == 0) return;
    const int64_t items = itemsToShare(context_, s), wanted = ceilDivide(items, images * s.out[0]);
    const int64_t high = patches_.height(wanted), area = patches_.floats(high);
    const std::vector<Band> bands = bandsOf(s.out[0], s.out[1], high);
    const int64_t perImage = static_cast<int64_t>(bands.size());
    float* weights = context_.scratch(s.groups * each);
    for (int64_t group = 0; group < s.groups; group++) {
      const float* from = w + group * each;
      tiles_.pack(terms, weights + group * each, [&](int64_t f, int64_t k) { return from[f * terms + k]; });
    }
    float* areas = context_.scratch(context_.threads() * area);
    context_.parallel(
        images * perImage, ceilDivide(images * perImage, items), [&](int64_t begin, int64_t end, int64_t thread) {
          float* rows = areas + thread * area;
          for (int64_t item = begin; item < end; item++) {
            const int64_t image = item / perImage, group = image % s.groups;
            const Band& band = bands[item % perImage];
            patches_.fill(x + image * s.channels * volume(s.size), band, rows);
            tiles_.product(weights + group * each, terms, rows, patches_.pitch(band.rows()), band.rows() * s.out[2],
                           bias ? bias + group * s.features : nullptr,
                           y + image * s.features * volume(s.out) + (band.plane * s.out[1] + band.first) * s.out[2],
                           volume(s.out));
          }
        });
  }

 private:
  const Geometry& s;
  Context& context_;
  const Patches patches_;
  const Tiles tiles_;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::patches
