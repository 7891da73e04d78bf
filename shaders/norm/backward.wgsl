//#include "lib/grid.wgsl"
//#include "lib/rows.wgsl"

// dx = rstd · (h - average(h) - scaled · average(h · scaled)) with h = g · weight, scaled = (x - mean) · rstd and averages
// over the group; 256 / LANES rows a workgroup.
//   g, x, dx: [outer, groups, inner]   mean, variance: [groups]   partials: [groups · parts, 2]
//   weight: [inner] when BY_ELEMENT (outer is 1), else [channels] with channel = group % channels
// `row` does everything for groups of one part. Otherwise `partial` sums every part, and `finish` adds the parts of its group.
override LANES: u32;
override INTERLEAVED: u32;
override WEIGHT: u32;
override BY_ELEMENT: u32;

struct Params {
  outer: u32,
  groups: u32,
  inner: u32,
  terms: u32,
  parts: u32,
  part_terms: u32,
  channels: u32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;

var<workgroup> sums: array<vec2f, 256>;

// (mean, rstd); anything finite for rows past the last.
fn statistics(row: Row) -> vec2f {
  if (!row_is_live(row)) { return vec2f(0.0, 1.0); }
  return vec2f(mean[row.group], 1.0 / sqrt(variance[row.group] + params.eps));
}

// (h, scaled) of element k.
fn element(row: Row, k: u32, at: u32, known: vec2f) -> vec2f {
  var h = g[at];
  if (WEIGHT == 1u) { h *= weight[select(row.group % params.channels, k, BY_ELEMENT == 1u)]; }
  return vec2f(h, (x[at] - known.x) * known.y);
}

fn part_sums(row: Row, known: vec2f, thread: u32) -> vec2f {
  var own = vec2f(0.0);
  for (var k = row.begin + row.lane; k < row.end; k += LANES) {
    let e = element(row, k, offset_of(row.group, k), known);
    own += vec2f(e.x, e.x * e.y);
  }
  sums[thread] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (row.lane < half) { sums[thread] += sums[thread + half * row_step()]; }
  }
  workgroupBarrier();
  return sums[thread - row.lane * row_step()];
}

fn write_row(row: Row, known: vec2f, total: vec2f) {
  let average = total / max(f32(params.terms), 1.0);
  for (var k = row.begin + row.lane; k < row.end; k += LANES) {
    let at = offset_of(row.group, k);
    let e = element(row, k, at, known);
    dx[at] = known.y * (e.x - average.x - e.y * average.y);
  }
}

@compute @workgroup_size(256)
fn row(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  let known = statistics(mine);
  let total = part_sums(mine, known, thread);
  write_row(mine, known, total);
}

@compute @workgroup_size(256)
fn partial(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  let total = part_sums(mine, statistics(mine), thread);
  if (row_is_live(mine) && mine.lane == 0u) {
    partials[2u * mine.index] = total.x;
    partials[2u * mine.index + 1u] = total.y;
  }
}

@compute @workgroup_size(256)
fn finish(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  if (!row_is_live(mine)) { return; }
  var total = vec2f(0.0);
  for (var part = 0u; part < params.parts; part++) {
    let at = 2u * (part * params.groups + mine.group);
    total += vec2f(partials[at], partials[at + 1u]);
  }
  write_row(mine, statistics(mine), total);
}
