//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/similarity.wgsl"

// y[b, k] = similarity of row b of x and row k of the anchors, in standard units. A workgroup of SIDE × SIDE threads computes 4·SIDE × 4·SIDE of them, a
// thread 4 × 4, SIDE apart; d goes by in steps of SIDE. Each workgroup sums the squares of its rows as it loads them.
//   x: [rows, d]   anchors: [anchors, d]   y: [rows, anchors]   norms: [rows + anchors], 1 / norm
override SIDE: u32 = 16u; // 8 or 16

struct Params {
  rows: u32,
  anchors: u32,
  d: u32,
  standardised: u32,
  factor: f32,
  p: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms: array<f32>;
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>, 2>;

// [feature][SIDE quadruples of rows]; one more keeps writes along features on different banks.
var<workgroup> x_tile: array<vec4f, 272>;
var<workgroup> anchor_tile: array<vec4f, 272>;

fn quad_of_x(row: u32, column: u32, scale: f32, mean: f32) -> vec4f {
  var quad = vec4f(mean);
  if (row < params.rows) { quad.x = x[row * params.d + column]; }
  if (row + SIDE < params.rows) { quad.y = x[(row + SIDE) * params.d + column]; }
  if (row + 2u * SIDE < params.rows) { quad.z = x[(row + 2u * SIDE) * params.d + column]; }
  if (row + 3u * SIDE < params.rows) { quad.w = x[(row + 3u * SIDE) * params.d + column]; }
  return (quad - mean) * scale;
}
fn quad_of_anchors(row: u32, column: u32, scale: f32, mean: f32) -> vec4f {
  var quad = vec4f(mean);
  if (row < params.anchors) { quad.x = anchors[row * params.d + column]; }
  if (row + SIDE < params.anchors) { quad.y = anchors[(row + SIDE) * params.d + column]; }
  if (row + 2u * SIDE < params.anchors) { quad.z = anchors[(row + 2u * SIDE) * params.d + column]; }
  if (row + 3u * SIDE < params.anchors) { quad.w = anchors[(row + 3u * SIDE) * params.d + column]; }
  return (quad - mean) * scale;
}

fn check(square: f32) {
  if ((bitcast<u32>(square) & 0x7f800000u) == 0x7f800000u) { report_fault_f32(params.fault, square); }
}
fn inverse_norms(squares: vec4f) -> vec4f {
  return select(vec4f(), inverseSqrt(max(squares, vec4f(1.2e-38))), squares > vec4f());
}

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  // The norms of the anchors are wanted without rows too.
  let row_tiles = max(1u, (params.rows + 4u * SIDE - 1u) / (4u * SIDE));
  let anchor_tiles = (params.anchors + 4u * SIDE - 1u) / (4u * SIDE);
  let number = linear_workgroup(group, groups);
  if (number >= row_tiles * anchor_tiles) { return; }
  let first_anchor = number % anchor_tiles * 4u * SIDE;
  let first_row = number / anchor_tiles * 4u * SIDE;
  let low = lane % SIDE;
  let high = lane / SIDE;
  let place = low * (SIDE + 1u) + high;
  var sum0 = vec4f();
  var sum1 = vec4f();
  var sum2 = vec4f();
  var sum3 = vec4f();
  var x_squares = vec4f();
  var anchor_squares = vec4f();
  for (var first = 0u; first < params.d; first += SIDE) {
    // Neighbouring lanes go along memory.
    let column = first + low;
    var x_quad = vec4f();
    var anchor_quad = vec4f();
    if (column < params.d) {
      let scale = inverse_deviation(column);
      let mean = mean_of(column);
      x_quad = quad_of_x(first_row + high, column, scale, mean);
      anchor_quad = quad_of_anchors(first_anchor + high, column, scale, mean);
    }
    x_squares += x_quad * x_quad;
    anchor_squares += anchor_quad * anchor_quad;
    x_tile[place] = x_quad;
    anchor_tile[place] = anchor_quad;
    workgroupBarrier();
    for (var i = 0u; i < SIDE; i++) {
      let rows = x_tile[i * (SIDE + 1u) + high];
      let columns = anchor_tile[i * (SIDE + 1u) + low];
      sum0 = with_feature(sum0, rows.x, columns);
      sum1 = with_feature(sum1, rows.y, columns);
      sum2 = with_feature(sum2, rows.z, columns);
      sum3 = with_feature(sum3, rows.w, columns);
    }
    workgroupBarrier();
  }
  x_tile[place] = x_squares;
  anchor_tile[place] = anchor_squares;
  workgroupBarrier();
  x_squares = vec4f();
  anchor_squares = vec4f();
  for (var i = 0u; i < SIDE; i++) {
    x_squares += x_tile[i * (SIDE + 1u) + high];
    anchor_squares += anchor_tile[i * (SIDE + 1u) + low];
  }
  let x_norms = inverse_norms(x_squares);
  let anchor_norms = inverse_norms(anchor_squares);
  let row = first_row + high;
  let anchor = first_anchor + low;
  for (var i = 0u; i < 4u; i++) {
    if (low == 0u && first_anchor == 0u && row + i * SIDE < params.rows) {
      check(x_squares[i]);
      if (KIND <= ANGULAR) { norms[row + i * SIDE] = x_norms[i]; }
    }
    if (high == 0u && first_row == 0u && anchor + i * SIDE < params.anchors) {
      check(anchor_squares[i]);
      if (KIND <= ANGULAR) { norms[params.rows + anchor + i * SIDE] = anchor_norms[i]; }
    }
  }
  put_row(row, anchor, sum0, x_norms.x, anchor_norms);
  put_row(row + SIDE, anchor, sum1, x_norms.y, anchor_norms);
  put_row(row + 2u * SIDE, anchor, sum2, x_norms.z, anchor_norms);
  put_row(row + 3u * SIDE, anchor, sum3, x_norms.w, anchor_norms);
}

fn put_row(row: u32, anchor: u32, sums: vec4f, norm: f32, anchor_norms: vec4f) {
  if (row >= params.rows) { return; }
  for (var i = 0u; i < 4u; i++) {
    if (anchor + i * SIDE < params.anchors) { y[row * params.anchors + anchor + i * SIDE] = similarity(sums[i], norm, anchor_norms[i]); }
  }
}
