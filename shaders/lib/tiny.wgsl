// Matrices of at most TILE × TILE numbers, each in the registers of one thread, normalised with DeepSeek's eps.
// The including file includes lib/logits.wgsl, declares
//   var<storage, read> logits: array<u32>, scale: array<u32>, bias: array<u32>;   words, so that a NaN is recognised before any arithmetic
//   var<workgroup> words: array<f32, …>;        HOLDERS · STRIDE numbers from 0 on pass matrices between memory and registers
//   fn on_broken(word: u32)                      what happens to a logit, scale or bias that is no number, besides counting as 0
// and in `Params` count, n, m, has_scale, scale_step, has_bias, bias_step (u32), temperature and eps (f32).
override TILE: u32 = 4u; // 4 or 8
override THREADS: u32 = 64u;
override HOLDERS: u32 = 64u; // threads that hold a matrix: the first of the workgroup

// A row or column has TILE numbers: number k is [k / 4][k % 4]. Row i of a matrix is quads i·TILE/4 and, for TILE = 8, the one behind.
alias Strip = array<vec4f, 2>;
alias Tile = array<vec4f, 16>;

// The matrix; 0 outside of its n rows and m columns, and everywhere in threads without one.
var<private> x: Tile;
var<private> rows: u32;
// 1 inside of the matrix and 0 outside.
var<private> columns: Strip;

// From one matrix to the next in `words`: odd, so that neighbouring threads read from different banks.
fn stride() -> u32 { return TILE * TILE + 1u; }
fn inside(i: u32) -> f32 { return select(0.0, 1.0, i < rows); }

fn checked(word: u32) -> f32 {
  if (is_broken(word)) {
    on_broken(word);
    return 0.0;
  }
  return bitcast<f32>(word);
}

fn factor_of(matrix: u32) -> f32 {
  if (params.has_scale == 0u) { return 1.0; }
  return checked(scale[matrix * params.scale_step]);
}

// (scale · logit + bias) / temperature, within ±1e30.
fn prologue(matrix: u32, e: u32) -> f32 {
  let factor = factor_of(matrix);
  let most = 1.0e36 / max(1.0, abs(factor));
  var value = factor * clamp(checked(logits[matrix * params.n * params.m + e]), -most, most);
  if (params.has_bias == 1u) { value += clamp(checked(bias[matrix * params.bias_step + e]), -1.0e36, 1.0e36); }
  let limit = LARGEST_LOGIT * min(params.temperature, 1.0);
  return clamp(value, -limit, limit) / params.temperature;
}

// What the prologue makes of `here` matrices from `first` on, to `words`. By all threads, in the order of memory.
fn stage_logits(first: u32, here: u32, lane: u32) {
  let size = params.n * params.m;
  for (var k = lane; k < here * size; k += THREADS) {
    let slot = k / size;
    words[slot * stride() + k - slot * size] = prologue(first + slot, k - slot * size);
  }
}

// x = softmax of the rows that were staged for this thread.
fn load_softmax(slot: u32, here: u32) {
  rows = select(0u, params.n, slot < here);
  for (var k = 0u; k < TILE; k++) { columns[k / 4u][k % 4u] = select(0.0, 1.0, k < params.m); }
  for (var i = 0u; i < TILE; i++) {
    var peak = PADDING;
    for (var j = 0u; j < TILE; j++) {
      var value = PADDING;
      if (i < rows && j < params.m) { value = words[slot * stride() + i * params.m + j]; }
      x[(i * TILE + j) / 4u][j % 4u] = value;
      peak = max(peak, value);
    }
    var total = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) {
      let at = i * (TILE / 4u) + h;
      x[at] = shares(x[at] - peak) * columns[h];
      total += dot(x[at], vec4f(1.0));
    }
    let share = inside(i) / total;
    for (var h = 0u; h < TILE / 4u; h++) { x[i * (TILE / 4u) + h] *= share; }
  }
}

fn add_eps() {
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { x[i * (TILE / 4u) + h] += params.eps * inside(i) * columns[h]; }
  }
}

// x = x / (Σ x + eps) over rows, or columns. Gives the divisors.
fn divide_rows() -> Strip {
  var divisors = Strip();
  for (var i = 0u; i < TILE; i++) {
    var total = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) { total += dot(x[i * (TILE / 4u) + h], vec4f(1.0)); }
    let divisor = total + params.eps;
    let factor = inside(i) / divisor;
    for (var h = 0u; h < TILE / 4u; h++) { x[i * (TILE / 4u) + h] *= factor; }
    divisors[i / 4u][i % 4u] = divisor;
  }
  return divisors;
}

fn divide_columns() -> Strip {
  var divisors = Strip();
  for (var h = 0u; h < TILE / 4u; h++) {
    var total = vec4f(0.0);
    for (var i = 0u; i < TILE; i++) { total += x[i * (TILE / 4u) + h]; }
    divisors[h] = total + params.eps;
    let factor = columns[h] / divisors[h];
    for (var i = 0u; i < TILE; i++) { x[i * (TILE / 4u) + h] *= factor; }
  }
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

// Hands a matrix to other threads: element (i, j) at i · TILE + j of its place in `words`.
fn share_matrix(slot: u32) {
  for (var e = 0u; e < TILE * TILE; e++) { words[slot * stride() + e] = x[e / 4u][e % 4u]; }
}
fn shared_matrix(slot: u32) -> Tile {
  var result = Tile();
  for (var e = 0u; e < TILE * TILE; e++) { result[e / 4u][e % 4u] = words[slot * stride() + e]; }
  return result;
}
