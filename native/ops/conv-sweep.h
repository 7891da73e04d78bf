// Forward and data gradient: one sweep over result pixels that reads only taps inside of the image.
#pragma once

#include <utility>
#include <vector>

#include "conv-plan.h"
#include "conv-tile.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Source channels whose weights are used together: the lines of one row of the image stay in the first cache until the
// next tap of the row reads them.
constexpr int64_t channelBlock(int64_t taps) { return taps == 1 ? 128 : taps == 2 ? 64 : 32; }
// Bytes of weights per call of a tile, and of sums that a work item keeps.
constexpr int64_t weightBytes = 36864;
constexpr int64_t sumBytes = 49152;
// Weights that one thread rearranges at least.
constexpr int64_t packGrain = 4096;

struct Sweep {
  int64_t batch, groups;
  // Channels per group of what is read and of what is computed.
  int64_t sources, results;
  Extent source, result, kernel;
  Axis planes, rows, columns;
  // weights[channel][source][tap]: distances, and whether channels count within the group.
  int64_t channelStride, sourceStride, groupStride;
  const float *from, *weights, *bias;
  float* to;
  // To share out, at least.
  int64_t items;

  int64_t taps() const { return volume(kernel); }
};

// Rows of one phase and plane of the result, and a strip of their columns, of all phases: what one work item computes
// for one block of channels.
struct Band {
  const Phase *planes, *rows;
  int64_t plane, row, rowEnd, strip;

  int64_t height() const { return rowEnd - row; }
};

// Neighbouring columns of the result: `count` from `first` on. Sums lie phase after phase; order[i] says where those of
// column first + i are.
struct Strip {
  struct Part {
    std::vector<Run> runs;
    // The phase's first pixel in the strip, and where its sums are.
    int64_t first, at;
  };
  int64_t first, count;
  std::vector<Part> parts;
  std::vector<int64_t> order;
};

class Sweeper {
 public:
  Sweeper(const Sweep& sweep, Context& context) : s(sweep), context_(context) {
    summed_ = sumsLanes(s.sources, s.results);
    packed_ = summed_ || packsGroups(s.groups, s.results);
    sources_ = summed_ ? ceilDivide(s.sources, lanes) : s.sources;
    size_t taps = 1;
    for (const Phase& phase : s.columns.phases) taps = std::max(taps, phase.taps.size());
    together_ = channelBlock(static_cast<int64_t>(taps));
    if (summed_) {
      for (int64_t c = 0; c < s.groups * s.results; c++) blocks_.push_back({c, 1, 1});
    } else {
      blocks_ = channelBlocks(s.groups, s.results, packed_);
    }
    makeStrips();
    makeBands();
  }

  void run() {
    packWeights();
    const int64_t threads = context_.threads();
    int64_t sums = 0, sourceRows = 0;
    for (const Band& band : bands_) {
      sums = std::max(sums, band.height() * strips_[band.strip].count * maxVectors * lanes);
      sourceRows = std::max(sourceRows, planesOf(band).count() * rowsOf(band).count());
    }
    const int64_t copy = packed_ ? sources_ * sourceRows * s.source[2] * lanes : 0;
    float* areas = context_.scratch(threads * (sums + copy));
    const int64_t perImage = static_cast<int64_t>(blocks_.size() * bands_.size());
    context_.parallel(
        s.batch * perImage, ceilDivide(s.batch * perImage, s.items), [&](int64_t begin, int64_t end, int64_t thread) {
          float* area = areas + thread * (sums + copy);
          Lists lists;
          for (int64_t item = begin; item < end; item++) {
            const int64_t block = item % perImage / static_cast<int64_t>(bands_.size());
            const Band& band = bands_[item % bands_.size()];
            compute(item / perImage, blocks_[block], weights_ + offsets_[block], band, area, area + sums, lists);
            finish(item / perImage, blocks_[block], band, area);
          }
        });
  }

 private:
  struct Lists {
    std::vector<int64_t> x, w;
    std::vector<const Tap*> planes, rows;
    // Rows of the kernel that reach a row of the result: where they read, in rows of the source, and which they are.
    std::vector<std::pair<int64_t, int64_t>> taps;
  };

  void makeStrips() {
    const int64_t vectors = blocks_.front().vectors, spacing = s.columns.spacing, size = s.result[2];
    const int64_t longest = s.columns.phases.empty() ? 0 : s.columns.phases.front().count;
    const int64_t most = std::max<int64_t>(1, sumBytes / (spacing * vectors * lanes * 4) / maxTile(vectors));
    const int64_t strips = ceilDivide(tileCount(longest, vectors), most);
    for (int64_t i = 0; i < strips; i++) {
      const int64_t low = longest * i / strips, high = longest * (i + 1) / strips;
      Strip strip{low * spacing, std::min(high * spacing, size) - low * spacing, {}, {}};
      strip.order.resize(strip.count);
      int64_t at = 0;
      for (const Phase& phase : s.columns.phases) {
        const int64_t end = std::min(high, phase.count);
        strip.parts.push_back({columnRuns(phase, low, end, vectors), low, at});
        for (int64_t pixel = low; pixel < end; pixel++) strip.order[phase.first + pixel * spacing - strip.first] = at++;
      }
      strips_.push_back(std::move(strip));
    }
  }

