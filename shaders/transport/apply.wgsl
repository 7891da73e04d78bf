//#include "lib/grid.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/plan.wgsl"

// y = P x, or Pᵀ x where `transposed`: one workgroup computes 16 results by 64 features, one thread four neighbouring features of one
// result. Sixteen terms at a time: each thread computes one entry of P, which all share through workgroup memory.
//   logits: [count, n, m]   x: [count, terms, d] or, with step 0, [terms, d]   y: [count, results, d]
struct Params {
  count: u32,
  n: u32,
  m: u32,
  stride: u32,
  row_offset: u32,
  column_offset: u32,
  masked: u32,
  mask_step: u32,
  tiles: u32,
  slices: u32,
  d: u32,
  results: u32,
  terms: u32,
  transposed: u32,
  x_step: u32,
  temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> potentials: array<f32>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Entry of result r and term t at 17 t + r: threads that differ in either find different banks of memory.
var<workgroup> entries: array<f32, 272>;

fn entry(matrix: u32, result: u32, term: u32) -> f32 {
  if (result >= params.results || term >= params.terms) { return 0.0; }
  let i = select(result, term, params.transposed == 1u);
  let j = select(term, result, params.transposed == 1u);
  return share(matrix, i, j, row_potential(matrix, i), column_potential(matrix, j));
}

@compute @workgroup_size(256)
fn multiply(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  let matrix = index / (params.tiles * params.slices);
  if (matrix >= params.count) { return; }
  let first = (index / params.slices % params.tiles) * 16u;
  let feature = (index % params.slices) * 64u + 4u * (lane % 16u);
  let r = lane / 16u;
  // Neighbouring threads read neighbouring logits, whichever way P is walked.
  let along = lane % 16u;
  let load_result = select(r, along, params.transposed == 1u);
  let load_term = select(along, r, params.transposed == 1u);
  var sum = vec4f();
  for (var begin = 0u; begin < params.terms; begin += 16u) {
    let value = entry(matrix, first + load_result, begin + load_term);
    workgroupBarrier();
    entries[17u * load_term + load_result] = value;
    workgroupBarrier();
    let end = min(16u, params.terms - begin);
    for (var t = 0u; t < end; t++) {
      let at = matrix * params.x_step + (begin + t) * params.d + feature;
      var values = vec4f();
      for (var k = 0u; k < 4u; k++) { if (feature + k < params.d) { values[k] = x[at + k]; } }
      sum += entries[17u * t + r] * values;
    }
  }
  if (first + r >= params.results) { return; }
  let at = (matrix * params.results + first + r) * params.d + feature;
  for (var k = 0u; k < 4u; k++) { if (feature + k < params.d) { y[at + k] = sum[k]; } }
}
