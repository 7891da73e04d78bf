// The beginning and the end of both backward passes over matrices in registers: P and what arrives at it, and what leaves.
// The including file includes lib/square.wgsl, lib/elements.wgsl, lib/logits.wgsl and lib/sinkhorn.wgsl, declares the bindings values, record, gradient, record_gradient,
// mask, logits, dx and dvectors, and var<private> place, matrix, kernel, rest; and in `Params` besides sizes and steps
//   matrix           what `values` is: 0 P, 1 log P, 2 the logits
//   arriving, arriving_record   whether there are cotangents of `values` and of the potentials
//   masked, mask_step, vectors  whether there is a mask, its distance from matrix to matrix, and whether dvectors is wanted

// Four numbers of the record from `first` on, of rows or columns `at` … at + 3 of `end`; 0 beyond the end.
fn record_quad(first: u32, at: u32, end: u32) -> vec4f {
  let places = first + min(vec4u(at) + steps(), vec4u(end - 1u));
  let values = vec4f(record[places.x], record[places.y], record[places.z], record[places.w]);
  return select(vec4f(), values, vec4<bool>(matrix < params.count) & (vec4u(at) + steps() < vec4u(end)));
}
fn gradient_quad(first: u32, at: u32, end: u32) -> vec4f {
  let places = first + min(vec4u(at) + steps(), vec4u(end - 1u));
  let values = vec4f(record_gradient[places.x], record_gradient[places.y], record_gradient[places.z], record_gradient[places.w]);
  return select(vec4f(), values, vec4<bool>(matrix < params.count) & (vec4u(at) + steps() < vec4u(end)));
}
fn record_at(offset: u32) -> u32 { return min(matrix, params.count - 1u) * params.record_stride + offset; }

// Numbers of the thread's rows or columns at `offset` of the matrix's record; 0 outside.
fn read_strip(offset: u32, of_rows: bool) -> Strip {
  let first = record_at(offset);
  let end = select(params.m, params.n, of_rows);
  var result = Strip(record_quad(first, select(column(0u), row(0u), of_rows), end), vec4f());
  if (TILE > 4u) { result[1] = record_quad(first, select(column(1u), row(1u), of_rows), end); }
  return result;
}
fn read_gradient(offset: u32, of_rows: bool) -> Strip {
  let first = record_at(offset);
  let end = select(params.m, params.n, of_rows);
  var result = Strip(gradient_quad(first, select(column(0u), row(0u), of_rows), end), vec4f());
  if (TILE > 4u) { result[1] = gradient_quad(first, select(column(1u), row(1u), of_rows), end); }
  return result;
}
fn inverse_masses(of_rows: bool) -> Strip {
  let rows_at = 2u + params.n + params.m;
  return read_strip(select(rows_at + params.n, rows_at, of_rows), of_rows);
}

// exp(logits / temperature + f + g) of four elements, where the mask allows and there is mass.
fn kernel_quad(i: u32, j: u32, temperature: f32, f: f32, g: vec4f) -> vec4f {
  let at = quad_places(i, j);
  var open = quad_inside(i, j) & vec4<bool>(f > EXCLUDED) & (g > vec4f(EXCLUDED));
  if (params.masked == 1u) {
    let start = min(matrix, params.count - 1u) * params.mask_step;
    open &= vec4u(mask[start + at.x], mask[start + at.y], mask[start + at.z], mask[start + at.w]) != vec4u();
  }
  return power(select(vec4f(PADDING), scaled_logits(logits_at(first_element() + at), temperature) + f + g, open));
}
fn kernel_block(h: u32, k: u32, temperature: f32, f: vec4f, g: vec4f) -> mat4x4f {
  let i = row(h);
  let j = column(k);
  return mat4x4f(
    kernel_quad(i, j, temperature, f.x, g), kernel_quad(i + SIDE, j, temperature, f.y, g),
    kernel_quad(i + 2u * SIDE, j, temperature, f.z, g), kernel_quad(i + 3u * SIDE, j, temperature, f.w, g));
}
fn load_kernel(temperature: f32, f: Strip, g: Strip) {
  kernel[0] = kernel_block(0u, 0u, temperature, f[0], g[0]);
  if (TILE > 4u) {
    kernel[1] = kernel_block(0u, 1u, temperature, f[0], g[1]);
    kernel[2] = kernel_block(1u, 0u, temperature, f[1], g[0]);
    kernel[3] = kernel_block(1u, 1u, temperature, f[1], g[1]);
  }
}

fn values_at(at: vec4u) -> vec4f { return vec4f(values[at.x], values[at.y], values[at.z], values[at.w]); }
fn gradient_at(at: vec4u) -> vec4f { return vec4f(gradient[at.x], gradient[at.y], gradient[at.z], gradient[at.w]); }

