//#include "lib/grid.wgsl"
//#include "lib/order.wgsl"
//#include "lib/exponentials.wgsl"

// Spreads the gradient of every output over the terms that went into it. One thread computes one element of dx.
//   x, dx: [count]   g, y, ties: [outputs]
// x, y and ties are read only by the kinds that need them.
override KIND: u32;
override AXES: u32; // of `sizes`

const SUM: u32 = 0u;
const MEAN: u32 = 1u;
const MAX: u32 = 2u;
const MIN: u32 = 3u;
const LOGSUMEXP: u32 = 4u;

struct Params {
  count: u32,
  scale: f32,
  // The axes of x, outermost first, with the steps in the output: 0 along reduced axes.
  sizes: array<vec4<u32>, 2>,
  steps: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> y: array<u32>;
@group(0) @binding(4) var<storage, read> ties: array<u32>;
@group(0) @binding(5) var<storage, read_write> dx: array<u32>;

fn output_of(index: u32) -> u32 {
  var rest = index;
  var result = 0u;
  for (var axis = 7u; axis > 0u; axis--) {
    if (axis < AXES) {
      let size = params.sizes[axis / 4u][axis % 4u];
      let next = rest / size;
      result += (rest - next * size) * params.steps[axis / 4u][axis % 4u];
      rest = next;
    }
  }
  return result + rest * params.steps[0].x;
}

// exp(x - y); 0 where every term is -inf. An infinite or broken y leaves no derivative at the terms that made it so.
fn share(term: u32, result: u32) -> u32 {
  if (is_finite_word(term) && is_finite_word(result)) { return bitcast<u32>(min(decay(bitcast<f32>(term), bitcast<f32>(result)), 1.0)); }
  let broken = (result & 0x7fffffffu) > INFINITY_WORD || (result == INFINITY_WORD && term == INFINITY_WORD);
  return select(0u, NAN_WORD, broken);
}

// An equal share for each of the entries that attain the extreme.
fn portion(term: u32, result: u32, count: u32) -> u32 {
  let key = key_of(result);
  if (key == NAN_KEY) { return NAN_WORD; }
  return select(0u, bitcast<u32>(1.0 / f32(max(count, 1u))), key_of(term) == key);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let o = output_of(i);
  var word = bitcast<u32>(params.scale);
  if (KIND == LOGSUMEXP) { word = share(x[i], y[o]); }
  if (KIND == MAX || KIND == MIN) { word = portion(x[i], y[o], ties[o]); }
  if (is_finite_word(word)) { word = bitcast<u32>(g[o] * bitcast<f32>(word)); }
  dx[i] = word;
}
