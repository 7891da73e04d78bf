//#include "lib/grid.wgsl"

// Maxima and averages over windows of a plane, and their gradients. One thread computes one element of the result:
// forward it walks its window, backward the windows that hold its pixel, in a fixed order and without atomics.
//   large planes (x, dx): [planes, height, width]; small ones (y, indices, dy): [planes, rows, columns]
struct Params {
  // Elements of the result.
  count: u32,
  // Height, width, rows, columns.
  planes: vec4u,
  // Kernel, then stride.
  window: vec4u,
  // Top, left; at most half of the kernel.
  padding: vec4u,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read> chosen: array<i32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;
@group(0) @binding(4) var<storage, read_write> indices: array<i32>;

struct Span {
  first: vec2u,
  end: vec2u,
}

// Rows and columns of the plane inside of window (i, j).
fn pixels(i: u32, j: u32) -> Span {
  let corner = vec2u(i, j) * params.window.zw;
  let pad = params.padding.xy;
  return Span(max(corner, pad) - pad, min(corner + params.window.xy, params.planes.xy + pad) - pad);
}

// Windows that hold the pixel (row, column).
fn covering(row: u32, column: u32) -> Span {
  let at = vec2u(row, column) + params.padding.xy;
  let kernel = params.window.xy;
  let stride = params.window.zw;
  let first = (max(at + 1u, kernel) - kernel + stride - 1u) / stride;
  return Span(first, min(at / stride + 1u, params.planes.zw));
}

// NaN, without arithmetic that the compiler may simplify.
fn is_nan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

@compute @workgroup_size(256)
fn max_forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  let width = params.planes.y;
  let span = pixels(index / params.planes.w % params.planes.z, index % params.planes.w);
  let plane = index / (params.planes.z * params.planes.w) * params.planes.x * width;
  var at = span.first.x * width + span.first.y;
  var best = source[plane + at];
  for (var row = span.first.x; row < span.end.x; row++) {
    for (var column = span.first.y; column < span.end.y; column++) {
      let value = source[plane + row * width + column];
      if (is_nan(value) || (!is_nan(best) && value > best)) {
        best = value;
        at = row * width + column;
      }
    }
  }
  result[index] = best;
  indices[index] = i32(at);
}

@compute @workgroup_size(256)
fn max_backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  let area = params.planes.x * params.planes.y;
  let pixel = i32(index % area);
  let span = covering(index / params.planes.y % params.planes.x, index % params.planes.y);
  let plane = index / area * params.planes.z * params.planes.w;
  var sum = 0.0;
  for (var i = span.first.x; i < span.end.x; i++) {
    for (var j = span.first.y; j < span.end.y; j++) {
      let at = plane + i * params.planes.w + j;
      if (chosen[at] == pixel) { sum += source[at]; }
    }
  }
  result[index] = sum;
}

@compute @workgroup_size(256)
fn average_forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  let width = params.planes.y;
  let span = pixels(index / params.planes.w % params.planes.z, index % params.planes.w);
  let plane = index / (params.planes.z * params.planes.w) * params.planes.x * width;
  var sum = 0.0;
  for (var row = span.first.x; row < span.end.x; row++) {
    for (var column = span.first.y; column < span.end.y; column++) { sum += source[plane + row * width + column]; }
  }
  result[index] = sum / f32(params.window.x * params.window.y);
}

@compute @workgroup_size(256)
fn average_backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  let span = covering(index / params.planes.y % params.planes.x, index % params.planes.y);
  let plane = index / (params.planes.x * params.planes.y) * params.planes.z * params.planes.w;
  var sum = 0.0;
  for (var i = span.first.x; i < span.end.x; i++) {
    for (var j = span.first.y; j < span.end.y; j++) { sum += source[plane + i * params.planes.w + j]; }
  }
  result[index] = sum / f32(params.window.x * params.window.y);
}
