// What kernels of products have in common: bindings, strides, and what becomes of a sum. The including file includes lib/activation.wgsl.
//   c[p] = f(z[p]), z[p] = Σ_q a[p, q] · b[p, q] + bias
// for a batch p of matrices, with strides for everything that is read: transposes, repeated and summed batch axes cost no copies. The work along q and k
// can be split over workgroups: then c holds [splits, batches, m, n], which are added up by `combine` of product.wgsl.
//   a, b: dense matrices behind each other, as words, with two numbers in one where they are float16; read by strides
//   bias: [n], or a single number     c: [splits, batches, m, n]     z: as c, where the sums are kept
override ACTIVATION: u32 = 0u;
// Whether one batch axis is kept, or none, and none is summed: finding places along more takes longer than a product of tiny matrices.
override ONE_AXIS: u32 = 0u;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  // Columns that have a bias: all or none. How far apart their numbers are: 0 for a single one.
  biased: u32,
  bias_step: u32,
  // Elements of z: as many as c has, or none.
  kept_sums: u32,
  // Elements of c whose sums are added to what stands there: all or none.
  onto: u32,
  a_row: u32,
  a_k: u32,
  b_k: u32,
  b_column: u32,
  batches: u32,
  kept: u32,
  summed: u32,
  splits: u32,
  // Steps of the kernel along k in one product, in all products that are summed, and in one split.
  k_steps: u32,
  steps: u32,
  split_steps: u32,
  // First the axes of p, then, from entry 8 on, those of q.
  sizes: array<vec4<u32>, 4>,
  a_strides: array<vec4<u32>, 4>,
  b_strides: array<vec4<u32>, 4>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;

// Offsets into a and b of batch `number`, whose axes begin at `first`.
fn offsets(number: u32, first: u32, count: u32) -> vec2u {
  if (ONE_AXIS == 1u) { return number * vec2u(params.a_strides[first / 4u].x, params.b_strides[first / 4u].x); }
  var rest = number;
  var result = vec2u(0u);
  for (var i = select(0u, count, number > 0u); i > 0u; i--) {
    let axis = first + i - 1u;
    let size = params.sizes[axis / 4u][axis % 4u];
    let step = rest % size;
    rest = rest / size;
    result += step * vec2u(params.a_strides[axis / 4u][axis % 4u], params.b_strides[axis / 4u][axis % 4u]);
  }
  return result;
}

// What becomes of every sum, read once.
struct Ending {
  m: u32,
  n: u32,
  biased: u32,
  bias_step: u32,
  kept_sums: u32,
  onto: u32,
}

fn ending() -> Ending {
  return Ending(params.m, params.n, params.biased, params.bias_step, params.kept_sums, params.onto);
}

fn finish(end: Ending, at: u32, column: u32, sum: f32) {
  var total = sum;
  if (at < end.onto) { total += c[at]; }
  if (column < end.biased) { total += bias[column * end.bias_step]; }
  if (at < end.kept_sums) { z[at] = total; }
  c[at] = activated(ACTIVATION, total);
}
