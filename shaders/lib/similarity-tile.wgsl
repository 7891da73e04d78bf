// Sums of a tile of similarities: 4·SIDE rows of x by 4·SIDE anchors in a workgroup of SIDE × SIDE threads, of which each has 4 × 4, SIDE apart. d goes by in steps
// of SIDE; the squares of the rows are summed as they are loaded. The including file includes lib/fault.wgsl and lib/similarity.wgsl, and declares
//   override SIDE: u32;   8 or 16
//   var<storage, read> x: array<f32>, anchors: array<f32>;   [rows, d], [anchors, d]
// and in `Params` rows, anchors and fault (u32).

// Sums for the anchors `low`, low + SIDE, … of the thread's row `high`, of high + SIDE, …; then squares, and 1 / norm, of its rows and its anchors.
var<private> sum0: vec4f;
var<private> sum1: vec4f;
var<private> sum2: vec4f;
var<private> sum3: vec4f;
var<private> x_squares: vec4f;
var<private> anchor_squares: vec4f;
var<private> x_norms: vec4f;
var<private> anchor_norms: vec4f;

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

fn sum_tile(first_row: u32, first_anchor: u32, lane: u32) {
  let low = lane % SIDE;
  let high = lane / SIDE;
  let place = low * (SIDE + 1u) + high;
  sum0 = vec4f();
  sum1 = vec4f();
  sum2 = vec4f();
  sum3 = vec4f();
  var own_x = vec4f();
  var own_anchors = vec4f();
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
    own_x += x_quad * x_quad;
    own_anchors += anchor_quad * anchor_quad;
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
  x_tile[place] = own_x;
  anchor_tile[place] = own_anchors;
  workgroupBarrier();
  x_squares = vec4f();
  anchor_squares = vec4f();
  for (var i = 0u; i < SIDE; i++) {
    x_squares += x_tile[i * (SIDE + 1u) + high];
    anchor_squares += anchor_tile[i * (SIDE + 1u) + low];
  }
  workgroupBarrier();
  x_norms = inverse_norms(x_squares);
  anchor_norms = inverse_norms(anchor_squares);
}
