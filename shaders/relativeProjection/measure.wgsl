//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// Means and deviations of columns. One workgroup takes 16 columns, 16 threads a column. Rows may come in several dispatches: until the last,
// the result holds sums of squares in place of deviations.   x: [rows, d]   result: [2, d]
struct Params {
  rows: u32,
  before: u32, // rows that came first
  all: u32,
  d: u32,
  scale: u32, // whether deviations are taken, or are 1
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>, 2>;

var<workgroup> firsts: array<f32, 256>;
var<workgroup> seconds: array<f32, 256>;
var<workgroup> counts: array<f32, 256>;

// Adds others' mean and sum of squares to those of a lane.
fn join(lane: u32, mean: f32, square: f32, count: f32) {
  if (count == 0.0) { return; }
  let total = counts[lane] + count;
  let distance = mean - firsts[lane];
  let share = count / total;
  firsts[lane] += distance * share;
  seconds[lane] += square + distance * distance * counts[lane] * share;
  counts[lane] = total;
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let column = linear_workgroup(group, groups) * 16u + local.x;
  let lane = local.y * 16u + local.x;
  let inside = column < params.d;
  // Welford's update of mean and squared deviations, of distances from the first row.
  var shift = 0.0;
  if (inside) { shift = x[column]; }
  var mean = 0.0;
  var square = 0.0;
  var count = 0.0;
  if (inside) {
    for (var row = local.y; row < params.rows; row += 16u) {
      let value = x[row * params.d + column] - shift;
      count += 1.0;
      let distance = value - mean;
      mean += distance / count;
      square += distance * (value - mean);
    }
  }
  firsts[lane] = mean;
  seconds[lane] = square;
  counts[lane] = count;
  for (var half = 8u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) {
      let other = lane + half * 16u;
      join(lane, firsts[other], seconds[other], counts[other]);
    }
  }
  if (inside && local.y == 0u) {
    if (params.before > 0u) { join(lane, result[column] - shift, result[params.d + column], f32(params.before)); }
    if ((bitcast<u32>(seconds[lane]) & 0x7f800000u) == 0x7f800000u) { report_fault_f32(params.fault, seconds[lane]); }
    result[column] = shift + firsts[lane];
    let last = params.before + params.rows == params.all;
    let deviation = select(1.0, sqrt(max(seconds[lane], 0.0) / counts[lane]), params.scale == 1u);
    result[params.d + column] = select(seconds[lane], deviation, last);
  }
}
