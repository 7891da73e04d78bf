// The beginning and the end of both backward passes over matrices in registers: P and what arrives at it, and what leaves.
// The including file includes lib/square.wgsl, lib/logits.wgsl and lib/sinkhorn.wgsl, declares the bindings values, record, gradient, record_gradient,
// mask, logits, dx and dvectors, and var<private> place, matrix, kernel, rest; and in `Params` besides sizes and steps
//   matrix           what `values` is: 0 P, 1 log P, 2 the logits
//   arriving, arriving_record   whether there are cotangents of `values` and of the potentials
//   masked, mask_step, vectors  whether there is a mask, its distance from matrix to matrix, and whether dvectors is wanted
fn row(i: u32) -> u32 { return place.r + SIDE * i; }
fn column(j: u32) -> u32 { return place.c + SIDE * j; }
fn inside(i: u32, j: u32) -> bool { return matrix < params.count && row(i) < params.n && column(j) < params.m; }
fn at_element(i: u32, j: u32) -> u32 { return matrix * params.n * params.m + row(i) * params.row_step + column(j) * params.column_step; }

// Numbers of the thread's rows or columns at `offset` of the matrix's record; 0 outside.
fn read_strip(offset: u32, of_rows: bool) -> Strip {
  var result = Strip();
  let end = select(params.m, params.n, of_rows);
  for (var i = 0u; i < TILE; i++) {
    let at = select(column(i), row(i), of_rows);
    if (matrix < params.count && at < end) { result[i / 4u][i % 4u] = record[matrix * params.record_stride + offset + at]; }
  }
  return result;
}
fn read_gradient(offset: u32, of_rows: bool) -> Strip {
  var result = Strip();
  let end = select(params.m, params.n, of_rows);
  for (var i = 0u; i < TILE; i++) {
    let at = select(column(i), row(i), of_rows);
    if (matrix < params.count && at < end) { result[i / 4u][i % 4u] = record_gradient[matrix * params.record_stride + offset + at]; }
  }
  return result;
}
fn inverse_masses(of_rows: bool) -> Strip {
  let rows_at = 2u + params.n + params.m;
  return read_strip(select(rows_at + params.n, rows_at, of_rows), of_rows);
}

// kernel = exp(logits / temperature + f + g) where the mask allows and there is mass.
fn load_kernel(temperature: f32, f: Strip, g: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      var exponent = PADDING;
      if (inside(i, j) && f[i / 4u][i % 4u] > EXCLUDED && g[j / 4u][j % 4u] > EXCLUDED) {
        let at = row(i) * params.row_step + column(j) * params.column_step;
        if (params.masked == 0u || mask[matrix * params.mask_step + at] != 0u) {
          exponent = scaled_logit(logits[at_element(i, j)], temperature) + f[i / 4u][i % 4u] + g[j / 4u][j % 4u];
        }
      }
      kernel[(i * TILE + j) / 4u][j % 4u] = exponent;
    }
  }
  for (var k = 0u; k < TILE * TILE / 4u; k++) { kernel[k] = power(kernel[k]); }
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
    for (var i = 0u; i < TILE; i++) {
      for (var j = 0u; j < TILE; j++) {
        var value = select(0.0, PADDING, params.matrix == 1u);
        if (inside(i, j)) { value = values[at_element(i, j)]; }
        kernel[(i * TILE + j) / 4u][j % 4u] = value;
      }
    }
    if (params.matrix == 1u) {
      for (var k = 0u; k < TILE * TILE / 4u; k++) { kernel[k] = power(kernel[k]); }
    }
  }
  var sums = Sums();
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      let share = kernel[(i * TILE + j) / 4u][j % 4u];
      var cotangent = 0.0;
      if (params.arriving == 1u && params.matrix == 0u && share > 0.0) { cotangent = gradient[at_element(i, j)]; }
      rest[(i * TILE + j) / 4u][j % 4u] = cotangent;
      let weight = share * cotangent + added(i, j);
      sums.rows[i / 4u][i % 4u] += weight;
      sums.columns[j / 4u][j % 4u] += weight;
    }
  }
  return sums;
}

// The cotangent of log P, which is added in the end: also where P itself is too small for a float, but not where there is no mass.
fn added(i: u32, j: u32) -> f32 {
  if (params.arriving == 0u || params.matrix != 1u || !inside(i, j)) { return 0.0; }
  let at = at_element(i, j);
  if (values[at] <= EXCLUDED) { return 0.0; }
  return gradient[at];
}

// Writes the gradient of the logits out of `rest`, and those of masses and start.
fn deliver(of_rows: Strip, of_columns: Strip, of_start: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      if (inside(i, j)) { dx[at_element(i, j)] = rest[(i * TILE + j) / 4u][j % 4u]; }
    }
  }
  if (params.vectors == 0u || matrix >= params.count) { return; }
  let first = matrix * (params.n + 2u * params.m);
  for (var i = 0u; i < TILE; i++) {
    if (place.c == 0u && row(i) < params.n) { dvectors[first + row(i)] = of_rows[i / 4u][i % 4u]; }
    if (place.r == 0u && column(i) < params.m) {
      dvectors[first + params.n + column(i)] = of_columns[i / 4u][i % 4u];
      dvectors[first + params.n + params.m + column(i)] = of_start[i / 4u][i % 4u];
    }
  }
}
