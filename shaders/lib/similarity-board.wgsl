// Tiles of similarities in workgroup memory, for kernels in which one thread a row walks along them. Needs the `params`, `x` and `anchors` of similarity-tile.wgsl.

// [row][anchor] of a tile; one more keeps rows on different banks.
var<workgroup> board: array<f32, 1056>;

fn show(row: u32, column: u32, sums: vec4f, norm: f32) {
  for (var i = 0u; i < 4u; i++) { board[row * 33u + column + i * SIDE] = similarity(sums[i], norm, anchor_norms[i]); }
}

// Fills the board; the first tile of a row and of an anchor looks at its numbers. Ends with a barrier.
fn show_tile(first_row: u32, first_anchor: u32, lane: u32) {
  let low = lane % SIDE;
  let high = lane / SIDE;
  sum_tile(first_row, first_anchor, lane);
  for (var i = 0u; i < 4u; i++) {
    if (low == 0u && first_anchor == 0u && first_row + high + i * SIDE < params.rows) { check(x_squares[i]); }
    if (high == 0u && first_row == 0u && first_anchor + low + i * SIDE < params.anchors) { check(anchor_squares[i]); }
  }
  show(high, low, sum0, x_norms.x);
  show(high + SIDE, low, sum1, x_norms.y);
  show(high + 2u * SIDE, low, sum2, x_norms.z);
  show(high + 3u * SIDE, low, sum3, x_norms.w);
  workgroupBarrier();
}
