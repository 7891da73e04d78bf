enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// Products of 16 × 16 numbers of float16, added up in float32 by the matrix units of a subgroup of 32 threads. The including file declares
//   var<workgroup> a_tile: array<Number, …>   rows of A_STRIDE numbers
//   var<workgroup> b_tile: array<Number, …>   rows of B_STRIDE numbers
//   var<workgroup> sums: array<f32, …>        rows of 16
// All calls are for whole subgroups, which WGSL's analysis, of whole workgroups, cannot see.
alias Number = f16;
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

// The number of float16 that stands in a word at an even or odd place.
fn number_in(word: u32, at: u32) -> Number { return bitcast<vec2<f16>>(word)[at & 1u]; }

// A number of its own for each subgroup: nothing is promised about which threads make one.
var<workgroup> placed: atomic<u32>;
fn unit_of(lane: u32) -> u32 {
  var unit = 0u;
  if (subgroupElect()) { unit = atomicAdd(&placed, 1u); }
  return subgroupBroadcastFirst(unit);
}

@diagnostic(off, chromium.subgroup_matrix_uniformity)
fn left_at(first: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&a_tile, first, A_STRIDE); }
@diagnostic(off, chromium.subgroup_matrix_uniformity)
fn right_at(first: u32) -> Right { return subgroupMatrixLoad<Right, row_major>(&b_tile, first, B_STRIDE); }
@diagnostic(off, chromium.subgroup_matrix_uniformity)
fn with_product(left: Left, right: Right, sum: Sum) -> Sum { return subgroupMatrixMultiplyAccumulate(left, right, sum); }
@diagnostic(off, chromium.subgroup_matrix_uniformity)
fn put_sum(first: u32, sum: Sum) { subgroupMatrixStore<row_major>(&sums, first, sum, 16u); }
