//#include "lib/grid.wgsl"

// y[y_first + coordinates · y_strides] = x[x_first + coordinates · x_strides] for every element of the walked `sizes`, as bits.
// Elements of y that no coordinate reaches are left alone. One thread copies one element.
// x, y: any shape of four-byte elements
struct Params {
  count: u32,
  axes: u32,
  x_first: u32,
  y_first: u32,
  sizes: array<vec4<u32>, 2>,
  x_strides: array<vec4<u32>, 2>,
  y_strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  var rest = linear_workgroup(group, groups) * 256u + lane;
  if (rest >= params.count) { return; }
  var source = params.x_first;
  var place = params.y_first;
  for (var k = params.axes; k > 0u; k--) {
    let axis = k - 1u;
    let size = params.sizes[axis / 4u][axis % 4u];
    let step = rest % size;
    rest = rest / size;
    source += step * params.x_strides[axis / 4u][axis % 4u];
    place += step * params.y_strides[axis / 4u][axis % 4u];
  }
  y[place] = x[source];
}

// Writes zeros: what a strided copy leaves alone.
@compute @workgroup_size(256)
fn zero(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i < params.count) { y[i] = 0u; }
}
