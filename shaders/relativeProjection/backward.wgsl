//#include "lib/grid.wgsl"
//#include "lib/similarity.wgsl"

// The gradient of one side, `own`, from the other's rows, in tiles as project.wgsl has them: out = 1/deviation · r · (Σ w f − r t u), where w = g · slope, f is the
// other row over its norm or what a distance makes of both, r = 1 / norm of the own row u and t = Σ w · cosine.
// Onto what stands in `out` where others came before; these anchors are columns of g and y from `first` on.
//   g, y: [rows of x, all anchors]   own, out: [rows, d]   other: [others, d]   own_norms: [rows]   other_norms: [others]
override SIDE: u32 = 16u; // 8 or 16

struct Params {
  rows: u32,
  others: u32,
  d: u32,
  standardised: u32,
  // Of g and y, from own row to row and from other row to row.
  own_step: u32,
  other_step: u32,
  first: u32,
  onto: u32,
  factor: f32,
  p: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> own: array<f32>;
@group(0) @binding(4) var<storage, read> other: array<f32>;
@group(0) @binding(5) var<storage, read> own_norms: array<f32>;
@group(0) @binding(6) var<storage, read> other_norms: array<f32>;
@group(0) @binding(7) var<storage, read> statistics: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

// [other row][SIDE quadruples: own rows, or columns]
var<workgroup> weight_tile: array<vec4f, 272>;
var<workgroup> reach_tile: array<vec4f, 272>;
var<workgroup> other_tile: array<vec4f, 272>;

// Features of an own row from `column` on, SIDE apart, in standard units.
fn own_quad(row: u32, column: u32) -> vec4f {
  var quad = vec4f();
  if (row >= params.rows) { return quad; }
  for (var i = 0u; i < 4u; i++) {
    let at = column + i * SIDE;
    if (at < params.d) { quad[i] = (own[row * params.d + at] - mean_of(at)) * inverse_deviation(at); }
  }
  return quad;
}

// Differences of at least this share of the largest count as the largest.
const LINF_REACH: f32 = 0.999999;

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row_tiles = (params.rows + 4u * SIDE - 1u) / (4u * SIDE);
  let column_tiles = (params.d + 4u * SIDE - 1u) / (4u * SIDE);
  let number = linear_workgroup(group, groups);
  if (number >= row_tiles * column_tiles) { return; }
  let low = lane % SIDE;
  let high = lane / SIDE;
  let first_row = number / column_tiles * 4u * SIDE;
  let first_column = number % column_tiles * 4u * SIDE;
  let row = first_row + high;
  let column = first_column + low;
  let u0 = own_quad(row, column);
  let u1 = own_quad(row + SIDE, column);
  let u2 = own_quad(row + 2u * SIDE, column);
  let u3 = own_quad(row + 3u * SIDE, column);
  var scales = vec4f();
  var means = vec4f();
  for (var i = 0u; i < 4u; i++) {
    if (column + i * SIDE < params.d) {
      scales[i] = inverse_deviation(column + i * SIDE);
      means[i] = mean_of(column + i * SIDE);
    }
  }
  var sum0 = vec4f();
  var sum1 = vec4f();
  var sum2 = vec4f();
  var sum3 = vec4f();
  var along = vec4f();
  // Neighbouring lanes go along memory: of g along the other rows where these are neighbours.
  let crossing = params.other_step == 1u;
  let step = select(high, low, crossing);
  let quad = select(low, high, crossing);
  for (var first = 0u; first < params.others; first += SIDE) {
    var weights = vec4f();
    var reaches = vec4f();
    if (first + step < params.others) {
      for (var i = 0u; i < 4u; i++) {
        let at = first_row + quad + i * SIDE;
        if (at < params.rows) {
          let place = params.first + at * params.own_step + (first + step) * params.other_step;
          var result = 0.0;
          if (KIND != INNER && KIND != SCALED_INNER) { result = y[place]; }
          weights[i] = g[place] * slope(result);
          if (KIND <= ANGULAR) { along[i] += weights[i] * cosine_from(result); }
          reaches[i] = -result * LINF_REACH;
        }
      }
    }
    weight_tile[step * (SIDE + 1u) + quad] = weights;
    if (KIND == LINF) { reach_tile[step * (SIDE + 1u) + quad] = reaches; }
    var others = vec4f();
    if (first + high < params.others) {
      let start = (first + high) * params.d;
      for (var i = 0u; i < 4u; i++) {
        if (column + i * SIDE < params.d) { others[i] = (other[start + column + i * SIDE] - means[i]) * scales[i]; }
      }
      if (KIND <= ANGULAR) { others *= other_norms[first + high]; }
    }
    other_tile[high * (SIDE + 1u) + low] = others;
    workgroupBarrier();
    for (var i = 0u; i < SIDE; i++) {
      let w = weight_tile[i * (SIDE + 1u) + high];
      let v = other_tile[i * (SIDE + 1u) + low];
      var reach = vec4f();
      if (KIND == LINF) { reach = reach_tile[i * (SIDE + 1u) + high]; }
      sum0 += w.x * features(u0, v, reach.x);
      sum1 += w.y * features(u1, v, reach.y);
      sum2 += w.z * features(u2, v, reach.z);
      sum3 += w.w * features(u3, v, reach.w);
    }
    workgroupBarrier();
  }
  weight_tile[step * (SIDE + 1u) + quad] = along;
  workgroupBarrier();
  along = vec4f();
  for (var i = 0u; i < SIDE; i++) { along += weight_tile[i * (SIDE + 1u) + high]; }
  put_row(row, column, scales, sum0, along.x, u0);
  put_row(row + SIDE, column, scales, sum1, along.y, u1);
  put_row(row + 2u * SIDE, column, scales, sum2, along.z, u2);
  put_row(row + 3u * SIDE, column, scales, sum3, along.w, u3);
}

fn put_row(row: u32, column: u32, scales: vec4f, sum: vec4f, along: f32, u: vec4f) {
  if (row >= params.rows) { return; }
  var values = scales * sum;
  if (KIND <= ANGULAR) {
    let size = own_norms[row];
    values = scales * size * (sum - along * size * u);
  }
  for (var i = 0u; i < 4u; i++) {
    let at = row * params.d + column + i * SIDE;
    if (column + i * SIDE < params.d) { out[at] = select(values[i], out[at] + values[i], params.onto == 1u); }
  }
}
