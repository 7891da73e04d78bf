//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/ballot.wgsl"

// Distances between all points of a cloud, as words, squares of them for the metric "l2".
//   points: [count, width] as words   labels: [count], each point's cloud, when labelled; else `size` points in a row are one
//   distances: [count, size], from a point to one of its own cloud, counted from the cloud's first point, or from point 0 when labelled
// A workgroup takes squares of 16 by 16 points, a pair of points a thread; each pair of tiles once, which serves both halves.
override METRIC: u32; // 0: l1, 1: l2, 2: linf

const TILE: u32 = 16u;
const DEPTH: u32 = 32u; // coordinates staged at a time
const PITCH: u32 = 33u; // so that 16 rows do not meet in one bank

struct Params {
  count: u32,
  clouds: u32,
  size: u32,
  width: u32,
  shares: u32, // workgroups of a cloud
  fault: u32,
  labelled: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> points: array<u32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read_write> distances: array<u32>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>, 2>;

var<workgroup> members: array<u32, 32>; // the points of both tiles
var<workgroup> known: u32;
var<workgroup> staged: array<f32, 1056>; // 32 rows of PITCH

// Finds the points of two tiles of a cloud; gives the number of its points.
fn find_members(cloud: u32, low: u32, high: u32, lane: u32) -> u32 {
  if (params.labelled == 0u) {
    workgroupBarrier();
    if (lane < 32u) { members[lane] = cloud * params.size + TILE * select(low, high, lane >= TILE) + lane % TILE; }
    return params.size;
  }
  var seen = 0u;
  for (var base = 0u; base < params.count; base += 256u) {
    let i = base + lane;
    var own = false;
    if (i < params.count) { own = labels[i] == i32(cloud); }
    vote(lane, own);
    var rank = seen;
    for (var word = 0u; word < 8u; word++) {
      let bits = atomicLoad(&ballot[word]);
      seen += countOneBits(bits);
      let before = select(select(0u, (1u << (lane % 32u)) - 1u, word == lane / 32u), 0xffffffffu, word < lane / 32u);
      rank += countOneBits(bits & before);
    }
    if (own && rank / TILE == low) { members[rank % TILE] = i; }
    if (own && rank / TILE == high) { members[TILE + rank % TILE] = i; }
  }
  if (lane == 0u) { known = seen; }
  return workgroupUniformLoad(&known);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let work = linear_workgroup(group, groups);
  let cloud = work / params.shares;
  if (cloud >= params.clouds) { return; }
  let row = lane / TILE;
  let column = lane % TILE;
  for (var pair = work - cloud * params.shares; ; pair += params.shares) {
    // Pairs in the order (0, 0), (0, 1), (1, 1), (0, 2), …, so that those of a smaller cloud come first.
    var high = u32(0.5 * (sqrt(8.0 * f32(pair) + 1.0) - 1.0));
    while (high * (high + 1u) / 2u > pair) { high--; }
    while ((high + 1u) * (high + 2u) / 2u <= pair) { high++; }
    let low = pair - high * (high + 1u) / 2u;
    if (TILE * high >= params.size) { break; }
    let size = find_members(cloud, low, high, lane);
    if (TILE * high >= size) { break; }

    var sum = 0.0;
    for (var base = 0u; base < params.width; base += DEPTH) {
      workgroupBarrier();
      for (var i = lane; i < 32u * DEPTH; i += 256u) {
        let member = i / DEPTH;
        let k = base + i % DEPTH;
        var value = 0.0;
        if (TILE * select(low, high, member >= TILE) + member % TILE < size && k < params.width) {
          let word = points[members[member] * params.width + k];
          value = bitcast<f32>(word);
          if ((word & 0x7f800000u) == 0x7f800000u) { report_fault_f32(params.fault, value); }
        }
        staged[member * PITCH + i % DEPTH] = value;
      }
      workgroupBarrier();
      for (var k = 0u; k < DEPTH; k++) {
        let difference = abs(staged[row * PITCH + k] - staged[(TILE + column) * PITCH + k]);
        if (METRIC == 0u) { sum += difference; }
        else if (METRIC == 1u) { sum += difference * difference; }
        else { sum = max(sum, difference); }
      }
    }
    if (TILE * low + row < size && TILE * high + column < size) {
      // NaN comes from infinite coordinates alone, which were reported.
      let word = min(bitcast<u32>(sum) & 0x7fffffffu, 0x7f800000u);
      let first = select(cloud * params.size, 0u, params.labelled == 1u);
      let a = members[row];
      let b = members[TILE + column];
      distances[a * params.size + b - first] = word;
      distances[b * params.size + a - first] = word;
    }
  }
}
