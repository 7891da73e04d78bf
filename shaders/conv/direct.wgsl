//#include "lib/grid.wgsl"
//#include "lib/taps.wgsl"

// A convolution (MODE = FORWARD) or its data gradient (DATA) with few channels of the result per group, depthwise above all: a tile would be mostly empty.
// A thread computes four pixels of one row and phase. Where neighbouring taps read neighbouring pixels, each tap loads one pixel and moves three on.
//   a: the kernel, image: x or dy, result: y or dx
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> image: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

// A pixel of the row at `row`, or 0 outside of it.
fn pixel_at(row: u32, x: i32) -> f32 {
  let inside = u32(x) < params.size.z;
  return select(0.0, image[select(0u, row + u32(x), inside)], inside);
}

@compute @workgroup_size(256)
fn direct(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let planes = params.planes.xyz;
  // Threads of one row: the phases of the first four pixels, then those of the next.
  let quads = (planes.z + 4u * params.phases.z - 1u) / (4u * params.phases.z);
  let place = split(linear_workgroup(id, counts) * 256u + lane, vec3u(planes.xy, quads * params.phases.z));
  let all = params.counts.y * params.counts.z;
  let m = place.w % all;
  let b = place.w / all;
  if (b >= params.counts.x || volume(planes) == 0u) { return; }
  let here = phase(vec3u(place.xy, place.z) % params.phases.xyz);
  let i = vec3u(place.xy / here.spacing.xy, place.z / params.phases.z * 4u);
  let origin = here.origin + vec3i(i) * here.step;
  let step = here.step.z;
  let delta = here.delta.z;

  let group = m / params.counts.z;
  let channels = params.counts.w;
  let kernel = volume(params.kernel.xyz);
  var sums = vec4f();
  if (params.quads.z != 0u) { sums = vec4f(bias[m]); }
  for (var c = 0u; c < channels; c++) {
    let plane = ((b * params.counts.y + group) * channels + c) * params.size.x;
    var weights = (m * channels + c) * kernel;
    if (MODE == DATA) { weights = ((group * channels + c) * params.counts.z + m % params.counts.z) * kernel; }
    for (var u = 0u; u < here.taps.x * here.taps.y; u++) {
      let tap = vec2u(u / here.taps.y, u % here.taps.y);
      let at = origin.xy + vec2i(tap) * here.delta.xy;
      if (any(vec2u(at) >= params.size.xy)) { continue; }
      let row = ((plane + u32(at.x)) * params.size.y + u32(at.y)) * params.size.z;
      let first = weights + flat(here.first + vec3u(tap * params.tap_step.xy, 0u), params.kernel.xyz);
      var window = vec4f();
      for (var v = 0u; v < here.taps.z; v++) {
        let x = origin.z + i32(v) * delta;
        if (v > 0u && delta == step) {
          window = vec4f(window.yzw, pixel_at(row, x + 3 * step));
        } else if (v > 0u && delta == -step) {
          window = vec4f(pixel_at(row, x), window.xyz);
        } else {
          window = vec4f(pixel_at(row, x), pixel_at(row, x + step), pixel_at(row, x + 2 * step), pixel_at(row, x + 3 * step));
        }
        sums += a[first + v * params.tap_step.z] * window;
      }
    }
  }
  let at = (place.w * planes.x + place.x) * planes.y + place.y;
  let x = here.index.z + i.z * here.spacing.z;
  let first = at * planes.z + x;
  if (x < planes.z) { result[first] = sums.x; }
  if (x + here.spacing.z < planes.z) { result[first + here.spacing.z] = sums.y; }
  if (x + 2u * here.spacing.z < planes.z) { result[first + 2u * here.spacing.z] = sums.z; }
  if (x + 3u * here.spacing.z < planes.z) { result[first + 3u * here.spacing.z] = sums.w; }
}
