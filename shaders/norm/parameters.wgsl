//#include "lib/grid.wgsl"
//#include "lib/rows.wgsl"

// dbias = Σ g and dweight = Σ g · (x - mean) · rstd; 256 / LANES rows a workgroup, a row being a part of the terms of one parameter.
//   g, x: [outer, groups, inner] with one parameter per group   mean, variance: [statistics]   partials: [groups · parts, 2]
// The statistics of an element are those of its outer index when BY_ELEMENT, else of (outer index · groups + group) % statistics.
// `whole` does everything for one part. Otherwise `partial` sums every part, and in `combine` one thread adds the parts of one parameter.
override LANES: u32;
override INTERLEAVED: u32;
override BY_ELEMENT: u32;

struct Params {
  outer: u32,
  groups: u32,
  inner: u32,
  terms: u32,
  parts: u32,
  part_terms: u32,
  statistics: u32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;

var<workgroup> sums: array<vec2f, 256>;

fn part_sums(row: Row, thread: u32) -> vec2f {
  var own = vec2f(0.0);
  for (var k = row.begin + row.lane; k < row.end; k += LANES) {
    let a = k / params.inner;
    let source = select((a * params.groups + row.group) % params.statistics, a, BY_ELEMENT == 1u);
    let at = offset_of(row.group, k);
    let cotangent = g[at];
    own += vec2f(cotangent, cotangent * (x[at] - mean[source]) / sqrt(variance[source] + params.eps));
  }
  sums[thread] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (row.lane < half) { sums[thread] += sums[thread + half * row_step()]; }
  }
  workgroupBarrier();
  return sums[thread - row.lane * row_step()];
}

@compute @workgroup_size(256)
fn whole(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  let total = part_sums(mine, thread);
  if (row_is_live(mine) && mine.lane == 0u) {
    dbias[mine.group] = total.x;
    dweight[mine.group] = total.y;
  }
}

@compute @workgroup_size(256)
fn partial(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  let total = part_sums(mine, thread);
  if (row_is_live(mine) && mine.lane == 0u) {
    partials[2u * mine.index] = total.x;
    partials[2u * mine.index + 1u] = total.y;
  }
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = linear_workgroup(group, groups) * 256u + thread;
  if (i >= params.groups) { return; }
  var total = vec2f(0.0);
  for (var part = 0u; part < params.parts; part++) {
    let at = 2u * (part * params.groups + i);
    total += vec2f(partials[at], partials[at + 1u]);
  }
  dbias[i] = total.x;
  dweight[i] = total.y;
}
