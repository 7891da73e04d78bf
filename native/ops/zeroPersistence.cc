// Minimum spanning trees of many clouds of points by Prim's algorithm, and their gradients. A work item is a cloud;
// distances come straight from the points, each pair once, when one of the two joins the tree.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernel.h"
#include "simd.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Coordinates per piece of work.
constexpr int64_t grain = 1 << 15;
// Points whose distances to one other are taken at a time.
constexpr int block = 4;

enum class Metric { l1, l2, linf };

Metric metricOf(const Call& call) {
  const std::string& name = call.text("metric");
  return name == "l1" ? Metric::l1 : name == "l2" ? Metric::l2 : Metric::linf;
}

// The points of every cloud, in rising order: members[starts[c]] to members[starts[c + 1]].
struct Clouds {
  std::vector<int32_t> members;
  std::vector<int64_t> starts;
  bool labelled;
  int64_t size;  // of a cloud where all are equally large

  int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
  // Where a point's death time stands, given its cloud.
  int64_t place(int64_t point, int64_t cloud) const { return labelled ? point : point - cloud - 1; }
  // What partners count from.
  int64_t origin(int64_t cloud) const { return labelled ? 0 : cloud * size; }
};

template <class Wrong>
Clouds cloudsOf(const Call& call, const Tensor& points, const int32_t* labels, Wrong wrong) {
  const size_t rank = points.shape.size();
  const int64_t width = points.shape[rank - 1], size = points.shape[rank - 2], rows = points.size / width;
  Clouds clouds{std::vector<int32_t>(static_cast<size_t>(rows)), {}, labels != nullptr, size};
  if (!labels) {
    std::iota(clouds.members.begin(), clouds.members.end(), 0);
    for (int64_t first = 0; first <= rows; first += std::max<int64_t>(1, size)) clouds.starts.push_back(first);
    return clouds;
  }
  // Sorted by counting; a point without a cloud is left out.
  const int64_t classes = call.integer("classes");
  clouds.starts.assign(static_cast<size_t>(classes) + 1, 0);
  const auto known = [&](int64_t i) { return labels[i] >= 0 && labels[i] < classes; };
  for (int64_t i = 0; i < rows; i++) {
    if (known(i))
      clouds.starts[static_cast<size_t>(labels[i]) + 1]++;
    else
      wrong(i);
  }
  std::partial_sum(clouds.starts.begin(), clouds.starts.end(), clouds.starts.begin());
  std::vector<int64_t> next(clouds.starts.begin(), clouds.starts.end() - 1);
  for (int64_t i = 0; i < rows; i++) {
    if (known(i)) clouds.members[static_cast<size_t>(next[static_cast<size_t>(labels[i])]++)] = static_cast<int32_t>(i);
  }
  return clouds;
}

// What Prim knows of the points outside of the tree: which point of the tree is nearest, how far away it is, and how
// far the newest one is. Whole vectors; those behind the last point are infinitely far away.
struct Outside {
  std::vector<int32_t> point, partner;
  std::vector<float> key, distance;
  int64_t count;

  Outside(const int32_t* members, int64_t size) : count(size - 1) {
    const auto padded = static_cast<size_t>((size + lanes - 1) / lanes * lanes);
    point.assign(padded, 0);
    std::copy(members + 1, members + size, point.begin());
    partner.assign(padded, members[0]);
    key.assign(padded, infinity);
    distance.assign(padded, infinity);
  }

  // Whether the edge at i comes before that at j, which is as long.
  bool earlier(size_t i, size_t j) const {
    const int32_t lowI = std::min(point[i], partner[i]), lowJ = std::min(point[j], partner[j]);
    return lowI != lowJ ? lowI < lowJ : std::max(point[i], partner[i]) < std::max(point[j], partner[j]);
  }

  // Takes in the distances from the newest point; gives the place of the first of all edges.
  size_t nearest(int32_t newest) {
    vf least = broadcast(infinity);
    for (int64_t i = 0; i < count; i += lanes) {
      const vf before = load(key.data() + i), now = load(distance.data() + i);
      const vi from = load(partner.data() + i);
      // At the same distance, the edge to the earlier partner comes first.
      const vi closer = (now < before) | ((now == before) & (broadcast(newest) < from));
      const vf own = select(closer, now, before);
      store(key.data() + i, own);
      store(partner.data() + i, select(closer, broadcast(newest), from));
      least = smaller(least, own);
    }
    const float shortest = -maxOf(-least);
    size_t best = 0;
    bool found = false;
    for (size_t i = 0; i < static_cast<size_t>(count); i++) {
      if (key[i] != shortest || (found && !earlier(i, best))) continue;
      best = i;
      found = true;
    }
    return best;
  }

