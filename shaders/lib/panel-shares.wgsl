// Quads of P, and of kernels of annealed iterations, made from whatever there is and kept in the order of the passes (lib/panel.wgsl). The including
// file is sinkhorn/streamed-backward.wgsl, whose bindings are read.
// A quad of P, which is kept, and of what arrives at P times P, or at log P.
fn arriving_quad(matrix: u32, i: u32, k: u32, lane: u32) -> vec4f {
  if (!owns(lane, k)) { return vec4f(); }
  let quad = lane + LANES * k;
  var shares = vec4f();
  var weights = vec4f();
  for (var c = 0u; c < 4u; c++) {
    let j = 4u * quad + c;
    if (j < params.m) {
      let share = share_at(matrix, i, j);
      shares[c] = share;
      if (counts(matrix, i, j, share)) { weights[c] = gradient[element(matrix, i, j)] * select(1.0, share, params.matrix == 0u); }
    }
  }
  kernel[(matrix * params.n + i) * width() + quad] = shares;
  return weights;
}
fn arriving_row(matrix: u32, i: u32, lane: u32) -> mat4x4f {
  var row = mat4x4f();
  if (i >= params.n) { return row; }
  row[0] = arriving_quad(matrix, i, 0u, lane);
  if (QUADS > 1u) { row[1] = arriving_quad(matrix, i, 1u, lane); }
  if (QUADS > 2u) { row[2] = arriving_quad(matrix, i, 2u, lane); }
  if (QUADS > 3u) { row[3] = arriving_quad(matrix, i, 3u, lane); }
  return row;
}

// The kernel of an annealed iteration.
fn new_quad(matrix: u32, i: u32, k: u32, lane: u32) -> vec4f {
  if (!owns(lane, k)) { return vec4f(); }
  let quad = lane + LANES * k;
  let temperature = temperature_at(params.t);
  let at = history_at(params.t);
  var shares = vec4f();
  for (var c = 0u; c < 4u; c++) { if (4u * quad + c < params.m) { shares[c] = kernel_at(matrix, i, 4u * quad + c, temperature, at); } }
  kernel[(matrix * params.n + i) * width() + quad] = shares;
  return shares;
}
fn new_row(matrix: u32, i: u32, lane: u32) -> mat4x4f {
  var row = mat4x4f();
  if (i >= params.n) { return row; }
  row[0] = new_quad(matrix, i, 0u, lane);
  if (QUADS > 1u) { row[1] = new_quad(matrix, i, 1u, lane); }
  if (QUADS > 2u) { row[2] = new_quad(matrix, i, 2u, lane); }
  if (QUADS > 3u) { row[3] = new_quad(matrix, i, 3u, lane); }
  return row;
}
