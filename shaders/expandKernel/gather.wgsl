//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// Expansion through permutations, given as positions: W[o, g, i, n] = w[o, i, index[g, n]].
//   forward   one number of W a thread
//   invert    for each g and m the positions n with index[g, n] = m, in order, one (g, m) a thread: `places` from `starts` of m up to that of m + 1
//   scatter   dw[o, i, m] = sum over g of what those positions of t hold, one number a thread
// index: int32 or uint32 [matrices, d] (a negative one is a large unsigned one)
override SIGNED: u32 = 0u;

struct Params {
  matrices: u32,
  kernels: u32,
  cin: u32,
  d: u32,
  group: u32,
  identity: u32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>, 2>;
@group(0) @binding(5) var<storage, read_write> starts: array<u32>;
@group(0) @binding(6) var<storage, read_write> places: array<u32>;

fn expanded(kernel: u32, g: u32) -> u32 {
  return ((kernel / params.cin * params.group + g) * params.cin + kernel % params.cin) * params.d;
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.kernels * params.group * params.d) { return; }
  let n = i % params.d;
  let channel = i / params.d % params.cin;
  let g = i / params.d / params.cin % params.group;
  let first = (i / params.d / params.cin / params.group * params.cin + channel) * params.d;
  if (g < params.identity) {
    y[i] = x[first + n];
    return;
  }
  let picked = index[(g - params.identity) * params.d + n];
  if (picked < params.d) {
    y[i] = x[first + picked];
    return;
  }
  y[i] = 0.0;
  if (SIGNED == 1u) { report_fault_i32(params.fault, bitcast<i32>(picked)); } else { report_fault(params.fault, picked); }
}

@compute @workgroup_size(256)
fn invert(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  // One more than there are positions: where the last one's end.
  let g = i / (params.d + 1u);
  if (g >= params.matrices) { return; }
  let m = i % (params.d + 1u);
  var place = 0u;
  for (var n = 0u; n < params.d; n++) { place += u32(index[g * params.d + n] < m); }
  starts[i] = g * params.d + place;
  if (m == params.d) { return; }
  for (var n = 0u; n < params.d; n++) {
    if (index[g * params.d + n] == m) {
      places[g * params.d + place] = n;
      place++;
    }
  }
}

@compute @workgroup_size(256)
fn scatter(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  let kernel = i / params.d;
  if (kernel >= params.kernels) { return; }
  let m = i % params.d;
  var total = 0.0;
  if (params.identity == 1u) { total = x[expanded(kernel, 0u) + m]; }
  for (var g = 0u; g < params.matrices; g++) {
    let first = expanded(kernel, g + params.identity);
    let own = g * (params.d + 1u) + m;
    for (var place = starts[own]; place < starts[own + 1u]; place++) { total += x[first + places[place]]; }
  }
  y[i] = total;
}
