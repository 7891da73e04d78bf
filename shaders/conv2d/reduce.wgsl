//#include "lib/grid.wgsl"

// Sums of a convolution's gradients in a fixed order.
struct Params {
  // Of the result.
  count: u32,
  splits: u32,
  // Batch, features, features per group, channels per group.
  counts: vec4u,
  // Height and width of x, then of dy.
  planes: vec4u,
  // Height and width of the kernel.
  kernel: vec4u,
  // Stride, then dilation.
  steps: vec4u,
  // Padding at the top and at the left.
  start: vec4u,
}

@group(0) @binding(0) var<uniform> params: Params;
// partials: [splits, count]
@group(0) @binding(1) var<storage, read> partials: array<f32>;
// dy: [batch, features, height, width]
@group(0) @binding(2) var<storage, read> dy: array<f32>;
// x: [batch, channels, height, width]
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

// One thread sums the copies of one weight gradient that the splits left.
@compute @workgroup_size(256)
fn splits(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(id, counts) * 256u + lane;
  if (i >= params.count) { return; }
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) { sum += partials[s * params.count + i]; }
  result[i] = sum;
}

var<workgroup> parts: array<f32, 256>;

fn total(lane: u32, own: f32) -> f32 {
  parts[lane] = own;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[lane] += parts[lane + half]; }
  }
  return parts[0];
}

// One workgroup sums one bias gradient over batch and pixels.
@compute @workgroup_size(256)
fn bias(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = linear_workgroup(id, counts);
  let area = params.planes.z * params.planes.w;
  var own = 0.0;
  if (o < params.count) {
    for (var i = lane; i < params.counts.x * area; i += 256u) {
      own += dy[(i / area * params.counts.y + o) * area + i % area];
    }
  }
  let sum = total(lane, own);
  if (lane == 0u && o < params.count) { result[o] = sum; }
}

// One workgroup sums one weight gradient over batch and pixels: for few features per group.
@compute @workgroup_size(256)
fn weight(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(id, counts);
  let features = params.counts.y;
  let channels = params.counts.w;
  let v = index % params.kernel.y;
  let u = index / params.kernel.y % params.kernel.x;
  let c = index / (params.kernel.x * params.kernel.y) % channels;
  let o = index / (params.kernel.x * params.kernel.y) / channels;
  let area = params.planes.z * params.planes.w;
  var own = 0.0;
  if (index < params.count) {
    let groups = features / params.counts.z;
    let channel = o / params.counts.z * channels + c;
    for (var k = lane; k < params.counts.x * area; k += 256u) {
      let b = k / area;
      let i = k % area / params.planes.w;
      let j = k % params.planes.w;
      let row = i32(i * params.steps.x + u * params.steps.z) - i32(params.start.x);
      let column = i32(j * params.steps.y + v * params.steps.w) - i32(params.start.y);
      if (row >= 0 && column >= 0 && row < i32(params.planes.x) && column < i32(params.planes.y)) {
        let at = ((b * groups * channels + channel) * params.planes.x + u32(row)) * params.planes.y + u32(column);
        own += x[at] * dy[(b * features + o) * area + k % area];
      }
    }
  }
  let sum = total(lane, own);
  if (lane == 0u && index < params.count) { result[index] = sum; }
}
