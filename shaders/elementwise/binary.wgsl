//#include "lib/grid.wgsl"

// y = f(a, b) with broadcasting, and its gradients summed over the repeated axes. KIND and SIDE pick the formula when the pipeline is compiled.
// Offsets come from `sizes` (row-major) and one list of strides per operand: 0 along a repeated axis.
override KIND: u32;
override SIDE: u32 = 0u;

const ADD: u32 = 0u;
const SUB: u32 = 1u;
const MUL: u32 = 2u;
const DIV: u32 = 3u;
const POW: u32 = 4u;
const MAXIMUM: u32 = 5u;
const MINIMUM: u32 = 6u;

struct Params {
  // Outputs to compute, and terms summed into each (1 forward).
  count: u32,
  terms: u32,
  // Axes walked by the outputs, and by the terms of a sum.
  kept: u32,
  summed: u32,
  // Gradients that are added to what is there: all or none.
  onto: u32,
  // First the kept axes, then, from entry 8 on, the summed ones.
  sizes: array<vec4<u32>, 4>,
  strides_a: array<vec4<u32>, 4>,
  strides_b: array<vec4<u32>, 4>,
  strides_g: array<vec4<u32>, 4>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn at(list: ptr<function, array<vec4<u32>, 4>>, i: u32) -> u32 { return (*list)[i / 4u][i % 4u]; }

// Offsets into a, b and g of the index-th element of `count` axes, whose entries begin at `first`.
fn offsets(index: u32, first: u32, count: u32) -> vec3u {
  var sizes = params.sizes;
  var strides_a = params.strides_a;
  var strides_b = params.strides_b;
  var strides_g = params.strides_g;
  var rest = index;
  var result = vec3u(0u);
  for (var k = count; k > 0u; k--) {
    let axis = first + k - 1u;
    let size = at(&sizes, axis);
    let step = rest % size;
    rest = rest / size;
    result += step * vec3u(at(&strides_a, axis), at(&strides_b, axis), at(&strides_g, axis));
  }
  return result;
}

// A compiler may take it that there are no NaN and infinities: these are told by their words, and computed from a word that it does not know.
const INFINITE: u32 = 0x7f800000u;
fn size_word(x: f32) -> u32 { return bitcast<u32>(x) & 0x7fffffffu; }
fn nan_like(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u); }

// IEEE 754's pow: 1 to anything and anything to 0 are 1, real for negative bases with whole exponents.
fn power(base: f32, exponent: f32) -> f32 {
  if (exponent == 0.0 || bitcast<u32>(base) == 0x3f800000u) { return 1.0; }
  if (size_word(base) > INFINITE) { return base; }
  if (size_word(exponent) > INFINITE) { return exponent; }
  // Past 2^24 every float32 is even.
  let whole = floor(exponent) == exponent || size_word(exponent) == INFINITE;
  let odd = whole && abs(exponent) < 16777216.0 && exponent - 2.0 * floor(0.5 * exponent) == 1.0;
  if (base < 0.0 && !whole && size_word(base) < INFINITE) { return nan_like(base); }
  var size = pow(abs(base), exponent);
  if (abs(base) == 1.0) { size = 1.0; }
  if (base == 0.0) { size = select(bitcast<f32>(INFINITE | size_word(base)), 0.0, exponent > 0.0); }
  return select(size, -size, odd && (bitcast<u32>(base) >> 31u) == 1u);
}

fn log_of(x: f32) -> f32 {
  if (x == 0.0) { return bitcast<f32>(INFINITE | 0x80000000u | size_word(x)); }
  if (x < 0.0) { return nan_like(x); }
  if (size_word(x) >= INFINITE) { return x; }
  return log(x);
}

fn value(p: f32, q: f32) -> f32 {
  switch KIND {
    case ADD: { return p + q; }
    case SUB: { return p - q; }
    case MUL: { return p * q; }
    case DIV: { return p / q; }
    case POW: { return power(p, q); }
    case MAXIMUM: { return select(q, p, p > q || p != p); }
    default: { return select(q, p, p < q || p != p); }
  }
}

// 1 on the winning side, a half at a tie.
fn share(difference: f32) -> f32 { return select(0.0, 1.0, difference > 0.0) + select(0.0, 0.5, difference == 0.0); }

// Partial derivative with respect to operand SIDE.
fn partial(p: f32, q: f32) -> f32 {
  switch KIND {
    case ADD: { return 1.0; }
    case SUB: { return select(1.0, -1.0, SIDE == 1u); }
    case MUL: { return select(q, p, SIDE == 1u); }
    case DIV: { return select(1.0 / q, -p / (q * q), SIDE == 1u); }
    case POW: {
      if (SIDE == 1u) { return select(power(p, q) * log_of(p), 0.0, p == 0.0 && q >= 0.0); }
      return select(q * power(p, q - 1.0), 0.0, q == 0.0);
    }
    case MAXIMUM: { return share(select(p - q, q - p, SIDE == 1u)); }
    default: { return share(select(q - p, p - q, SIDE == 1u)); }
  }
}

// Operands of one shape, no index arithmetic.
@compute @workgroup_size(256)
fn same(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i < params.count) { y[i] = value(a[i], b[i]); }
}

// One thread computes one element.
@compute @workgroup_size(256)
fn broadcast(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let o = offsets(i, 0u, params.kept);
  y[i] = value(a[o.x], b[o.y]);
}

// One thread sums all terms of one gradient element: for few terms.
@compute @workgroup_size(256)
fn backward_thread(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let base = offsets(i, 0u, params.kept);
  var total = 0.0;
  for (var t = 0u; t < params.terms; t++) {
    let o = base + offsets(t, 8u, params.summed);
    total += g[o.z] * partial(a[o.x], b[o.y]);
  }
  if (i < params.onto) { total += y[i]; }
  y[i] = total;
}

var<workgroup> partials: array<f32, 256>;

// One workgroup sums all terms of one gradient element: for many terms.
@compute @workgroup_size(256)
fn backward_group(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups);
  let base = offsets(i, 0u, params.kept);
  var total = 0.0;
  if (i < params.count) {
    for (var t = lane; t < params.terms; t += 256u) {
      let o = base + offsets(t, 8u, params.summed);
      total += g[o.z] * partial(a[o.x], b[o.y]);
    }
  }
  partials[lane] = total;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partials[lane] += partials[lane + half]; }
  }
  if (lane == 0u && i < params.count) {
    var sum = partials[0];
    if (i < params.onto) { sum += y[i]; }
    y[i] = sum;
  }
}
