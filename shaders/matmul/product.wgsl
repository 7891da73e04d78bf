//#include "lib/grid.wgsl"
//#include "lib/activation.wgsl"
//#include "lib/half.wgsl"
//#include "lib/product.wgsl"

// Products of matrices; what is computed, and from what, stands in lib/product.wgsl.
//   tile      one workgroup of SIDE × SIDE threads computes 4·SIDE × 4·SIDE elements of one c[p], one thread 4 × 4 of them, SIDE apart; k goes by in
//             steps of 16
//   element   one thread computes COLUMNS elements of a row, as far apart as they can be: for matrices too slim for tiles
//   combine   one thread adds up one element over the splits
// parts: [splits, batches, m, n]
override A_ALONG_K: u32 = 0u;
override B_ALONG_K: u32 = 0u;
override A_HALF: u32 = 0u;
override B_HALF: u32 = 0u;
// 8 or 16.
override SIDE: u32 = 16u;
// 1 to STRIP.
override COLUMNS: u32 = 1u;

// Threads of `element`: few, since a driver that runs a workgroup on one core gives each of two cores something from 128 strips on.
const STRIP_THREADS: u32 = 64u;
const STRIP: u32 = 4u;

@group(0) @binding(6) var<storage, read> parts: array<f32>;

// [step of k][SIDE quadruples: rows or columns SIDE apart]; one more keeps writes along k on different banks.
var<workgroup> a_tile: array<vec4f, 272>;
var<workgroup> b_tile: array<vec4f, 272>;

// What stands for a number, and the numbers of four such.
fn word_of_a(at: u32) -> u32 {
  if (A_HALF == 1u) { return half_of(a[at / 2u], at); }
  return a[at];
}
fn word_of_b(at: u32) -> u32 {
  if (B_HALF == 1u) { return half_of(b[at / 2u], at); }
  return b[at];
}
fn numbers(words: vec4u, halves: bool) -> vec4f {
  if (halves) { return bitcast<vec4f>(widened(words)); }
  return bitcast<vec4f>(words);
}

fn number_of(word: u32, is_half: bool) -> f32 {
  if (is_half) { return numbers(vec4u(word), true).x; }
  return bitcast<f32>(word);
}

// How one operand is read: its rows of a, or columns of b, from `first` on, as far as there are `count`, and the strides across and along k.
struct Side {
  first: u32,
  count: u32,
  across: u32,
  along: u32,
}

// Four numbers of a, SIDE rows apart, or of b, SIDE columns apart, at one step; `base` is where the matrix begins.
fn quad_of_a(base: u32, step: u32, more: u32, side: Side, steps: u32) -> vec4f {
  var quad = vec4u();
  let row = side.first + more;
  let rows = select(0u, side.count, step < steps);
  let at = base + step * side.along + row * side.across;
  let apart = SIDE * side.across;
  if (row < rows) { quad.x = word_of_a(at); }
  if (row + SIDE < rows) { quad.y = word_of_a(at + apart); }
  if (row + 2u * SIDE < rows) { quad.z = word_of_a(at + 2u * apart); }
  if (row + 3u * SIDE < rows) { quad.w = word_of_a(at + 3u * apart); }
  return numbers(quad, A_HALF == 1u);
}
fn quad_of_b(base: u32, step: u32, more: u32, side: Side, steps: u32) -> vec4f {
  var quad = vec4u();
  let column = side.first + more;
  let columns = select(0u, side.count, step < steps);
  let at = base + step * side.along + column * side.across;
  let apart = SIDE * side.across;
  if (column < columns) { quad.x = word_of_b(at); }
  if (column + SIDE < columns) { quad.y = word_of_b(at + apart); }
  if (column + 2u * SIDE < columns) { quad.z = word_of_b(at + 2u * apart); }
  if (column + 3u * SIDE < columns) { quad.w = word_of_b(at + 3u * apart); }
  return numbers(quad, B_HALF == 1u);
}

// Where a step of 16 along all that is summed begins: in a and b, and along k.
struct Place {
  at: vec2u,
  k: u32,
}

fn place_of(base: vec2u, step: u32) -> Place {
  if (ONE_AXIS == 1u) { return Place(base, step * 16u); }
  let q = step / params.k_steps;
  return Place(base + offsets(q, 8u, params.summed), (step - q * params.k_steps) * 16u);
}

