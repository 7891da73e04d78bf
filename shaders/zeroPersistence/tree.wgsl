//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// Prim's algorithm on a cloud, from its first point: one workgroup a cloud, one point joins the tree at a time.
//   points, labels, distances: as in distances.wgsl; where they are not stored, distances are computed here, by the thread that wants one
//   deaths, partners, coordinates: one place per point when labelled, else per point but the first of each cloud
// A thread owns every 256th point. Until the end, deaths holds the words of distances to the tree, and partners which of its points is that near,
// or the complement of it once the point has joined. Words of non-negative floats are in the order of the floats.

const NONE: u32 = 0xffffffffu;

struct Params {
  count: u32,
  clouds: u32,
  size: u32,
  width: u32,
  span: u32, // threads that may own a point, up to 256
  fault: u32,
  labelled: u32,
  metric: u32, // 0: l1, 1: l2, 2: linf
  stored: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> points: array<u32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read> distances: array<u32>;
@group(0) @binding(4) var<storage, read_write> deaths: array<u32>;
@group(0) @binding(5) var<storage, read_write> partners: array<i32>;
@group(0) @binding(6) var<storage, read_write> coordinates: array<i32>;
@group(0) @binding(7) var<storage, read_write> status: array<atomic<u32>, 2>;

// An edge from a point outside of the tree: its length, its lower and its higher end, and which of them is outside.
struct Edge {
  key: u32,
  low: u32,
  high: u32,
  outside: u32,
}

var<workgroup> edges: array<Edge, 256>;
var<workgroup> joining: u32;

fn earlier(a: Edge, b: Edge) -> bool {
  if (a.key != b.key) { return a.key < b.key; }
  if (a.low != b.low) { return a.low < b.low; }
  return a.high < b.high;
}

// The outside end of the workgroup's first edge, or NONE: of every 16th thread, then of the first 16.
fn first_of(own: Edge, lane: u32) -> u32 {
  edges[lane] = own;
  workgroupBarrier();
  if (lane < 16u) {
    var best = own;
    for (var i = lane + 16u; i < params.span; i += 16u) {
      if (earlier(edges[i], best)) { best = edges[i]; }
    }
    edges[lane] = best;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var best = edges[0];
    for (var i = 1u; i < 16u; i++) {
      if (earlier(edges[i], best)) { best = edges[i]; }
    }
    joining = best.outside;
  }
  return workgroupUniformLoad(&joining);
}

fn is_member(i: u32, cloud: u32) -> bool {
  return params.labelled == 0u || labels[i] == i32(cloud);
}

fn place_of(i: u32, cloud: u32) -> u32 {
  return select(i - cloud - 1u, i, params.labelled == 1u);
}

fn difference(a: u32, b: u32, k: u32) -> f32 {
  return abs(bitcast<f32>(points[a * params.width + k]) - bitcast<f32>(points[b * params.width + k]));
}

// As distances.wgsl computes and reports it.
fn distance_word(a: u32, b: u32, first: u32) -> u32 {
  if (params.stored == 1u) { return distances[a * params.size + b - first]; }
  var sum = 0.0;
  for (var k = 0u; k < params.width; k++) {
    let own = difference(a, b, k);
    if (params.metric == 0u) { sum += own; }
    else if (params.metric == 1u) { sum += own * own; }
    else { sum = max(sum, own); }
  }
  return min(bitcast<u32>(sum) & 0x7fffffffu, 0x7f800000u);
}

fn look_at(point: u32) {
  if (params.stored == 1u) { return; }
  for (var k = 0u; k < params.width; k++) {
    let word = points[point * params.width + k];
    if ((word & 0x7f800000u) == 0x7f800000u) { report_fault_f32(params.fault, bitcast<f32>(word)); }
  }
}

fn largest_coordinate(a: u32, b: u32) -> i32 {
  var best = 0u;
  var most = -1.0;
  for (var k = 0u; k < params.width; k++) {
    let own = difference(a, b, k);
    if (own > most) {
      most = own;
      best = k;
    }
  }
  return i32(best);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let cloud = linear_workgroup(group, groups);
  if (cloud >= params.clouds) { return; }
  let first = select(cloud * params.size, 0u, params.labelled == 1u);
  let end = first + params.size;

  var root = first;
  if (params.labelled == 1u) {
    var own = Edge(0u, NONE, NONE, NONE);
    for (var i = lane; i < end; i += 256u) {
      if (is_member(i, cloud)) {
        own = Edge(0u, i, i, i);
        break;
      }
    }
    root = first_of(own, lane);
    if (cloud == 0u) {
      for (var i = lane; i < end; i += 256u) {
        if (labels[i] < 0 || labels[i] >= i32(params.clouds)) {
          report_fault_i32(params.fault, labels[i]);
          deaths[i] = 0u;
          partners[i] = -1;
          if (params.metric == 2u) { coordinates[i] = 0; }
        }
      }
    }
    if (root == NONE) { return; }
  }

  var newest = root;
  loop {
    var own = Edge(NONE, NONE, NONE, NONE);
    for (var i = first + lane; i < end; i += 256u) {
      if (!is_member(i, cloud)) { continue; }
      if (newest == root) { look_at(i); }
      if (i == root) { continue; }
      let place = place_of(i, cloud);
      var before = 0;
      if (newest != root) {
        before = partners[place];
        if (before < 0) { continue; }
        if (i == newest) {
          partners[place] = ~before;
          continue;
        }
      }
      let reach = distance_word(newest, i, first);
      var key = reach;
      var partner = newest;
      if (newest != root) {
        // At the same length, the edge to the earlier partner comes first.
        key = deaths[place];
        if (reach < key || (reach == key && newest < u32(before))) { key = reach; }
        else { partner = u32(before); }
      }
      deaths[place] = key;
      partners[place] = i32(partner);
      let edge = Edge(key, min(i, partner), max(i, partner), i);
      if (earlier(edge, own)) { own = edge; }
    }
    newest = first_of(own, lane);
    if (newest == NONE) { break; }
  }

  for (var i = first + lane; i < end; i += 256u) {
    if (!is_member(i, cloud)) { continue; }
    if (i == root) {
      if (params.labelled == 1u) {
        deaths[i] = 0u;
        partners[i] = -1;
        if (params.metric == 2u) { coordinates[i] = 0; }
      }
      continue;
    }
    let place = place_of(i, cloud);
    let partner = u32(~partners[place]);
    partners[place] = i32(partner - first);
    if (params.metric == 1u) { deaths[place] = bitcast<u32>(sqrt(bitcast<f32>(deaths[place]))); }
    if (params.metric == 2u) { coordinates[place] = largest_coordinate(i, partner); }
  }
}
