enable subgroups;
// lib/exchange.wgsl for a SIDE of 2 or 4 whose SIDE² threads lie in one subgroup: the same sums in the same order, from register to register. Subgroups must
// be no smaller than SIDE² and no larger than THREADS.
var<workgroup> placed: atomic<u32>;

// Nothing is promised about which threads of a workgroup make a subgroup, so each subgroup takes the next places.
fn lane_of(index: u32) -> u32 {
  let size = subgroupAdd(1u);
  var first = 0u;
  if (subgroupElect()) { first = atomicAdd(&placed, size); }
  return subgroupBroadcastFirst(first) + subgroupExclusiveAdd(1u);
}

// Over the threads whose numbers differ in the bit of `step`, and in the next one where SIDE is 4.
fn total(values: Strip, step: u32) -> Strip {
  var sum = plus(values, 1.0, exchanged(values, step));
  if (SIDE == 4u) { sum = plus(sum, 1.0, exchanged(sum, 2u * step)); }
  return sum;
}
fn largest(values: Strip, step: u32) -> Strip {
  var most = larger(values, exchanged(values, step));
  if (SIDE == 4u) { most = larger(most, exchanged(most, 2u * step)); }
  return most;
}
fn exchanged(values: Strip, step: u32) -> Strip {
  var result = Strip(subgroupShuffleXor(values[0], step), vec4f());
  if (TILE > 4u) { result[1] = subgroupShuffleXor(values[1], step); }
  return result;
}
fn larger(a: Strip, b: Strip) -> Strip { return Strip(max(a[0], b[0]), max(a[1], b[1])); }

fn row_total(values: Strip, place: Place) -> Strip { return total(values, 1u); }
fn column_total(values: Strip, place: Place) -> Strip { return total(values, SIDE); }
fn row_largest(values: Strip, place: Place) -> Strip { return largest(values, 1u); }
fn column_largest(values: Strip, place: Place) -> Strip { return largest(values, SIDE); }
