//#include "lib/grid.wgsl"
//#include "lib/rows.wgsl"

// y = (x - mean) / sqrt(variance + eps) · weight + bias with the statistics of each group; 256 / LANES rows a workgroup.
//   x, y: [outer, groups, inner]   mean, variance: [groups]   partials: [groups · parts, 2]
//   weight, bias: [inner] when BY_ELEMENT (outer is 1), else [channels] with channel = group % channels
// `row` does everything for groups of one part. Otherwise `partial` reduces every part, and `finish` merges the parts of its group.
override LANES: u32;
override INTERLEAVED: u32;
override WEIGHT: u32;
override BIAS: u32;
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
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> variance: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;

// Mean and sum of squared deviations of `count` numbers, relative to the group's first element.
struct Moments {
  count: f32,
  mean: f32,
  squares: f32,
}

var<workgroup> moments: array<Moments, 256>;

fn merge(a: Moments, b: Moments) -> Moments {
  if (b.count == 0.0) { return a; }
  let count = a.count + b.count;
  let share = b.count / count;
  let distance = b.mean - a.mean;
  return Moments(count, a.mean + distance * share, a.squares + b.squares + distance * distance * a.count * share);
}

// The group's first element: differences from it are small where the spread is, whatever the mean.
fn origin_of(row: Row) -> f32 {
  if (params.terms == 0u || !row_is_live(row)) { return 0.0; }
  return x[offset_of(row.group, 0u)];
}

fn part_moments(row: Row, origin: f32, thread: u32) -> Moments {
  var own = Moments(0.0, 0.0, 0.0);
  for (var k = row.begin + row.lane; k < row.end; k += LANES) {
    let d = x[offset_of(row.group, k)] - origin;
    own.count += 1.0;
    let before = d - own.mean;
    own.mean += before / own.count;
    own.squares += before * (d - own.mean);
  }
  moments[thread] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (row.lane < half) { moments[thread] = merge(moments[thread], moments[thread + half * row_step()]); }
  }
  workgroupBarrier();
  return moments[thread - row.lane * row_step()];
}

fn write_row(row: Row, origin: f32, all: Moments) {
  let spread = all.squares / max(all.count, 1.0);
  let rstd = 1.0 / sqrt(spread + params.eps);
  if (row.lane == 0u && row.index < params.groups) {
    mean[row.group] = origin + all.mean;
    variance[row.group] = spread;
  }
  for (var k = row.begin + row.lane; k < row.end; k += LANES) {
    let at = offset_of(row.group, k);
    let place = select(row.group % params.channels, k, BY_ELEMENT == 1u);
    var value = (x[at] - origin - all.mean) * rstd;
    if (WEIGHT == 1u) { value *= weight[place]; }
    if (BIAS == 1u) { value += bias[place]; }
    y[at] = value;
  }
}

@compute @workgroup_size(256)
fn row(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  let origin = origin_of(mine);
  let all = part_moments(mine, origin, thread);
  if (row_is_live(mine)) { write_row(mine, origin, all); }
}

@compute @workgroup_size(256)
fn partial(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  let all = part_moments(mine, origin_of(mine), thread);
  if (row_is_live(mine) && mine.lane == 0u) {
    partials[2u * mine.index] = all.mean;
    partials[2u * mine.index + 1u] = all.squares;
  }
}

@compute @workgroup_size(256)
fn finish(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let mine = row_of(linear_workgroup(group, groups), thread);
  if (!row_is_live(mine)) { return; }
  var all = Moments(0.0, 0.0, 0.0);
  for (var part = 0u; part < params.parts; part++) {
    let begin = min(part * params.part_terms, params.terms);
    let count = min(params.part_terms, params.terms - begin);
    let at = 2u * (part * params.groups + mine.group);
    all = merge(all, Moments(f32(count), partials[at], partials[at + 1u]));
  }
  write_row(mine, origin_of(mine), all);
}
