// The beginning and the end of the backward passes over panels: quads of P, of kernels of annealed iterations and of what arrives, made from whatever
// there is, and of gradients. The including file includes lib/panel.wgsl, lib/logits.wgsl and lib/sinkhorn.wgsl, declares the bindings and fields of
// lib/arriving.wgsl, and fn write_element(at: u32, value: f32).
fn recorded(matrix: u32, at: u32) -> f32 { return record[matrix * params.record_stride + at]; }
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
  let words = logits_at(places);
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

// P of four rows takes its place in the kernel, from where the thread reads it again. A loop: written out for every quad it would be most of the program.
fn fill_with_shares(matrix: u32, first: u32, lane: u32) {
  for (var i = first; i < min(first + 4u, params.n); i++) {
    for (var quad = lane; quad < width(); quad += LANES) { kernel[kernel_place(matrix, i, quad)] = share_quad(matrix, i, quad); }
  }
}
// What arrives at P times P, or at log P, of a thread in row i, where its part of P is `share`.
fn weight_quad(matrix: u32, i: u32, lane: u32, k: u32, share: vec4f) -> vec4f {
  if (i >= params.n || !owns(lane, k)) { return vec4f(); }
  return arriving_quad(matrix, i, quad_of(lane, k), share) * select(vec4f(1.0), share, params.matrix == 0u);
}
fn weight_row(matrix: u32, i: u32, lane: u32, share: mat4x4f) -> mat4x4f {
  var row = mat4x4f();
  row[0] = weight_quad(matrix, i, lane, 0u, share[0]);
  if (QUADS > 1u) { row[1] = weight_quad(matrix, i, lane, 1u, share[1]); }
  if (QUADS > 2u) { row[2] = weight_quad(matrix, i, lane, 2u, share[2]); }
  if (QUADS > 3u) { row[3] = weight_quad(matrix, i, lane, 3u, share[3]); }
  return row;
}

// The gradient of a quad of the logits: (P ∘ (G − product) + G of log P) / temperature.
fn logit_gradient(matrix: u32, i: u32, quad: u32, share: vec4f, product: vec4f, temperature: f32) -> vec4f {
  let arrived = arriving_quad(matrix, i, quad, share);
  return (arrived * select(share, vec4f(1.0), params.matrix == 1u) - share * product) / temperature;
}
fn write_quad(matrix: u32, i: u32, quad: u32, value: vec4f) {
  let at = elements_of(matrix, i, quad);
  write_element(at.x, value.x);
  if (4u * quad + 1u < params.m) { write_element(at.y, value.y); }
  if (4u * quad + 2u < params.m) { write_element(at.z, value.z); }
  if (4u * quad + 3u < params.m) { write_element(at.w, value.w); }
}

// Where a workgroup that writes 64 × 64 elements begins. A thread has 4 × 4 neighbours of them, those in row r and column c of 16: neighbouring threads
// have neighbours in memory.
struct Tile {
  matrix: u32,
  top: u32,
  side: u32,
}
fn tile_of(group: u32) -> Tile {
  let across = (params.m + 63u) / 64u;
  let tiles = (params.n + 63u) / 64u * across;
  return Tile(group / tiles, (group % tiles / across) * 64u, (group % tiles % across) * 64u);
}
fn tile_row(lane: u32) -> u32 { return select(lane / 16u, lane % 16u, params.row_step == 1u); }
fn tile_column(lane: u32) -> u32 { return select(lane % 16u, lane / 16u, params.row_step == 1u); }
