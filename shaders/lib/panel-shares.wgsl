// Quads of P, of kernels of annealed iterations and of what arrives, made from whatever there is. The including file is
// sinkhorn/streamed-backward.wgsl, whose bindings are read; it includes lib/panel.wgsl.
fn elements_of(matrix: u32, i: u32, quad: u32) -> vec4u {
  let columns = min(quad_columns(quad), vec4u(params.m - 1u)) * params.column_step;
  return vec4u(matrix * params.n * params.m + i * params.row_step) + columns;
}
fn within(quad: u32) -> vec4<bool> { return quad_columns(quad) < vec4u(params.m); }
fn values_of(at: vec4u) -> vec4f { return vec4f(values[at.x], values[at.y], values[at.z], values[at.w]); }
fn gradient_of(at: vec4u) -> vec4f { return vec4f(gradient[at.x], gradient[at.y], gradient[at.z], gradient[at.w]); }

// exp(logits / temperature + f + g) with potentials at offset `at` of the record.
fn exponential_quad(matrix: u32, i: u32, quad: u32, temperature: f32, at: u32) -> vec4f {
  let f = recorded(matrix, at + i);
  let j = vec4u(matrix * params.record_stride + at + params.n) + min(quad_columns(quad), vec4u(params.m - 1u));
  let g = vec4f(record[j.x], record[j.y], record[j.z], record[j.w]);
  var open = within(quad) & vec4<bool>(f > EXCLUDED) & (g > vec4f(EXCLUDED));
  let places = elements_of(matrix, i, quad);
  if (params.masked == 1u) {
    let own = places - vec4u(matrix * (params.n * params.m - params.mask_step));
    open &= vec4u(mask[own.x], mask[own.y], mask[own.z], mask[own.w]) != vec4u();
  }
  let words = vec4u(logits[places.x], logits[places.y], logits[places.z], logits[places.w]);
  return power(select(vec4f(PADDING), scaled_logits(words, temperature) + f + g, open));
}
// P.
fn share_quad(matrix: u32, i: u32, quad: u32) -> vec4f {
  if (params.matrix == 2u) { return exponential_quad(matrix, i, quad, params.temperature, 2u); }
  let given = select(vec4f(select(0.0, PADDING, params.matrix == 1u)), values_of(elements_of(matrix, i, quad)), within(quad));
  return select(given, power(given), params.matrix == 1u);
}
// The cotangents of P or log P that count: where there is something to change. P may be too small for a float where its logarithm is none.
fn arriving_quad(matrix: u32, i: u32, quad: u32, share: vec4f) -> vec4f {
  if (params.arriving == 0u || params.matrix == 2u) { return vec4f(); }
  let at = elements_of(matrix, i, quad);
  var some = within(quad) & (share > vec4f());
  if (params.matrix == 1u) { some = within(quad) & (values_of(at) > vec4f(EXCLUDED)); }
  return select(vec4f(), gradient_of(at), some);
}

// P, or the kernel of an annealed iteration, of four rows takes its place in the kernel, from where the thread reads it again. Loops: written out
// for every quad they would be most of the program. Two of them, since one entry cannot bind all that both read.
fn fill_with_shares(matrix: u32, first: u32, lane: u32) {
  for (var i = first; i < min(first + 4u, params.n); i++) {
    for (var quad = lane; quad < width(); quad += LANES) { kernel[kernel_place(matrix, i, quad)] = share_quad(matrix, i, quad); }
  }
}
fn fill_with_exponentials(matrix: u32, first: u32, lane: u32) {
  let temperature = temperature_at(params.t);
  for (var i = first; i < min(first + 4u, params.n); i++) {
    for (var quad = lane; quad < width(); quad += LANES) {
      kernel[kernel_place(matrix, i, quad)] = exponential_quad(matrix, i, quad, temperature, history_at(params.t));
    }
  }
}
// What arrives at P times P, or at log P, of a thread in row i.
fn weight_quad(matrix: u32, i: u32, lane: u32, k: u32, share: vec4f) -> vec4f {
  if (i >= params.n || !owns(lane, k)) { return vec4f(); }
  return arriving_quad(matrix, i, quad_of(lane, k), share) * select(vec4f(1.0), share, params.matrix == 0u);
}
fn weight_row(matrix: u32, i: u32, lane: u32) -> mat4x4f {
  let share = kernel_row(matrix, i, lane, 0.0);
  var row = mat4x4f();
  row[0] = weight_quad(matrix, i, lane, 0u, share[0]);
  if (QUADS > 1u) { row[1] = weight_quad(matrix, i, lane, 1u, share[1]); }
  if (QUADS > 2u) { row[2] = weight_quad(matrix, i, lane, 2u, share[2]); }
  if (QUADS > 3u) { row[3] = weight_quad(matrix, i, lane, 3u, share[3]); }
  return row;
}
