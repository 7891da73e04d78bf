//#include "lib/grid.wgsl"

// Running sums along the middle axis of [outer, length, inner]. A row is one run of `length` elements. LANES threads share a row,
// each with ITEMS elements in sequence, so that a workgroup scans a tile of 256 / LANES rows at a time and goes on to their next
// elements with what it has summed so far. Where rows are few they are cut into parts: `totals` sums every part but the last,
// and `resume` begins each part with the totals of those before it.
//   x, y: [outer, length, inner]   part_totals: [parts - 1, outer · inner]
override LANES: u32; // a power of two up to 256
override ITEMS: u32; // a power of two up to 8

struct Params {
  rows: u32,
  length: u32,
  inner: u32,
  parts: u32,
  part_terms: u32,
  // Place of the first element of a row of plane 0, and the distance of the next; negative from the last element to the first.
  first: u32,
  step: i32,
  // 1: neighbouring threads read neighbouring rows; 0: neighbouring elements of a row.
  interleaved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> part_totals: array<f32>;

const GROUP: u32 = 16u;

// Up to 256 · 8 elements, one word in 33 unused, so that threads that are ITEMS apart find different banks of memory.
var<workgroup> tile: array<f32, 2112>;
var<workgroup> sums: array<f32, 256>;
var<workgroup> group_sums: array<f32, 16>;
var<workgroup> slot_totals: array<f32, 256>;

fn spread(i: u32) -> u32 { return i + i / 32u; }

// Row of the tile and place in it, of a thread that moves memory.
fn slot_of(thread: u32) -> u32 { return select(thread / LANES, thread % (256u / LANES), params.interleaved == 1u); }
fn lane_of(thread: u32) -> u32 { return select(thread % LANES, thread / (256u / LANES), params.interleaved == 1u); }

// What a slot holds: one part of one row. Elements count in the direction of the sums.
struct Share {
  row: u32,
  part: u32,
  begin: u32,
  end: u32,    // = begin where there is nothing
  origin: u32, // place of element 0 in x and y
}

fn share_of(work: u32, slot: u32) -> Share {
  let index = work * (256u / LANES) + slot;
  let part = index / params.rows;
  let row = index - part * params.rows;
  let begin = min(part * params.part_terms, params.length);
  let end = select(begin, min(begin + params.part_terms, params.length), part < params.parts);
  let plane = row / params.inner;
  return Share(row, part, begin, end, params.first + plane * params.length * params.inner + row - plane * params.inner);
}

fn place(share: Share, term: u32) -> u32 {
  return u32(i32(share.origin) + i32(term) * params.step);
}

// Sum of `own` over the earlier threads of a slot: those of the same sixteen one by one, then whole sixteens.
fn before(own: f32, thread: u32) -> f32 {
  let lane = thread % LANES;
  sums[thread] = own;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = thread - lane % GROUP; i < thread; i++) { sum += sums[i]; }
  if (LANES <= GROUP) { return sum; }
  if (lane % GROUP == GROUP - 1u) { group_sums[thread / GROUP] = sum + own; }
  workgroupBarrier();
  var earlier = 0.0;
  for (var i = (thread - lane) / GROUP; i < thread / GROUP; i++) { earlier += group_sums[i]; }
  return earlier + sum;
}

// Scans the slots of a workgroup; `first` is the sum of what lies before the slot thread / LANES.
fn scan_slots(work: u32, thread: u32, first: f32) {
  let terms = LANES * ITEMS;
  let own_begin = thread * ITEMS;
  let share = share_of(work, slot_of(thread));
  let lane = lane_of(thread);
  let staged = slot_of(thread) * terms + lane;
  var carry = first;
  for (var start = 0u; start < params.part_terms; start += terms) {
    for (var k = 0u; k < ITEMS; k++) {
      let term = share.begin + start + lane + k * LANES;
      var value = 0.0;
      if (term < share.end) { value = x[place(share, term)]; }
      tile[spread(staged + k * LANES)] = value;
    }
    workgroupBarrier();
    var own = 0.0;
    for (var k = 0u; k < ITEMS; k++) { own += tile[spread(own_begin + k)]; }
    let base = carry + before(own, thread);
    var inside = 0.0;
    for (var k = 0u; k < ITEMS; k++) {
      inside += tile[spread(own_begin + k)];
      tile[spread(own_begin + k)] = base + inside;
    }
    if (thread % LANES == LANES - 1u) { slot_totals[thread / LANES] = base + own; }
    workgroupBarrier();
    carry = slot_totals[thread / LANES];
    // The thread that stores a word of the tile is the one that loads it next, so no barrier is needed behind.
    for (var k = 0u; k < ITEMS; k++) {
      let term = share.begin + start + lane + k * LANES;
      if (term < share.end) { y[place(share, term)] = tile[spread(staged + k * LANES)]; }
    }
  }
}

// `own` summed over the threads of each slot by a tree, for the slot thread / LANES.
fn across(own: f32, slot: u32, lane: u32, thread: u32) -> f32 {
  sums[slot * LANES + lane] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread % LANES < half) { sums[thread] += sums[thread + half]; }
  }
  workgroupBarrier();
  return sums[thread / LANES * LANES];
}

@compute @workgroup_size(256)
fn scan(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  scan_slots(linear_workgroup(group, groups), thread, 0.0);
}

@compute @workgroup_size(256)
fn totals(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let work = linear_workgroup(group, groups);
  let source = share_of(work, slot_of(thread));
  var own = 0.0;
  for (var term = source.begin + lane_of(thread); term < source.end; term += LANES) { own += x[place(source, term)]; }
  let total = across(own, slot_of(thread), lane_of(thread), thread);
  let share = share_of(work, thread / LANES);
  if (thread % LANES == 0u && share.part + 1u < params.parts) { part_totals[share.part * params.rows + share.row] = total; }
}

@compute @workgroup_size(256)
fn resume(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let work = linear_workgroup(group, groups);
  let share = share_of(work, thread / LANES);
  let earlier = min(share.part, params.parts - 1u);
  var own = 0.0;
  for (var part = thread % LANES; part < earlier; part += LANES) { own += part_totals[part * params.rows + share.row]; }
  scan_slots(work, thread, across(own, thread / LANES, thread % LANES, thread));
}
