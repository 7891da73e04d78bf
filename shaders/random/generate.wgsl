//#include "lib/grid.wgsl"
//#include "lib/philox.wgsl"
//#include "lib/transcendental.wgsl"

// Random numbers from a counter. One thread computes the four elements of one block; block b has the counter (b, 0, stream).
//   y: [count] as words
override KIND: u32;

const BITS: u32 = 0u;
const UNIFORM: u32 = 1u;
const NORMAL: u32 = 2u;
const GUMBEL: u32 = 3u;

struct Params {
  count: u32,
  seed_low: u32,
  seed_high: u32,
  stream_low: u32,
  stream_high: u32,
  shift: f32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

const UNIT: f32 = 5.9604644775390625e-8; // 2^-24

// Two normal numbers; the first uniform number lies in (0, 1].
fn box_muller(first: u32, second: u32) -> vec2f {
  let radius = sqrt(-2.0 * accurate_log(f32((first >> 8u) + 1u) * UNIT));
  return radius * cos_sin_of_turn(second >> 8u);
}

// The uniform number is an odd multiple of 2^-24: neither logarithm sees 0.
fn gumbel(word: u32) -> f32 { return -accurate_log(-accurate_log(f32(2u * (word >> 9u) + 1u) * UNIT)); }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  let first = 4u * index;
  if (first >= params.count) { return; }
  var words = philox(vec4u(index, 0u, params.stream_low, params.stream_high), vec2u(params.seed_low, params.seed_high));
  var numbers = vec4f(words / 256u) * UNIT;
  if (KIND == NORMAL) { numbers = vec4f(box_muller(words.x, words.y), box_muller(words.z, words.w)); }
  if (KIND == GUMBEL) { numbers = vec4f(gumbel(words.x), gumbel(words.y), gumbel(words.z), gumbel(words.w)); }
  if (KIND != BITS) { words = bitcast<vec4u>(params.shift + params.scale * numbers); }
  let own = min(4u, params.count - first);
  for (var k = 0u; k < own; k++) { y[first + k] = words[k]; }
}
