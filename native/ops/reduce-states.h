// What is known of some of the terms of a reduction, in every lane apart. A state takes terms (`add`; `addSome` those
// of the live lanes), and others of its kind: `merge`, or `join` where neither was told to `settle`. `folded` brings
// all lanes together.
#pragma once

#include <algorithm>
#include <limits>

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Below every key of a number, and the key of NaN.
constexpr int32_t leastInt = std::numeric_limits<int32_t>::min();
constexpr int32_t nanKey = std::numeric_limits<int32_t>::max();

struct Sum {
  vf run{}, total{}, rest{};
  static constexpr bool settles = true;

  // Knuth's exact sum of two numbers: what is rounded off goes to `rest`.
  void take(vf x) {
    const vf next = total + x;
    const vf part = next - total;
    rest += (total - (next - part)) + (x - part);
    total = next;
  }
  void settle() {
    take(run);
    run = vf{};
  }
  void add(vf x, int64_t, vi) { run += x; }
  void addSome(vf x, int64_t, vi, vi) { run += x; }
  void merge(Sum other) {
    settle();
    other.settle();
    take(other.total);
    rest += other.rest;
  }
  // Of states that never settled.
  void join(Sum other) { run += other.run; }
  Sum folded() const { return {broadcast(sum(value()))}; }
  // Infinite totals have no rest.
  vf value() const { return run + (total + select(isNan(rest), vf{}, rest)); }
};

// Keys order floats as whole numbers: NaN above everything, -0 equal to 0.
template <bool least>
vi keyOf(vf x) {
  const vi word = bits(x + 0.0f);
  const vi key = word ^ ((word >> 31) & 0x7fffffff);
  return select(isNan(x), broadcast(nanKey), least ? ~key : key);
}

template <bool least>
vf fromKey(vi key) {
  const vi plain = least ? ~key : key;
  return select(key == nanKey, broadcast(std::numeric_limits<float>::quiet_NaN()),
                fromBits(plain ^ ((plain >> 31) & 0x7fffffff)));
}

template <bool least>
struct Extreme {
  vi key = broadcast(leastInt), count{};
  static constexpr bool settles = false;

  void takeKey(vi k) {
    const vi higher = k > key;
    count = select(higher, broadcast(1), count - (k == key));
    key = select(higher, k, key);
  }
  void settle() {}
  void add(vf x, int64_t, vi) { takeKey(keyOf<least>(x)); }
  void addSome(vf x, int64_t, vi, vi live) { takeKey(select(live, keyOf<least>(x), broadcast(leastInt))); }
  void merge(Extreme other) {
    count = (count & (key >= other.key)) + (other.count & (other.key >= key));
    key = select(key > other.key, key, other.key);
  }
  void join(Extreme other) { merge(other); }
  Extreme folded() const {
    int32_t top = key[0], times = 0;
    for (int i = 1; i < lanes; i++) top = std::max(top, key[i]);
    for (int i = 0; i < lanes; i++) times += key[i] == top ? count[i] : 0;
    return {broadcast(top), broadcast(times)};
  }
  vf value() const { return fromKey<least>(key); }
};

struct Argmax {
  vi key = broadcast(leastInt), place = broadcast(nanKey);
  static constexpr bool settles = false;

  void takeKey(vi k, vi at) {
    const vi higher = k > key;
    place = select(higher, at, place);
    key = select(higher, k, key);
  }
  void settle() {}
  void add(vf x, int64_t term, vi lane) { takeKey(keyOf<false>(x), broadcast(static_cast<int32_t>(term)) + lane); }
  void addSome(vf x, int64_t term, vi lane, vi live) {
    takeKey(select(live, keyOf<false>(x), broadcast(leastInt)), broadcast(static_cast<int32_t>(term)) + lane);
  }
  void merge(Argmax other) {
    const vi theirs = (other.key > key) | ((other.key == key) & (other.place < place));
    place = select(theirs, other.place, place);
    key = select(theirs, other.key, key);
  }
  void join(Argmax other) { merge(other); }
  Argmax folded() const {
    int32_t top = key[0], first = nanKey;
    for (int i = 1; i < lanes; i++) top = std::max(top, key[i]);
    for (int i = 0; i < lanes; i++) first = std::min(first, key[i] == top ? place[i] : nanKey);
    return {broadcast(top), broadcast(first)};
  }
};

struct LogSumExp {
  vf most = broadcast(-infinity), total{};
  static constexpr bool settles = false;

  void settle() {}
  // One exponential: of the distance to the largest so far, which decays either the sum or the newcomer.
  void add(vf x, int64_t, vi) {
    const vi higher = x > most;
    const vf decay = exp(select(x == most, vf{}, -abs(x - most)));
    total = select(higher, fma(total, decay, broadcast(1.0f)), total + select(x == -infinity, vf{}, decay));
    most = select(higher, x, most);
  }
  void addSome(vf x, int64_t term, vi lane, vi live) { add(select(live, x, broadcast(-infinity)), term, lane); }
  void merge(LogSumExp other) {
    const vf top = select(other.most > most, other.most, most);
    const vf one = broadcast(1.0f);
    total = total * select(most == top, one, exp(most - top)) +
            other.total * select(other.most == top, one, exp(other.most - top));
    most = top;
  }
  void join(LogSumExp other) { merge(other); }
  LogSumExp folded() const {
    const vf top = broadcast(maxOf(most));
    return {top, broadcast(sum(total * select(most == top, broadcast(1.0f), exp(most - top))))};
  }
  vf value() const { return most + log(total); }
};

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