  void makeBands() {
    int64_t planes = 0, phases = 0;
    for (const Phase& each : s.planes.phases) planes += each.count;
    for (const Phase& rows : s.rows.phases) phases += rows.count > 0;
    const int64_t items = std::max<int64_t>(1, s.batch * static_cast<int64_t>(blocks_.size()) * phases * planes);
    const int64_t most = sumBytes / (blocks_.front().vectors * lanes * 4);
    for (const Phase& each : s.planes.phases) {
      for (const Phase& rows : s.rows.phases) {
        const int64_t wanted = ceilDivide(rows.count, ceilDivide(s.items, items));
        for (size_t strip = 0; strip < strips_.size() && wanted > 0; strip++) {
          const int64_t fitting = std::max<int64_t>(1, most / strips_[strip].count);
          const int64_t count = ceilDivide(rows.count, std::min(fitting, wanted));
          for (int64_t i = 0; i < each.count * count; i++) {
            const int64_t plane = i / count, part = i % count;
            bands_.push_back({&each, &rows, plane, rows.count * part / count, rows.count * (part + 1) / count,
                              static_cast<int64_t>(strip)});
          }
        }
      }
    }
  }

  // Planes and rows of the source that a band reads.
  Span planesOf(const Band& band) const {
    return spanOf(*band.planes, s.planes.step, band.plane, band.plane + 1, s.source[0]);
  }
  Span rowsOf(const Band& band) const { return spanOf(*band.rows, s.rows.step, band.row, band.rowEnd, s.source[1]); }