  // The last one takes its place.
  void remove(size_t i) {
    const auto last = static_cast<size_t>(--count);
    point[i] = point[last];
    partner[i] = partner[last];
    key[i] = key[last];
    key[last] = infinity;
  }
};

template <Metric metric>
BIRKHOFF_INLINE vf with(vf sum, vf difference) {
  if constexpr (metric == Metric::l2) return fma(difference, difference, sum);
  if constexpr (metric == Metric::l1) return sum + abs(difference);
  return max(sum, abs(difference));
}

// Sums of distances from a to several points, still one per lane. Every distance has the same order of additions,
// however many are taken at once, so that equal points are equally far from all others.
template <Metric metric, int rows>
BIRKHOFF_INLINE void reach(const float* points, const float* a, int64_t width, const int32_t* others, vf* result) {
  const float* b[rows];
  for (int r = 0; r < rows; r++) b[r] = points + others[r] * width;
  vf even[rows] = {}, odd[rows] = {};
  int64_t k = 0;
  for (; k + 2 * lanes <= width; k += 2 * lanes) {
    const vf left = load(a + k), right = load(a + k + lanes);
    for (int r = 0; r < rows; r++) {
      even[r] = with<metric>(even[r], left - load(b[r] + k));
      odd[r] = with<metric>(odd[r], right - load(b[r] + k + lanes));
    }
  }
  for (; k < width; k += lanes) {
    const int64_t n = std::min<int64_t>(lanes, width - k);
    const vf left = loadPartial(a + k, n);
    for (int r = 0; r < rows; r++) even[r] = with<metric>(even[r], left - loadPartial(b[r] + k, n));
  }
  for (int r = 0; r < rows; r++) result[r] = metric == Metric::linf ? max(even[r], odd[r]) : even[r] + odd[r];
}

// Distances from a to up to `lanes` points, squares for "l2", and infinity behind them.
template <Metric metric>
void distancesTo(const float* points, const float* a, int64_t width, const int32_t* others, int64_t count,
                 float* result) {
  vf sums[lanes] = {};
  int64_t i = 0;
  for (; i + block <= count; i += block) reach<metric, block>(points, a, width, others + i, sums + i);
  // One at a time, each would wait for its own additions.
  if (count - i == 3) reach<metric, 3>(points, a, width, others + i, sums + i);
  if (count - i == 2) reach<metric, 2>(points, a, width, others + i, sums + i);
  if (count - i == 1) reach<metric, 1>(points, a, width, others + i, sums + i);
  for (i = count; i < lanes; i++) sums[i] = broadcast(infinity);
  transpose(sums);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int r = 0; r < half; r++)
      sums[r] = metric == Metric::linf ? max(sums[r], sums[r + half]) : sums[r] + sums[r + half];
  }
  // NaN comes from infinite coordinates alone, which were reported.
  store(result, select(isNan(sums[0]), broadcast(infinity), sums[0]));
}

int32_t largestCoordinate(const float* a, const float* b, int64_t width) {
  int64_t best = 0;
  for (int64_t k = 1; k < width; k++) {
    if (std::fabs(a[k] - b[k]) > std::fabs(a[best] - b[best])) best = k;
  }
  return static_cast<int32_t>(best);
}

