//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// y[e] = x[offset(e) + index(e) · step], as bits, along the walk over the result's axes. One thread reads one element.
// x: [.., size, ..]; index: what the walk reaches, int32 or uint32 (a negative one is a large unsigned one); y: [count]
override SIGNED: u32;

struct Params {
  count: u32,
  axes: u32,
  // Of the indexed axis of x: how many elements, and how far apart.
  size: u32,
  step: u32,
  fault: u32,
  sizes: array<vec4<u32>, 2>,
  x_strides: array<vec4<u32>, 2>,
  index_strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>, 2>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  var rest = i;
  var at_x = 0u;
  var at_index = 0u;
  for (var k = params.axes; k > 0u; k--) {
    let axis = k - 1u;
    let size = params.sizes[axis / 4u][axis % 4u];
    let step = rest % size;
    rest = rest / size;
    at_x += step * params.x_strides[axis / 4u][axis % 4u];
    at_index += step * params.index_strides[axis / 4u][axis % 4u];
  }
  let picked = index[at_index];
  if (picked < params.size) {
    y[i] = x[at_x + picked * params.step];
    return;
  }
  y[i] = 0u;
  if (SIGNED == 1u) { report_fault_i32(params.fault, bitcast<i32>(picked)); } else { report_fault(params.fault, picked); }
}