@compute @workgroup_size(SIDE, SIDE)
fn tile(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row_tiles = (params.m + 4u * SIDE - 1u) / (4u * SIDE);
  let column_tiles = (params.n + 4u * SIDE - 1u) / (4u * SIDE);
  var number = linear_workgroup(group, groups);
  let first_column = number % column_tiles * 4u * SIDE;
  number = number / column_tiles;
  let first_row = number % row_tiles * 4u * SIDE;
  number = number / row_tiles;
  let p = number % params.batches;
  let split = number / params.batches;
  if (split >= params.splits) { return; }
  let base = offsets(p, 0u, params.kept);
  let low = lane % SIDE;
  let high = lane / SIDE;
  let k = params.k;
  // What a thread brings: neighbours go along memory, and the next 16 / SIDE times it goes on across.
  let a_step = select(high, lane % 16u, A_ALONG_K == 1u);
  let b_step = select(high, lane % 16u, B_ALONG_K == 1u);
  let a_quad = select(low, lane / 16u, A_ALONG_K == 1u);
  let b_quad = select(low, lane / 16u, B_ALONG_K == 1u);
  let a_to = vec2u(a_step * (SIDE + 1u) + a_quad, select(SIDE * (SIDE + 1u), SIDE * SIDE / 16u, A_ALONG_K == 1u));
  let b_to = vec2u(b_step * (SIDE + 1u) + b_quad, select(SIDE * (SIDE + 1u), SIDE * SIDE / 16u, B_ALONG_K == 1u));
  let a_side = Side(first_row + a_quad, params.m, params.a_row, params.a_k);
  let b_side = Side(first_column + b_quad, params.n, params.b_column, params.b_k);
  var sum0 = vec4f(0.0);
  var sum1 = vec4f(0.0);
  var sum2 = vec4f(0.0);
  var sum3 = vec4f(0.0);
  var step = split * params.split_steps;
  // Counted down: Dawn gives a loop whose end it does not know a counter of 64 bits.
  for (var left = min(params.steps - step, params.split_steps); left > 0u; left--) {
    let place = place_of(base, step);
    step++;
    for (var turn = 0u; turn < 16u / SIDE; turn++) {
      let a_at = vec2u(a_step + select(turn * SIDE, 0u, A_ALONG_K == 1u), select(0u, turn * SIDE * SIDE / 16u, A_ALONG_K == 1u));
      let b_at = vec2u(b_step + select(turn * SIDE, 0u, B_ALONG_K == 1u), select(0u, turn * SIDE * SIDE / 16u, B_ALONG_K == 1u));
      a_tile[a_to.x + turn * a_to.y] = quad_of_a(place.at.x, place.k + a_at.x, a_at.y, a_side, k);
      b_tile[b_to.x + turn * b_to.y] = quad_of_b(place.at.y, place.k + b_at.x, b_at.y, b_side, k);
    }
    workgroupBarrier();
    for (var i = 0u; i < 16u; i++) {
      let rows = a_tile[i * (SIDE + 1u) + high];
      let columns = b_tile[i * (SIDE + 1u) + low];
      sum0 += rows.x * columns;
      sum1 += rows.y * columns;
      sum2 += rows.z * columns;
      sum3 += rows.w * columns;
    }
    workgroupBarrier();
  }
  let end = ending();
  let first = (split * params.batches + p) * end.m * end.n;
  let row = first_row + high;
  let column = first_column + low;
  put_row(end, first, row, column, sum0);
  put_row(end, first, row + SIDE, column, sum1);
  put_row(end, first, row + 2u * SIDE, column, sum2);
  put_row(end, first, row + 3u * SIDE, column, sum3);
}

fn put_row(end: Ending, first: u32, row: u32, column: u32, values: vec4f) {
  if (row >= end.m) { return; }
  let start = first + row * end.n;
  put(end, start, column, values.x);
  put(end, start, column + SIDE, values.y);
  put(end, start, column + 2u * SIDE, values.z);
  put(end, start, column + 3u * SIDE, values.w);
}

// `start`: where the row begins.
fn put(end: Ending, start: u32, column: u32, sum: f32) {
  if (column < end.n) { finish(end, start + column, column, sum); }
}

@compute @workgroup_size(STRIP_THREADS)
fn element(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * STRIP_THREADS + lane;
  let end = ending();
  let strips = (end.n + COLUMNS - 1u) / COLUMNS;
  let size = end.m * strips;
  let number = i / size;
  if (number >= params.splits * params.batches) { return; }
  let inside = i - number * size;
  let row = inside / strips;
  let columns = inside - row * strips + strips * vec4u(0u, 1u, 2u, 3u);
  let split = number / params.batches;
  let base = offsets(number - split * params.batches, 0u, params.kept);
  let k = params.k;
  let a_k = params.a_k;
  let b_k = params.b_k;
  let from_a = base.x + row * params.a_row;
  let from_b = base.y + min(columns, vec4u(end.n - 1u)) * params.b_column;
  var total = vec4f(0.0);
  var step = split * params.split_steps;
  for (var left = min(params.steps - step, params.split_steps); left > 0u; left--) {
    let place = place_of(vec2u(), step);
    step++;
    var a_at = from_a + place.at.x + place.k * a_k;
    var b_at = from_b + place.at.y + place.k * b_k;
    // Sixteen terms are summed on their own: long sums lose fewer digits.
    var part = vec4f(0.0);
    for (var terms = min(16u, k - place.k); terms > 0u; terms--) {
      let x = number_of(word_of_a(a_at), A_HALF == 1u);
      part.x += x * number_of(word_of_b(b_at.x), B_HALF == 1u);
      if (COLUMNS > 1u) { part.y += x * number_of(word_of_b(b_at.y), B_HALF == 1u); }
      if (COLUMNS > 2u) { part.z += x * number_of(word_of_b(b_at.z), B_HALF == 1u); }
      if (COLUMNS > 3u) { part.w += x * number_of(word_of_b(b_at.w), B_HALF == 1u); }
      a_at += a_k;
      b_at += vec4u(b_k);
    }
    total += part;
  }
  let first = (number * end.m + row) * end.n;
  put(end, first, columns.x, total.x);
  if (COLUMNS > 1u) { put(end, first, columns.y, total.y); }
  if (COLUMNS > 2u) { put(end, first, columns.z, total.z); }
  if (COLUMNS > 3u) { put(end, first, columns.w, total.w); }
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  let count = params.batches * params.m * params.n;
  if (i >= count) { return; }
  var total = 0.0;
  for (var split = 0u; split < params.splits; split++) { total += parts[split * count + i]; }
  let end = ending();
  finish(end, i, i % end.n, total);
}