template <Metric metric>
void grow(const Call& call, Context& context, const Clouds& clouds, int64_t cloud) {
  const float* points = call.inputs[0].f32();
  const int64_t width = call.inputs[0].shape.back();
  float* deaths = call.outputs[0].f32();
  int32_t* partners = call.outputs[1].i32();
  const int32_t* members = clouds.members.data() + clouds.starts[static_cast<size_t>(cloud)];
  const int64_t size = clouds.starts[static_cast<size_t>(cloud) + 1] - clouds.starts[static_cast<size_t>(cloud)];
  if (size == 0) return;
  if (clouds.labelled) {
    deaths[members[0]] = 0;
    partners[members[0]] = -1;
    if (metric == Metric::linf) call.outputs[2].i32()[members[0]] = 0;
  }
  Outside outside(members, size);
  int32_t newest = members[0];
  while (outside.count > 0) {
    const auto measure = [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin * lanes; i < std::min(outside.count, end * lanes); i += lanes)
        distancesTo<metric>(points, points + newest * width, width, outside.point.data() + i,
                            std::min<int64_t>(lanes, outside.count - i), outside.distance.data() + i);
    };
    // From within a loop over clouds, this runs in place.
    context.parallel((outside.count + lanes - 1) / lanes, grain / (lanes * width) + 1, measure);
    const size_t joining = outside.nearest(newest);
    newest = outside.point[joining];
    const int32_t partner = outside.partner[joining];
    const float key = outside.key[joining];
    outside.remove(joining);
    const int64_t place = clouds.place(newest, cloud);
    deaths[place] = metric == Metric::l2 ? std::sqrt(key) : key;
    partners[place] = static_cast<int32_t>(partner - clouds.origin(cloud));
    if constexpr (metric == Metric::linf)
      call.outputs[2].i32()[place] = largestCoordinate(points + newest * width, points + partner * width, width);
  }
}

// The first number of a row that is not finite, or 0.
float notFinite(const float* row, int64_t width) {
  int64_t k = 0;
  vf zeros{};
  // A number minus itself is 0 where it is finite, and NaN elsewhere.
  for (; k + lanes <= width; k += lanes) zeros += load(row + k) - load(row + k);
  if (k < width) zeros += loadPartial(row + k, width - k) - loadPartial(row + k, width - k);
  if (sum(zeros) == 0) return 0;
  return *std::find_if(row, row + width, [](float x) { return !(std::fabs(x) < infinity); });
}

template <Metric metric>
void growAll(const Call& call, Context& context, const Clouds& clouds) {
  const Tensor& points = call.inputs[0];
  const int64_t width = points.shape.back();
  const auto one = [&](int64_t cloud) {
    for (int64_t i = clouds.starts[static_cast<size_t>(cloud)]; i < clouds.starts[static_cast<size_t>(cloud) + 1];
         i++) {
      if (const float wrong = notFinite(points.f32() + clouds.members[static_cast<size_t>(i)] * width, width);
          wrong != 0)
        context.fault(static_cast<double>(wrong));
    }
    grow<metric>(call, context, clouds, cloud);
  };
  // Fewer clouds than threads: one after the other, each on all threads.
  if (clouds.count() < context.threads()) {
    for (int64_t cloud = 0; cloud < clouds.count(); cloud++) one(cloud);
    return;
  }
  const int64_t mean = points.size / width / clouds.count() + 1;
  context.parallel(clouds.count(), grain / (mean * mean * width) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t cloud = begin; cloud < end; cloud++) one(cloud);
  });
}

}  // namespace

void zeroPersistenceForward(const Call& call, Context& context) {
  const int32_t* labels = call.flag("labelled") ? call.inputs[1].i32() : nullptr;
  if (call.outputs[0].size == 0) return;
  const Metric metric = metricOf(call);
  const Clouds clouds = cloudsOf(call, call.inputs[0], labels, [&](int64_t i) {
    context.fault(labels[i]);
    call.outputs[0].f32()[i] = 0;
    call.outputs[1].i32()[i] = -1;
    if (metric == Metric::linf) call.outputs[2].i32()[i] = 0;
  });
  if (metric == Metric::l1) growAll<Metric::l1>(call, context, clouds);
  if (metric == Metric::l2) growAll<Metric::l2>(call, context, clouds);
  if (metric == Metric::linf) growAll<Metric::linf>(call, context, clouds);
}

