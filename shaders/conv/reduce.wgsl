//#include "lib/grid.wgsl"

// Weight gradients as sums in a fixed order.
struct Params {
  // Of the result, and of its parts.
  count: u32,
  splits: u32,
  // Batch, features, features per group, channels per group.
  counts: vec4u,
  // Of x, of dy and of the kernel: depth, height, width.
  size: vec4u,
  planes: vec4u,
  kernel: vec4u,
  stride: vec4u,
  dilation: vec4u,
  // Padding before the image.
  start: vec4u,
}

@group(0) @binding(0) var<uniform> params: Params;
// partials: [splits, count]
@group(0) @binding(1) var<storage, read> partials: array<f32>;
// dy: [batch, features, planes]
@group(0) @binding(2) var<storage, read> dy: array<f32>;
// x: [batch, channels, size]
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

var<workgroup> parts: array<vec4f, 256>;

// One workgroup sums four neighbouring taps of a kernel's row over batch and pixels: for few features per group.
@compute @workgroup_size(256)
fn weight(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let features = params.counts.y;
  let channels = params.counts.w;
  let kernel = params.kernel;
  let quads = (kernel.z + 3u) / 4u;
  let index = linear_workgroup(id, counts);
  let v = index % quads * 4u;
  let u = index / quads % kernel.y;
  let t = index / quads / kernel.y % kernel.x;
  let pair = index / quads / kernel.y / kernel.x;
  let o = pair / channels;
  let area = params.planes.x * params.planes.y * params.planes.z;
  var own = vec4f();
  if (o < features) {
    let channel = o / params.counts.z * channels + pair % channels;
    let all = features / params.counts.z * channels;
    for (var k = lane; k < params.counts.x * area; k += 256u) {
      let b = k / area;
      let pixel = k % area;
      let i = vec3u(pixel / params.planes.z / params.planes.y, pixel / params.planes.z % params.planes.y, pixel % params.planes.z);
      let at = vec3i(i * params.stride.xyz + vec3u(t, u, v) * params.dilation.xyz) - vec3i(params.start.xyz);
      if (any(vec2u(at.xy) >= params.size.xy)) { continue; }
      let row = (((b * all + channel) * params.size.x + u32(at.x)) * params.size.y + u32(at.y)) * params.size.z;
      let columns = vec4u(vec4i(at.z) + vec4i(0, 1, 2, 3) * i32(params.dilation.z));
      let inside = columns < vec4u(params.size.z);
      let places = select(vec4u(), row + columns, inside);
      let pixels = vec4f(x[places.x], x[places.y], x[places.z], x[places.w]);
      own += dy[(b * features + o) * area + pixel] * select(vec4f(), pixels, inside);
    }
  }
  parts[lane] = own;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[lane] += parts[lane + half]; }
  }
  if (lane == 0u && o < features) {
    let first = ((pair * kernel.x + t) * kernel.y + u) * kernel.z + v;
    let sum = parts[0];
    result[first] = sum.x;
    if (v + 1u < kernel.z) { result[first + 1u] = sum.y; }
    if (v + 2u < kernel.z) { result[first + 2u] = sum.z; }
    if (v + 3u < kernel.z) { result[first + 3u] = sum.w; }
  }
}
