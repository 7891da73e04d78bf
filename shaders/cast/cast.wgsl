//#include "lib/grid.wgsl"
//#include "lib/half.wgsl"

// float32 to float16 and back. One thread takes two elements: the word that both share in half precision.
// wide: [count] of float32 as words, narrow: [count] of half precision, two in a word
struct Params {
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> wide: array<u32>;
@group(0) @binding(2) var<storage, read_write> narrow_result: array<u32>;
@group(0) @binding(3) var<storage, read> narrow: array<u32>;
@group(0) @binding(4) var<storage, read_write> wide_result: array<u32>;

@compute @workgroup_size(256)
fn to_half(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (2u * i >= params.count) { return; }
  let first = halved(wide[2u * i]);
  // What stands behind the last element is not its own.
  if (2u * i + 1u == params.count) {
    narrow_result[i] = (narrow_result[i] & 0xffff0000u) | first;
  } else {
    narrow_result[i] = (halved(wide[2u * i + 1u]) << 16u) | first;
  }
}

@compute @workgroup_size(256)
fn to_float(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (2u * i >= params.count) { return; }
  let both = widened(vec4u(narrow[i], narrow[i] >> 16u, 0u, 0u));
  wide_result[2u * i] = both.x;
  if (2u * i + 1u < params.count) { wide_result[2u * i + 1u] = both.y; }
}
