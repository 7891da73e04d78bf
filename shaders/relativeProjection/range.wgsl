//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/similarity.wgsl"
//#include "lib/similarity-tile.wgsl"
//#include "lib/similarity-board.wgsl"

// The similarities of every row of x that are `least` at least, in the order of the anchors, the first `most` of them, and how many there are; what is left of a row is 0 at -1.
// A workgroup has 4·SIDE rows and goes over all anchors, tile by tile; one thread a row keeps the list, in the result itself, where it may stand from `before` anchors that came
// first, of `all`.
//   x: [rows, d]   anchors: [anchors, d]   values, places: [rows, most]   counts: [rows]
override SIDE: u32 = 8u;

struct Params {
  rows: u32,
  anchors: u32,
  d: u32,
  standardised: u32,
  factor: f32,
  p: f32,
  least: f32,
  most: u32,
  before: u32,
  all: u32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> places: array<i32>;
@group(0) @binding(6) var<storage, read_write> counts: array<i32>;
@group(0) @binding(7) var<storage, read_write> status: array<atomic<u32>, 2>;

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first_row = linear_workgroup(group, groups) * 4u * SIDE;
  if (first_row >= params.rows) { return; }
  let start = (first_row + lane) * params.most;
  let keeps = lane < 4u * SIDE && first_row + lane < params.rows;
  var count = 0u;
  if (keeps && params.before > 0u) { count = u32(counts[first_row + lane]); }
  for (var first_anchor = 0u; first_anchor < params.anchors; first_anchor += 4u * SIDE) {
    show_tile(first_row, first_anchor, lane);
    if (keeps) {
      for (var i = 0u; i < min(4u * SIDE, params.anchors - first_anchor); i++) {
        let value = board[lane * 33u + i];
        if (value < params.least) { continue; }
        if (count < params.most) {
          values[start + count] = value;
          places[start + count] = i32(params.before + first_anchor + i);
        }
        count++;
      }
    }
    workgroupBarrier();
  }
  if (!keeps) { return; }
  counts[first_row + lane] = i32(count);
  if (params.before + params.anchors < params.all) { return; }
  for (var at = count; at < params.most; at++) {
    values[start + at] = 0.0;
    places[start + at] = -1;
  }
}
