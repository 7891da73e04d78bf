// lib/matrix-units.wgsl for GPUs without matrix units: left and right matrices stay where they lie, and of a sum each of 32 threads has eight numbers.
alias Number = f32;
alias Left = u32;
alias Right = u32;
alias Sum = array<f32, 8>;

// Of the thread, among the 256 of a matrix.
var<private> first_number: u32;

fn number_in(word: u32, at: u32) -> Number { return unpack2x16float(word)[at & 1u]; }

fn unit_of(lane: u32) -> u32 {
  first_number = lane % 32u * 8u;
  return lane / 32u;
}

fn left_at(first: u32) -> Left { return first; }
fn right_at(first: u32) -> Right { return first; }

fn with_product(left: Left, right: Right, sum: Sum) -> Sum {
  var result = sum;
  // Not constant, so that nothing is unrolled: compiling would take minutes.
  let steps = min(params.m, 1u) * 16u;
  for (var i = 0u; i < steps / 2u; i++) {
    let row = left + (first_number + i) / 16u * A_STRIDE;
    let column = right + (first_number + i) % 16u;
    for (var k = 0u; k < steps; k++) { result[i] += a_tile[row + k] * b_tile[column + k * B_STRIDE]; }
  }
  return result;
}

fn put_sum(first: u32, sum: Sum) {
  for (var i = 0u; i < min(params.m, 1u) * 8u; i++) { sums[first + first_number + i] = sum[i]; }
}
