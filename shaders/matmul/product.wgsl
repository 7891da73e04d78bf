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
// 1 or 4.
override COLUMNS: u32 = 1u;

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

fn number(word: u32, is_half: bool) -> f32 {
  if (is_half) { return numbers(vec4u(word), true).x; }
  return bitcast<f32>(word);
}

// Rows of a from `row` on, or columns of b, SIDE apart, as far as there are any.
fn quad_of_a(at: u32, row: u32) -> vec4f {
  var quad = vec4u();
  let apart = SIDE * params.a_row;
  if (row < params.m) { quad.x = word_of_a(at); }
  if (row + SIDE < params.m) { quad.y = word_of_a(at + apart); }
  if (row + 2u * SIDE < params.m) { quad.z = word_of_a(at + 2u * apart); }
  if (row + 3u * SIDE < params.m) { quad.w = word_of_a(at + 3u * apart); }
  return numbers(quad, A_HALF == 1u);
}
fn quad_of_b(at: u32, column: u32) -> vec4f {
  var quad = vec4u();
  let apart = SIDE * params.b_column;
  if (column < params.n) { quad.x = word_of_b(at); }
  if (column + SIDE < params.n) { quad.y = word_of_b(at + apart); }
  if (column + 2u * SIDE < params.n) { quad.z = word_of_b(at + 2u * apart); }
  if (column + 3u * SIDE < params.n) { quad.w = word_of_b(at + 3u * apart); }
  return numbers(quad, B_HALF == 1u);
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
  var sum0 = vec4f(0.0);
  var sum1 = vec4f(0.0);
  var sum2 = vec4f(0.0);
  var sum3 = vec4f(0.0);
  let end = min(params.steps, (split + 1u) * params.split_steps);
  for (var step = split * params.split_steps; step < end; step++) {
    let at = base + offsets(step / params.k_steps, 8u, params.summed);
    let first_k = step % params.k_steps * 16u;
    // Neighbouring lanes go along memory.
    for (var i = lane; i < 16u * SIDE; i += SIDE * SIDE) {
      let a_step = select(i / SIDE, i % 16u, A_ALONG_K == 1u);
      let a_quad = select(i % SIDE, i / 16u, A_ALONG_K == 1u);
      let b_step = select(i / SIDE, i % 16u, B_ALONG_K == 1u);
      let b_quad = select(i % SIDE, i / 16u, B_ALONG_K == 1u);
      var a_part = vec4f(0.0);
      var b_part = vec4f(0.0);
      if (first_k + a_step < params.k) {
        let row = first_row + a_quad;
        a_part = quad_of_a(at.x + (first_k + a_step) * params.a_k + row * params.a_row, row);
      }
      if (first_k + b_step < params.k) {
        let column = first_column + b_quad;
        b_part = quad_of_b(at.y + (first_k + b_step) * params.b_k + column * params.b_column, column);
      }
      a_tile[a_step * (SIDE + 1u) + a_quad] = a_part;
      b_tile[b_step * (SIDE + 1u) + b_quad] = b_part;
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
  let first = (split * params.batches + p) * params.m * params.n;
  let row = first_row + high;
  let column = first_column + low;
  put_row(first, row, column, sum0);
  put_row(first, row + SIDE, column, sum1);
  put_row(first, row + 2u * SIDE, column, sum2);
  put_row(first, row + 3u * SIDE, column, sum3);
}

fn put_row(first: u32, row: u32, column: u32, values: vec4f) {
  if (row >= params.m) { return; }
  let start = first + row * params.n;
  put(start, column, values.x);
  put(start, column + SIDE, values.y);
  put(start, column + 2u * SIDE, values.z);
  put(start, column + 3u * SIDE, values.w);
}

// `start`: where the row begins.
fn put(start: u32, column: u32, sum: f32) {
  if (column < params.n) { finish(start + column, column, sum); }
}

@compute @workgroup_size(256)
fn element(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  let strips = (params.n + COLUMNS - 1u) / COLUMNS;
  let size = params.m * strips;
  if (i >= params.splits * params.batches * size) { return; }
  let row = i % size / strips;
  let columns = i % strips + strips * vec4u(0u, 1u, 2u, 3u);
  let split = i / size / params.batches;
  let base = offsets(i / size % params.batches, 0u, params.kept);
  let from_a = base.x + row * params.a_row;
  let from_b = base.y + min(columns, vec4u(params.n - 1u)) * params.b_column;
  var total = vec4f(0.0);
  let end = min(params.steps, (split + 1u) * params.split_steps);
  for (var step = split * params.split_steps; step < end; step++) {
    let at = offsets(step / params.k_steps, 8u, params.summed);
    let first_k = step % params.k_steps * 16u;
    var a_at = from_a + at.x + first_k * params.a_k;
    var b_at = from_b + at.y + first_k * params.b_k;
    // Sixteen terms are summed on their own: long sums lose fewer digits.
    var part = vec4f(0.0);
    for (var k = min(16u, params.k - first_k); k > 0u; k--) {
      let x = number(word_of_a(a_at), A_HALF == 1u);
      part.x += x * number(word_of_b(b_at.x), B_HALF == 1u);
      if (COLUMNS > 1u) {
        part.y += x * number(word_of_b(b_at.y), B_HALF == 1u);
        part.z += x * number(word_of_b(b_at.z), B_HALF == 1u);
        part.w += x * number(word_of_b(b_at.w), B_HALF == 1u);
      }
      a_at += params.a_k;
      b_at += params.b_k;
    }
    total += part;
  }
  let first = i / strips * params.n;
  put(first, columns.x, total.x);
  if (COLUMNS > 1u) {
    put(first, columns.y, total.y);
    put(first, columns.z, total.z);
    put(first, columns.w, total.w);
  }
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  let count = params.batches * params.m * params.n;
  if (i >= count) { return; }
  var total = 0.0;
  for (var split = 0u; split < params.splits; split++) { total += parts[split * count + i]; }
  finish(i, i % params.n, total);
}
