//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// The Euclidean norm of up to seven tensors a dispatch of `part`, and of all parts in one workgroup of `finish`.
// A workgroup of `part` sums the squares of CHUNK elements of one tensor; its threads take every 256th.
//   g0 … g6: [counts[s]]   partials: one sum per workgroup, those of this dispatch from `first` on   y: [1]
// Slots that are not used have count 0 and start at 0xffffffff. `finish_checked` also reports a norm that is no finite number.
const CHUNK: u32 = 4096u;

struct Params {
  starts: array<vec4u, 2>,
  counts: array<vec4u, 2>,
  first: u32,
  parts: u32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g0: array<f32>;
@group(0) @binding(2) var<storage, read> g1: array<f32>;
@group(0) @binding(3) var<storage, read> g2: array<f32>;
@group(0) @binding(4) var<storage, read> g3: array<f32>;
@group(0) @binding(5) var<storage, read> g4: array<f32>;
@group(0) @binding(6) var<storage, read> g5: array<f32>;
@group(0) @binding(7) var<storage, read> g6: array<f32>;
@group(0) @binding(8) var<storage, read_write> partials: array<f32>;
@group(0) @binding(9) var<storage, read_write> y: array<f32>;
@group(0) @binding(10) var<storage, read_write> status: array<atomic<u32>, 2>;

var<workgroup> sums: array<f32, 256>;

fn value(slot: u32, i: u32) -> f32 {
  switch slot {
    case 0u: { return g0[i]; }
    case 1u: { return g1[i]; }
    case 2u: { return g2[i]; }
    case 3u: { return g3[i]; }
    case 4u: { return g4[i]; }
    case 5u: { return g5[i]; }
    default: { return g6[i]; }
  }
}

fn total(own: f32, lane: u32) -> f32 {
  sums[lane] = own;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  workgroupBarrier();
  return sums[0];
}

@compute @workgroup_size(256)
fn part(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let work = linear_workgroup(group, groups);
  var slot = 0u;
  for (var s = 1u; s < 7u; s++) { slot += u32(work >= params.starts[s / 4u][s % 4u]); }
  let count = params.counts[slot / 4u][slot % 4u];
  let begin = (work - params.starts[slot / 4u][slot % 4u]) * CHUNK;
  let end = min(begin + CHUNK, count);
  var own = 0.0;
  for (var i = begin + lane; i < end; i += 256u) {
    let g = value(slot, i);
    own += g * g;
  }
  let sum = total(own, lane);
  if (lane == 0u && begin < count) { partials[params.first + work] = sum; }
}

fn norm_of_parts(lane: u32) -> f32 {
  var own = 0.0;
  for (var i = lane; i < params.parts; i += 256u) { own += partials[i]; }
  return sqrt(total(own, lane));
}

@compute @workgroup_size(256)
fn finish(@builtin(local_invocation_index) lane: u32) {
  let norm = norm_of_parts(lane);
  if (lane == 0u) { y[0] = norm; }
}

@compute @workgroup_size(256)
fn finish_checked(@builtin(local_invocation_index) lane: u32) {
  let norm = norm_of_parts(lane);
  if (lane == 0u) {
    y[0] = norm;
    if ((bitcast<u32>(norm) & 0x7fffffffu) >= 0x7f800000u) { report_fault_f32(params.fault, norm); }
  }
}
