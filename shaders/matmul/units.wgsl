//#include "lib/grid.wgsl"
//#include "lib/activation.wgsl"
//#include "lib/product.wgsl"
//#include "lib/matrix-units.wgsl"

// Products of float16 matrices by the matrix units of subgroups; what is computed, and from what, stands in lib/product.wgsl.
// One workgroup of four subgroups of 32 threads computes 64 × 64 elements of one c[p], each subgroup 2 × 2 matrices of 16 × 16; k goes by in steps of 32.
override A_ALONG_K: u32 = 0u;
override B_ALONG_K: u32 = 0u;

const K_STEP: u32 = 32u;
// Rows of the tiles, eight numbers longer than what they hold: neighbouring rows begin on other banks of memory.
const A_STRIDE: u32 = 40u;
const B_STRIDE: u32 = 72u;

// [row][step of k] and [step of k][column].
var<workgroup> a_tile: array<Number, 2560>;
var<workgroup> b_tile: array<Number, 2304>;
// One matrix for each subgroup, on its way to memory.
var<workgroup> sums: array<f32, 1024>;

@compute @workgroup_size(128)
fn tile(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row_tiles = (params.m + 63u) / 64u;
  let column_tiles = (params.n + 63u) / 64u;
  var number = linear_workgroup(group, groups);
  let first_column = number % column_tiles * 64u;
  number = number / column_tiles;
  let first_row = number % row_tiles * 64u;
  number = number / row_tiles;
  let p = number % params.batches;
  let split = number / params.batches;
  if (split >= params.splits) { return; }
  let base = offsets(p, 0u, params.kept);
  let unit = unit_of(lane);
  let unit_row = unit / 2u * 32u;
  let unit_column = unit % 2u * 32u;
  var sum00 = Sum();
  var sum01 = Sum();
  var sum10 = Sum();
  var sum11 = Sum();
  let end = min(params.steps, (split + 1u) * params.split_steps);
  for (var step = split * params.split_steps; step < end; step++) {
    let at = base + offsets(step / params.k_steps, 8u, params.summed);
    let first_k = step % params.k_steps * K_STEP;
    // Neighbouring lanes go along memory.
    for (var i = lane; i < 64u * K_STEP; i += 128u) {
      let a_row = select(i % 64u, i / K_STEP, A_ALONG_K == 1u);
      let a_step = select(i / 64u, i % K_STEP, A_ALONG_K == 1u);
      let b_column = select(i % 64u, i / K_STEP, B_ALONG_K == 1u);
      let b_step = select(i / 64u, i % K_STEP, B_ALONG_K == 1u);
      var of_a = Number(0.0);
      var of_b = Number(0.0);
      if (first_row + a_row < params.m && first_k + a_step < params.k) {
        let from_a = at.x + (first_row + a_row) * params.a_row + (first_k + a_step) * params.a_k;
        of_a = number_in(a[from_a / 2u], from_a);
      }
      if (first_column + b_column < params.n && first_k + b_step < params.k) {
        let from_b = at.y + (first_column + b_column) * params.b_column + (first_k + b_step) * params.b_k;
        of_b = number_in(b[from_b / 2u], from_b);
      }
      a_tile[a_row * A_STRIDE + a_step] = of_a;
      b_tile[b_step * B_STRIDE + b_column] = of_b;
    }
    workgroupBarrier();
    for (var k = 0u; k < K_STEP; k += 16u) {
      let left0 = left_at(unit_row * A_STRIDE + k);
      let left1 = left_at((unit_row + 16u) * A_STRIDE + k);
      let right0 = right_at(k * B_STRIDE + unit_column);
      let right1 = right_at(k * B_STRIDE + unit_column + 16u);
      sum00 = with_product(left0, right0, sum00);
      sum01 = with_product(left0, right1, sum01);
      sum10 = with_product(left1, right0, sum10);
      sum11 = with_product(left1, right1, sum11);
    }
    workgroupBarrier();
  }
  let to = Target((split * params.batches + p) * params.m * params.n, first_row, first_column);
  put_sum(unit * 256u, sum00);
  put_matrices(to, lane);
  put_sum(unit * 256u, sum01);
  put_matrices(Target(to.first, to.row, to.column + 16u), lane);
  put_sum(unit * 256u, sum10);
  put_matrices(Target(to.first, to.row + 16u, to.column), lane);
  put_sum(unit * 256u, sum11);
  put_matrices(Target(to.first, to.row + 16u, to.column + 16u), lane);
}

// Where a workgroup's results go: element 0 of c[p], and row and column of subgroup 0.
struct Target {
  first: u32,
  row: u32,
  column: u32,
}

// What the subgroups have put into `sums`, by all threads.
fn put_matrices(to: Target, lane: u32) {
  workgroupBarrier();
  let end = ending();
  for (var i = lane; i < 1024u; i += 128u) {
    let unit = i / 256u;
    let row = to.row + unit / 2u * 32u + i % 256u / 16u;
    let column = to.column + unit % 2u * 32u + i % 16u;
    if (row < end.m && column < end.n) { finish(end, to.first + row * end.n + column, column, sums[i]); }
  }
  workgroupBarrier();
}
