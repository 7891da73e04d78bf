//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/similarity.wgsl"
//#include "lib/similarity-tile.wgsl"

// y[b, k] = similarity of row b of x and row k of the anchors, in standard units. A workgroup computes one tile.
// y has `step` columns, of which these anchors are those from `first` on.
//   x: [rows, d]   anchors: [anchors, d]   y: [rows, step]   norms_of_x: [rows], norms_of_anchors: [anchors], 1 / norm
override SIDE: u32 = 16u; // 8 or 16

struct Params {
  rows: u32,
  anchors: u32,
  d: u32,
  standardised: u32,
  factor: f32,
  p: f32,
  step: u32,
  first: u32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms_of_x: array<f32>;
@group(0) @binding(6) var<storage, read_write> norms_of_anchors: array<f32>;
@group(0) @binding(7) var<storage, read_write> status: array<atomic<u32>, 2>;

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  // The norms of the anchors are wanted without rows too.
  let row_tiles = max(1u, (params.rows + 4u * SIDE - 1u) / (4u * SIDE));
  let anchor_tiles = (params.anchors + 4u * SIDE - 1u) / (4u * SIDE);
  let number = linear_workgroup(group, groups);
  if (number >= row_tiles * anchor_tiles) { return; }
  let first_anchor = number % anchor_tiles * 4u * SIDE;
  let first_row = number / anchor_tiles * 4u * SIDE;
  sum_tile(first_row, first_anchor, lane);
  let low = lane % SIDE;
  let high = lane / SIDE;
  let row = first_row + high;
  let anchor = first_anchor + low;
  for (var i = 0u; i < 4u; i++) {
    if (low == 0u && first_anchor == 0u && row + i * SIDE < params.rows) {
      check(x_squares[i]);
      if (KIND <= ANGULAR) { norms_of_x[row + i * SIDE] = x_norms[i]; }
    }
    if (high == 0u && first_row == 0u && anchor + i * SIDE < params.anchors) {
      check(anchor_squares[i]);
      if (KIND <= ANGULAR) { norms_of_anchors[anchor + i * SIDE] = anchor_norms[i]; }
    }
  }
  put_row(row, anchor, sum0, x_norms.x);
  put_row(row + SIDE, anchor, sum1, x_norms.y);
  put_row(row + 2u * SIDE, anchor, sum2, x_norms.z);
  put_row(row + 3u * SIDE, anchor, sum3, x_norms.w);
}

fn put_row(row: u32, anchor: u32, sums: vec4f, norm: f32) {
  if (row >= params.rows) { return; }
  for (var i = 0u; i < 4u; i++) {
    if (anchor + i * SIDE < params.anchors) { y[row * params.step + params.first + anchor + i * SIDE] = similarity(sums[i], norm, anchor_norms[i]); }
  }
}