// P out of four elements of what there is: P itself, or its logarithm.
fn share_quad(i: u32, j: u32) -> vec4f {
  let given = values_at(first_element() + quad_places(i, j));
  let shown = select(vec4f(select(0.0, PADDING, params.matrix == 1u)), given, quad_inside(i, j));
  if (params.matrix == 1u) { return power(shown); }
  return shown;
}
fn share_block(h: u32, k: u32) -> mat4x4f {
  let i = row(h);
  let j = column(k);
  return mat4x4f(share_quad(i, j), share_quad(i + SIDE, j), share_quad(i + 2u * SIDE, j), share_quad(i + 3u * SIDE, j));
}

// The cotangent of P, where P is given and not 0.
fn cotangent_quad(i: u32, j: u32, share: vec4f) -> vec4f {
  return select(vec4f(), gradient_at(first_element() + quad_places(i, j)), share > vec4f());
}
fn cotangent_block(h: u32, k: u32, share: mat4x4f) -> mat4x4f {
  if (params.arriving == 0u || params.matrix != 0u) { return mat4x4f(); }
  let i = row(h);
  let j = column(k);
  return mat4x4f(
    cotangent_quad(i, j, share[0]), cotangent_quad(i + SIDE, j, share[1]), cotangent_quad(i + 2u * SIDE, j, share[2]), cotangent_quad(i + 3u * SIDE, j, share[3]));
}

// The cotangent of log P, which is added in the end: also where P itself is too small for a float, but not where there is no mass.
fn added_quad(i: u32, j: u32) -> vec4f {
  let at = first_element() + quad_places(i, j);
  return select(vec4f(), gradient_at(at), quad_inside(i, j) & (values_at(at) > vec4f(EXCLUDED)));
}
fn added_block(h: u32, k: u32) -> mat4x4f {
  if (params.arriving == 0u || params.matrix != 1u) { return mat4x4f(); }
  let i = row(h);
  let j = column(k);
  return mat4x4f(added_quad(i, j), added_quad(i + SIDE, j), added_quad(i + 2u * SIDE, j), added_quad(i + 3u * SIDE, j));
}

struct Sums {
  rows: Strip,
  columns: Strip,
}

// P into `kernel`, what it will be multiplied with into `rest`; the thread's shares of the sums of P ∘ G.
fn arrive() -> Sums {
  if (params.matrix == 2u) {
    load_kernel(params.temperature, read_strip(2u, true), read_strip(2u + params.n, false));
  } else {
    kernel[0] = share_block(0u, 0u);
    if (TILE > 4u) {
      kernel[1] = share_block(0u, 1u);
      kernel[2] = share_block(1u, 0u);
      kernel[3] = share_block(1u, 1u);
    }
  }
  rest[0] = cotangent_block(0u, 0u, kernel[0]);
  let first = hadamard(kernel[0], rest[0]) + added_block(0u, 0u);
  var sums = Sums(Strip(ONES * first, vec4f()), Strip(first * ONES, vec4f()));
  if (TILE > 4u) {
    rest[1] = cotangent_block(0u, 1u, kernel[1]);
    rest[2] = cotangent_block(1u, 0u, kernel[2]);
    rest[3] = cotangent_block(1u, 1u, kernel[3]);
    let right = hadamard(kernel[1], rest[1]) + added_block(0u, 1u);
    let below = hadamard(kernel[2], rest[2]) + added_block(1u, 0u);
    let last = hadamard(kernel[3], rest[3]) + added_block(1u, 1u);
    sums.rows[0] += ONES * right;
    sums.rows[1] = ONES * below + ONES * last;
    sums.columns[0] += below * ONES;
    sums.columns[1] = right * ONES + last * ONES;
  }
  return sums;
}

fn finished(a: mat4x4f, factors: mat4x4f, more: mat4x4f) -> mat4x4f {
  let sum = hadamard(a, factors) + more;
  return mat4x4f(sum[0] / params.temperature, sum[1] / params.temperature, sum[2] / params.temperature, sum[3] / params.temperature);
}
// rest = (P ∘ rest + the cotangent of log P) / temperature: the gradient of the logits.
fn finish() {
  rest[0] = finished(kernel[0], rest[0], added_block(0u, 0u));
  if (TILE > 4u) {
    rest[1] = finished(kernel[1], rest[1], added_block(0u, 1u));
    rest[2] = finished(kernel[2], rest[2], added_block(1u, 0u));
    rest[3] = finished(kernel[3], rest[3], added_block(1u, 1u));
  }
}

fn write_element(at: u32, value: f32) { dx[at] = value; }
fn write_number(at: u32, value: f32) { dvectors[at] = value; }
// Writes the gradient of the logits out of `rest`, and those of masses and start.
fn deliver(of_rows: Strip, of_columns: Strip, of_start: Strip) {
  write_tile(&rest);
  if (params.vectors == 0u) { return; }
  let first = matrix * (params.n + 2u * params.m);
  write_strip_at(first, of_rows, true);
  write_strip_at(first + params.n, of_columns, false);
  write_strip_at(first + params.n + params.m, of_start, false);
}
