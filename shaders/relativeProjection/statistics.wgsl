//#include "lib/grid.wgsl"

// What goes back through means and deviations of columns.
//   collect   dx, x, danchors, anchors, statistics -> result: −Σ gradient and −Σ gradient · standardised, over the rows of both; one workgroup takes 16 columns, 16 threads a column
//   spread    g (of the statistics), x, statistics, onto -> dx, one thread an element
// x, dx: [rows, d]   anchors, danchors: [anchors, d]   statistics, result: [2, d]
struct Params {
  rows: u32,
  anchors: u32,
  all: u32, // rows of x in all parts
  d: u32,
  scale: u32, // whether deviations are taken
  onto: u32, // whether the result is added to: what parts before have brought, or dx
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> dx: array<f32>;
@group(0) @binding(4) var<storage, read> danchors: array<f32>;
@group(0) @binding(5) var<storage, read> statistics: array<f32>;
@group(0) @binding(6) var<storage, read_write> result: array<f32>;

var<workgroup> firsts: array<f32, 256>;
var<workgroup> seconds: array<f32, 256>;

fn standard(value: f32, column: u32) -> f32 {
  let deviation = statistics[params.d + column];
  return select(0.0, (value - statistics[column]) / select(1.0, deviation, deviation != 0.0), deviation != 0.0);
}

@compute @workgroup_size(16, 16)
fn collect(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let column = linear_workgroup(group, groups) * 16u + local.x;
  let lane = local.y * 16u + local.x;
  let inside = column < params.d;
  var sums = vec2f();
  if (inside) {
    // Sums of 16 rows on their own: long sums lose fewer digits.
    for (var first = local.y; first < params.rows; first += 256u) {
      var part = vec2f();
      for (var row = first; row < min(first + 256u, params.rows); row += 16u) {
        let value = dx[row * params.d + column];
        part += vec2f(value, value * standard(x[row * params.d + column], column));
      }
      sums += part;
    }
    for (var first = local.y; first < params.anchors; first += 256u) {
      var part = vec2f();
      for (var row = first; row < min(first + 256u, params.anchors); row += 16u) {
        let value = danchors[row * params.d + column];
        part += vec2f(value, value * standard(anchors[row * params.d + column], column));
      }
      sums += part;
    }
  }
  firsts[lane] = sums.x;
  seconds[lane] = sums.y;
  for (var half = 8u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) {
      firsts[lane] += firsts[lane + half * 16u];
      seconds[lane] += seconds[lane + half * 16u];
    }
  }
  if (inside && local.y == 0u) {
    var before = vec2f();
    if (params.onto == 1u) { before = vec2f(result[column], result[params.d + column]); }
    result[column] = before.x - firsts[lane];
    result[params.d + column] = before.y - seconds[lane];
  }
}

@group(0) @binding(7) var<storage, read> g: array<f32>;

@compute @workgroup_size(256)
fn spread(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.rows * params.d) { return; }
  let column = i % params.d;
  var value = g[column];
  if (params.scale == 1u) { value += g[params.d + column] * standard(x[i], column); }
  value /= f32(params.all);
  if (params.onto == 1u) { value += dx[i]; }
  result[i] = value;
}
