// Matrices of at most TILE × TILE numbers, each in the registers of one thread, normalised with DeepSeek's eps.
// The including file includes lib/tile.wgsl, lib/staging.wgsl, lib/logits.wgsl and lib/staged-logits.wgsl, declares
//   var<storage, read> scale: array<u32>, bias: array<u32>;   words as the logits are
// and in `Params` count, n, m, row_step, column_step, has_scale, scale_step, has_bias, bias_step (u32), temperature and eps (f32).

// The matrix; 0 outside of its n rows and m columns.
var<private> x: Tile;
// 1 for its rows, and its columns.
var<private> rows: Strip;
var<private> columns: Strip;

fn bias_at(at: vec4u) -> vec4u { return vec4u(bias[at.x], bias[at.y], bias[at.z], bias[at.w]); }
fn factor_of(matrix: u32) -> f32 {
  if (params.has_scale == 0u) { return 1.0; }
  return bitcast<f32>(cleaned(vec4u(scale[matrix * params.scale_step])).x);
}

// (scale · logit + bias) / temperature, within ±1e30; PADDING outside of the matrix. `start`: where its bias begins.
fn prologue_of_quad(quad: vec4f, factor: f32, start: u32, i: u32, j: u32) -> vec4f {
  let most = vec4f(1.0e36 / max(1.0, abs(factor)));
  var value = factor * clamp(quad, -most, most);
  if (params.has_bias == 1u) { value += clamp(bitcast<vec4f>(cleaned(bias_at(start + elements_at(i, j)))), vec4f(-1.0e36), vec4f(1.0e36)); }
  let limit = vec4f(LARGEST_LOGIT * min(params.temperature, 1.0));
  return select(vec4f(PADDING), clamp(value, -limit, limit) / params.temperature, are_inside(i, j));
}
fn prologue(a: mat4x4f, factor: f32, start: u32, i: u32, j: u32) -> mat4x4f {
  return mat4x4f(
    prologue_of_quad(a[0], factor, start, i, j), prologue_of_quad(a[1], factor, start, i + 1u, j),
    prologue_of_quad(a[2], factor, start, i + 2u, j), prologue_of_quad(a[3], factor, start, i + 3u, j));
}

fn shares_below(a: mat4x4f, top: vec4f) -> mat4x4f {
  return mat4x4f(shares(a[0] - top.x), shares(a[1] - top.y), shares(a[2] - top.z), shares(a[3] - top.w));
}

// x = softmax of the rows of a matrix whose logits were staged in `slot`.
fn load_softmax(slot: u32, matrix: u32) {
  rows = ones(params.n);
  columns = ones(params.m);
  let factor = factor_of(matrix);
  let start = matrix * params.bias_step;
  load_tile(slot, &x);
  x[0] = prologue(x[0], factor, start, 0u, 0u);
  var top = Strip(largest_in_rows(x[0]), vec4f());
  if (TILE > 4u) {
    x[1] = prologue(x[1], factor, start, 0u, 4u);
    x[2] = prologue(x[2], factor, start, 4u, 0u);
    x[3] = prologue(x[3], factor, start, 4u, 4u);
    top = Strip(max(top[0], largest_in_rows(x[1])), max(largest_in_rows(x[2]), largest_in_rows(x[3])));
  }
  x[0] = shares_below(x[0], top[0]);
  if (TILE > 4u) {
    x[1] = shares_below(x[1], top[0]);
    x[2] = shares_below(x[2], top[1]);
    x[3] = shares_below(x[3], top[1]);
  }
  // At least 1, outside of the matrix too.
  let sums = products_of_rows(&x, filled(1.0));
  multiply(&x, Strip(rows[0] / sums[0], rows[1] / max(sums[1], ONES)), columns);
}

fn add_eps() { subtract(&x, scaled(rows, -params.eps), columns); }

// x = x / (Σ x + eps) over rows, or columns. Gives the divisors, which are eps outside of the matrix.
fn divisors_of(sums: Strip) -> Strip { return Strip(sums[0] + params.eps, sums[1] + params.eps); }
fn reciprocals(live: Strip, divisors: Strip) -> Strip { return Strip(live[0] / divisors[0], live[1] / divisors[1]); }
fn divide_rows() -> Strip {
  let divisors = divisors_of(products_of_rows(&x, filled(1.0)));
  multiply_rows(&x, reciprocals(rows, divisors));
  return divisors;
}
fn divide_columns() -> Strip {
  let divisors = divisors_of(products_of_columns(&x, filled(1.0)));
  multiply_columns(&x, reciprocals(columns, divisors));
  return divisors;
}

fn normalise(iterations: u32) {
  add_eps();
  _ = divide_columns();
  for (var t = 1u; t < iterations; t++) {
    _ = divide_rows();
    _ = divide_columns();
  }
}