void zeroPersistenceBackward(const Call& call, Context& context) {
  const Tensor& points = call.inputs[1];
  const size_t rank = points.shape.size();
  const int64_t width = points.shape[rank - 1], size = points.shape[rank - 2];
  const bool labelled = call.flag("labelled");
  const Metric metric = metricOf(call);
  const float *g = call.inputs[0].f32(), *x = points.f32(), *deaths = call.inputs[2].f32();
  const int32_t *partners = call.inputs[3].i32(), *coordinates = call.inputs[4].i32();
  float* dx = call.outputs[0].f32();
  if (points.size == 0) return;

  const auto edge = [&](int64_t point, int64_t partner, int64_t place, int64_t from, int64_t to) {
    const float *a = x + point * width, *b = x + partner * width;
    float *da = dx + point * width, *db = dx + partner * width;
    if (metric == Metric::linf) {
      const int64_t k = coordinates[place];
      if (k < from || k >= to) return;
      const float pull = a[k] == b[k] ? 0 : a[k] > b[k] ? g[place] : -g[place];
      da[k] += pull, db[k] -= pull;
      return;
    }
    const float weight = metric == Metric::l1 ? g[place] : deaths[place] == 0 ? 0 : g[place] / deaths[place];
    const auto pull = [&](vf difference) {
      if (metric == Metric::l2) return weight * difference;
      return select(difference == vf{}, vf{}, copySign(broadcast(1.0f), difference) * weight);
    };
    int64_t k = from;
    for (; k + lanes <= to; k += lanes) {
      const vf slope = pull(load(a + k) - load(b + k));
      store(da + k, load(da + k) + slope);
      store(db + k, load(db + k) - slope);
    }
    if (k < to) {
      const int64_t n = to - k;
      const vf slope = pull(loadPartial(a + k, n) - loadPartial(b + k, n));
      storePartial(da + k, n, loadPartial(da + k, n) + slope);
      storePartial(db + k, n, loadPartial(db + k, n) - slope);
    }
  };
  const auto cloud = [&](int64_t index) {
    const int64_t first = index * size;
    std::fill(dx + first * width, dx + (first + size) * width, 0.0f);
    for (int64_t i = 1; i < size; i++) {
      const int64_t place = first - index + i - 1;
      if (partners[place] >= 0 && partners[place] < size) edge(first + i, first + partners[place], place, 0, width);
    }
  };
  if (!labelled) {
    context.parallel(points.size / width / size, grain / (size * width) + 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t c = begin; c < end; c++) cloud(c);
    });
    return;
  }
  // Edges of one cloud meet; coordinates do not.
  const int64_t stripes = (width + lanes - 1) / lanes;
  context.parallel(stripes, grain / (size * lanes) + 1, [&](int64_t begin, int64_t end, int) {
    const int64_t from = begin * lanes, to = std::min<int64_t>(width, end * lanes);
    for (int64_t i = 0; i < size; i++) std::fill(dx + i * width + from, dx + i * width + to, 0.0f);
    for (int64_t i = 0; i < size; i++) {
      if (partners[i] >= 0 && partners[i] < size) edge(i, partners[i], i, from, to);
    }
  });
}

void zeroPersistenceLoss(const Call& call, Context&) {
  const float* deaths = call.inputs[0].f32();
  const int32_t* partners = call.inputs[1].i32();
  const std::string& form = call.text("form");
  const float beta = static_cast<float>(call.scalar("beta"));
  double total = 0;
  int64_t terms = 0;
  for (int64_t i = 0; i < call.inputs[0].size; i++) {
    if (partners[i] < 0) continue;
    const double beyond = static_cast<double>(deaths[i] - beta);
    total += form == "absolute" ? std::fabs(beyond) : form == "squared" ? beyond * beyond : std::max(0.0, beyond);
    terms++;
  }
  const bool mean = call.text("reduction") == "mean";
  call.outputs[0].f32()[0] =
      static_cast<float>(mean ? total / static_cast<double>(std::max<int64_t>(1, terms)) : total);
  call.outputs[1].f32()[0] = static_cast<float>(terms);
}

void zeroPersistenceLossBackward(const Call& call, Context&) {
  const float* deaths = call.inputs[1].f32();
  const int32_t* partners = call.inputs[2].i32();
  const std::string& form = call.text("form");
  const float beta = static_cast<float>(call.scalar("beta"));
  const bool mean = call.text("reduction") == "mean";
  const float scale = call.inputs[0].f32()[0] / (mean ? std::max(1.0f, call.inputs[3].f32()[0]) : 1.0f);
  float* ddeaths = call.outputs[0].f32();
  for (int64_t i = 0; i < call.inputs[1].size; i++) {
    const float beyond = deaths[i] - beta;
    const float sign = beyond > 0 ? 1.0f : beyond < 0 ? -1.0f : 0.0f;
    const float slope = form == "absolute" ? sign : form == "squared" ? 2 * beyond : std::max(0.0f, sign);
    ddeaths[i] = partners[i] < 0 ? 0 : scale * slope;
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA
