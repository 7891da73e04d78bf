//#include "lib/grid.wgsl"

// Distance of death times from beta: |d - beta|, its square, or how far d is beyond it, over all places with a partner.
//   deaths, partners, ddeaths: [count]   loss, terms, known_terms, g: []
struct Params {
  count: u32,
  form: u32, // 0: absolute, 1: squared, 2: hinge
  mean: u32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> deaths: array<f32>;
@group(0) @binding(2) var<storage, read> partners: array<i32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> terms: array<f32>;
@group(0) @binding(5) var<storage, read> g: array<f32>;
@group(0) @binding(6) var<storage, read> known_terms: array<f32>;
@group(0) @binding(7) var<storage, read_write> ddeaths: array<f32>;

var<workgroup> sums: array<f32, 256>;
var<workgroup> counts: array<u32, 256>;

@compute @workgroup_size(256)
fn forward(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  var count = 0u;
  for (var i = lane; i < params.count; i += 256u) {
    if (partners[i] < 0) { continue; }
    let beyond = deaths[i] - params.beta;
    count++;
    switch (params.form) {
      case 0u: { sum += abs(beyond); }
      case 1u: { sum += beyond * beyond; }
      default: { sum += max(0.0, beyond); }
    }
  }
  sums[lane] = sum;
  counts[lane] = count;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      sums[lane] += sums[lane + half];
      counts[lane] += counts[lane + half];
    }
  }
  if (lane == 0u) {
    terms[0] = f32(counts[0]);
    loss[0] = select(sums[0], sums[0] / f32(max(1u, counts[0])), params.mean == 1u);
  }
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let beyond = deaths[i] - params.beta;
  var slope = 2.0 * beyond;
  if (params.form == 0u) { slope = sign(beyond); }
  if (params.form == 2u) { slope = select(0.0, 1.0, beyond > 0.0); }
  let scale = select(g[0], g[0] / max(1.0, known_terms[0]), params.mean == 1u);
  ddeaths[i] = select(scale * slope, 0.0, partners[i] < 0);
}