  void packWeights() {
    int64_t total = 0;
    for (const Block& block : blocks_) {
      offsets_.push_back(total);
      total += sources_ * s.taps() * block.vectors * lanes;
    }
    weights_ = context_.scratch(total);
    const int64_t blocks = static_cast<int64_t>(blocks_.size()),
                  grain = packGrain / (sources_ * maxVectors * lanes) + 1;
    context_.parallel(blocks * s.taps(), grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; item++)
        packTap(blocks_[item / s.taps()], item % s.taps(), weights_ + offsets_[item / s.taps()]);
    });
  }

  // The weights of one tap: [source][lanes] of every range of sources that are used together.
  void packTap(const Block& block, int64_t tap, float* to) const {
    const int64_t width = block.vectors * lanes;
    for (int64_t j0 = 0; j0 < sources_; j0 += together_) {
      const int64_t count = std::min(sources_ - j0, together_);
      for (int64_t c = 0; c < width; c++) {
        // A lane is a channel of the result, or one of the sources that are summed for it.
        const int64_t channel = summed_ ? block.channel : block.channel + c;
        const float* from = s.weights + channel / s.results * s.groupStride + channel % s.results * s.channelStride;
        for (int64_t j = 0; j < count; j++) {
          const int64_t source = summed_ ? (j0 + j) * lanes + c : j0 + j;
          const bool used = summed_ ? source < s.sources : c < block.channels;
          to[(tap * count + j) * width + c] = used ? from[source * s.sourceStride + tap] : 0;
        }
      }
      to += count * s.taps() * width;
    }
  }

  void compute(int64_t image, const Block& block, const float* weights, const Band& band, float* sums, float* copy,
               Lists& lists) const {
    const Strip& strip = strips_[band.strip];
    const int64_t width = block.vectors * lanes;
    initialise(block, sums, band.height() * strip.count);
    const int64_t unit = packed_ ? lanes : 1;
    const float* source = s.from + (image * s.groups + block.channel / s.results) * s.sources * volume(s.source);
    // Planes and rows at hand.
    Span planes{0, s.source[0]}, rows{0, s.source[1]};
    if (packed_) {
      planes = planesOf(band);
      rows = rowsOf(band);
      packSource(image, block, planes, rows, copy);
      source = copy;
    }
    const int64_t area = planes.count() * rows.count() * s.source[2] * unit;
    tapsAt(*band.planes, band.plane, band.plane + 1, lists.planes);
    const int64_t pitch = s.columns.step * unit;
    const Factor factor = packed_ ? Factor::vector : pitch == 1 ? Factor::unit : Factor::strided;
    for (int64_t j0 = 0; j0 < sources_; j0 += together_) {
      const int64_t channels = std::min(together_, sources_ - j0);
      const float* x = source + j0 * area;
      const float* w = weights + j0 * s.taps() * width;
      const int64_t chunk = std::max<int64_t>(1, weightBytes / (s.kernel[2] * channels * width * 4));
      for (int64_t row = band.row, next; row < band.rowEnd; row = next) {
        next = tapsAt(*band.rows, row, band.rowEnd, lists.rows);
        lists.taps.clear();
        for (const Tap* above : lists.planes) {
          const int64_t plane = above->start + band.plane * s.planes.step - planes.low;
          for (const Tap* tap : lists.rows)
            lists.taps.push_back(
                {plane * rows.count() + tap->start - rows.low, above->index * s.kernel[1] + tap->index});
        }
        for (size_t t = 0; t < lists.taps.size(); t += chunk) {
          const size_t end = std::min(lists.taps.size(), t + static_cast<size_t>(chunk));
          for (const Strip::Part& part : strip.parts) {
            for (const Run& run : part.runs) {
              lists.x.clear();
              lists.w.clear();
              for (size_t u = t; u < end; u++) {
                for (const Tap* tap : run.taps) {
                  lists.x.push_back((lists.taps[u].first * s.source[2] + tap->start) * unit);
                  lists.w.push_back((lists.taps[u].second * s.kernel[2] + tap->index) * channels * width);
                }
              }
              const Terms terms{lists.x.data(), lists.w.data(), static_cast<int64_t>(lists.x.size()), channels, area};
              const Tile kernel = findTile(factor, block.vectors, run.count);
              for (int64_t i = row; i < next; i++) {
                const int64_t at = i * s.rows.step * s.source[2] + run.first * s.columns.step;
                const int64_t to = (i - band.row) * strip.count + part.at + run.first - part.first;
                kernel(sums + to * width, x + at * unit, w, terms, pitch);
              }
            }
          }
        }
      }
    }
  }

  void initialise(const Block& block, float* sums, int64_t pixels) const {
    vf start[maxVectors] = {};
    if (s.bias) {
      for (int64_t v = 0; v < block.vectors; v++) {
        const int64_t left = block.channels - v * lanes;
        start[v] = loadPartial(s.bias + block.channel + v * lanes, std::clamp<int64_t>(left, 0, lanes));
      }
    }
    for (int64_t p = 0; p < pixels; p++) {
      for (int64_t v = 0; v < block.vectors; v++) store(sums + (p * block.vectors + v) * lanes, start[v]);
    }
  }

  // copy: [sources][planes][rows][columns][lanes]. A lane holds the channel of its own group, or a summed source.
  void packSource(int64_t image, const Block& block, const Span& planes, const Span& rows, float* copy) const {
    const int64_t area = volume(s.source), count = rows.count() * s.source[2];
    for (int64_t j = 0; j < sources_; j++) {
      const float* first[lanes];
      const int64_t used = summed_ ? std::min<int64_t>(lanes, s.sources - j * lanes) : block.channels;
      for (int64_t c = 0; c < used; c++) {
        const int64_t channel = summed_ ? block.channel / s.results * s.sources + j * lanes + c
                                        : (block.channel + c) / s.results * s.sources + j;
        first[c] = s.from + (image * s.groups * s.sources + channel) * area + rows.low * s.source[2];
      }
      for (int64_t plane = planes.low; plane < planes.high; plane++, copy += count * lanes) {
        const float* at[lanes];
        for (int64_t c = 0; c < used; c++) at[c] = first[c] + plane * s.source[1] * s.source[2];
        toLanes(copy, lanes, at, used, count);
      }
    }
  }

  void finish(int64_t image, const Block& block, const Band& band, const float* sums) const {
    const Strip& strip = strips_[band.strip];
    const int64_t area = volume(s.result), width = block.vectors * lanes;
    const int64_t plane = band.planes->first + band.plane * s.planes.spacing;
    float* first = s.to + (image * s.groups * s.results + block.channel) * area + plane * s.result[1] * s.result[2];
    const bool inOrder = s.columns.spacing == 1;
    const bool whole = inOrder && strip.count == s.result[2] && s.rows.spacing == 1;
    for (int64_t v = 0; v < block.vectors; v++) {
      const int64_t channels = std::min<int64_t>(lanes, block.channels - v * lanes);
      if (channels <= 0) break;
      for (int64_t i = 0; i < (whole ? 1 : band.height()); i++) {
        const int64_t row = band.rows->first + (band.row + i) * s.rows.spacing;
        const float* from = sums + i * strip.count * width + v * lanes;
        float* planes[lanes];
        for (int64_t c = 0; c < channels; c++)
          planes[c] = first + (v * lanes + c) * area + row * s.result[2] + strip.first;
        const auto write = [&](int64_t count, auto&& rowAt) {
          summed_ ? sumLanes(planes[0], count, rowAt) : toPlanes(planes, channels, count, rowAt);
        };
        if (inOrder) {
          write(whole ? band.height() * strip.count : strip.count, [&](int64_t j) { return from + j * width; });
        } else {
          write(strip.count, [&](int64_t j) { return from + strip.order[j] * width; });
        }
      }
    }
  }

  const Sweep& s;
  Context& context_;
  // Whether the image is copied with channels across the lanes, and whether these are summed to one result.
  bool packed_, summed_;
  // Vectors of sources where lanes are summed, else sources; how many are used together.
  int64_t sources_, together_;
  std::vector<Block> blocks_;
  std::vector<Strip> strips_;
  std::vector<Band> bands_;
  std::vector<int64_t> offsets_;
  float* weights_ = nullptr;
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
