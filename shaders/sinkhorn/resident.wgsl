//#include "lib/grid.wgsl"
//#include "lib/square.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/masses.wgsl"

// Forward for sides up to SIDE · TILE. One workgroup computes THREADS / SIDE² matrices; a thread keeps its TILE × TILE elements in registers.
//   logits, plan: [count, n · m], element (i, j) at i · row_step + j · column_step     record: [count, record_stride], see geometry.ts
// Scalings are absorbed into the potentials every BLOCK iterations.
override BLOCK: u32;

struct Params {
  // SIDE, see lib/square.wgsl.
  side: u32,
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  iterations: u32,
  annealed: u32,
  check_every: u32,
  // Whether the error of the result is wanted.
  error: u32,
  // 0: nothing, 1: P, 2: log P.
  plan: u32,
  // 0: nothing, 1: the head, 2: the scalings as well; then offsets in it.
  record: u32,
  record_stride: u32,
  history: u32,
  history_stride: u32,
  // See lib/masses.wgsl.
  given: u32,
  rows_step: u32,
  columns_step: u32,
  uniform_masses: u32,
  turned: u32,
  gate: u32,
  gate_step: u32,
  started: u32,
  start_step: u32,
  temperature: f32,
  hot: f32,
  cooling: f32,
  leak_rows: f32,
  leak_columns: f32,
  tolerance: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Words, so that a NaN is recognised before any arithmetic.
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> columns: array<u32>;
@group(0) @binding(4) var<storage, read> start: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<u32>;
@group(0) @binding(6) var<storage, read_write> plan: array<f32>;
@group(0) @binding(7) var<storage, read_write> record: array<f32>;
@group(0) @binding(8) var<storage, read_write> status: array<atomic<u32>, 2>;

var<private> kernel: Tile;
var<private> place: Place;
var<private> matrix: u32;
// 0 for what is out of the matrix or has no entries.
var<private> row_mass: Strip;
var<private> column_mass: Strip;

fn row(i: u32) -> u32 { return place.r + SIDE * i; }
fn column(j: u32) -> u32 { return place.c + SIDE * j; }

fn load_logits(temperature: f32, report: bool) {
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      var value = PADDING;
      if (row_mass[i / 4u][i % 4u] > 0.0 && column_mass[j / 4u][j % 4u] > 0.0) {
        let at = row(i) * params.row_step + column(j) * params.column_step;
        if (is_open(matrix, at)) {
          let word = logits[matrix * params.n * params.m + at];
          if (report && is_broken(word)) { report_fault(params.fault | NUMBER, word); }
          value = scaled_logit(word, temperature);
        }
      }
      kernel[(i * TILE + j) / 4u][j % 4u] = value;
    }
  }
}

// Every row's number is put through `max` or a sum over its elements; quads of row i start at i·TILE/4.
fn rows_of_largest() -> Strip {
  var result = filled(PADDING);
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) {
      let quad = kernel[i * (TILE / 4u) + h];
      result[i / 4u][i % 4u] = max(result[i / 4u][i % 4u], max(max(quad.x, quad.y), max(quad.z, quad.w)));
    }
  }
  return row_largest(result, place);
}

fn columns_of_largest() -> Strip {
  var result = filled(PADDING);
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { result[h] = max(result[h], kernel[i * (TILE / 4u) + h]); }
  }
  return column_largest(result, place);
}

fn times_columns(v: Strip) -> Strip { return row_total(products_of_rows(&kernel, v), place); }
fn times_rows(u: Strip) -> Strip { return column_total(products_of_columns(&kernel, u), place); }

fn scalings(sums: Strip, mass: Strip, potential: Strip, leak: f32) -> Strip {
  return Strip(scaling(sums[0], mass[0], potential[0], leak), scaling(sums[1], mass[1], potential[1], leak));
}

// kernel = exp(kernel + f + g)
fn exponentiate(f: Strip, g: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) {
      let at = i * (TILE / 4u) + h;
      kernel[at] = power(kernel[at] + f[i / 4u][i % 4u] + g[h]);
    }
  }
}

fn add_to_columns(g: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { kernel[i * (TILE / 4u) + h] += g[h]; }
  }
}
fn add_to_rows(f: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { kernel[i * (TILE / 4u) + h] += f[i / 4u][i % 4u]; }
  }
}

fn plus_log(values: Strip, sums: Strip) -> Strip {
  return Strip(values[0] + log(max(sums[0], vec4f(SMALLEST))), values[1] + log(max(sums[1], vec4f(SMALLEST))));
}
fn alive(mass: Strip) -> Strip { return Strip(select(vec4f(), vec4f(1.0), mass[0] > vec4f()), select(vec4f(), vec4f(1.0), mass[1] > vec4f())); }
// `values` where there is mass, `otherwise` elsewhere.
fn where_mass(mass: Strip, values: Strip, otherwise: f32) -> Strip {
  return Strip(select(vec4f(otherwise), values[0], mass[0] > vec4f()), select(vec4f(otherwise), values[1], mass[1] > vec4f()));
}
fn scaled(values: Strip, factor: f32) -> Strip { return Strip(factor * values[0], factor * values[1]); }
fn inverses(values: Strip) -> Strip { return Strip(inverse(values[0]), inverse(values[1])); }
fn chosen(first: bool, a: Strip, b: Strip) -> Strip { return Strip(select(b[0], a[0], first), select(b[1], a[1], first)); }

// Writes the numbers of rows or of columns at `offset` of the matrix's record: one thread each.
fn write_strip(offset: u32, values: Strip, of_rows: bool) {
  let mine = select(place.r == 0u, place.c == 0u, of_rows) && matrix < params.count;
  let end = select(params.m, params.n, of_rows);
  for (var i = 0u; i < TILE; i++) {
    let at = select(column(i), row(i), of_rows);
    if (mine && at < end) { record[matrix * params.record_stride + offset + at] = values[i / 4u][i % 4u]; }
  }
}

// What iteration t leaves for a backward pass; the masses only where they may be missed.
fn write_history(t: u32, u: Strip, v: Strip, rows_reached: Strip, columns_reached: Strip) {
  if (params.record < 2u) { return; }
  let at = params.history + (t - 1u) * params.history_stride;
  write_strip(at, u, true);
  write_strip(at + params.n, v, false);
  if (params.history_stride > params.n + params.m) {
    write_strip(at + params.n + params.m, inverses(rows_reached), true);
    write_strip(at + 2u * params.n + params.m, inverses(columns_reached), false);
  }
}

fn product(a: Strip, b: Strip) -> Strip { return Strip(a[0] * b[0], a[1] * b[1]); }

// Σ over the rows of s |next − u|, known to all threads of the matrix.
fn error_of(sums: Strip, u: Strip, next: Strip) -> f32 {
  let parts = sums[0] * abs(next[0] - u[0]) + select(vec4f(), sums[1] * abs(next[1] - u[1]), TILE > 4u);
  return column_total(Strip(vec4f(dot(parts, vec4f(1.0)), 0.0, 0.0, 0.0), vec4f()), place)[0].x;
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  place = place_of(lane, params.side);
  matrix = linear_workgroup(group, groups) * (THREADS / (SIDE * SIDE)) + place.slot;
  let extent = extent_of(matrix, lane % (SIDE * SIDE) == 0u);
  for (var i = 0u; i < TILE; i++) {
    row_mass[i / 4u][i % 4u] = mass_of_row(matrix, row(i), extent, place.c == 0u);
    column_mass[i / 4u][i % 4u] = mass_of_column(matrix, column(i), extent, place.r == 0u);
  }
  var began = Strip();
  if (params.started == 1u) {
    for (var j = 0u; j < TILE; j++) {
      if (column_mass[j / 4u][j % 4u] > 0.0) {
        let word = start[matrix * params.start_step + column(j)];
        if (is_broken(word)) { report_fault(params.fault | NUMBER, word); }
        began[j / 4u][j % 4u] = scaled_logit(word, 1.0);
      }
    }
  }

  // First iteration by log-sum-exp: f = log mass − LSE over the row, g = log mass − LSE over the column of logits + f.
  var temperature = temperature_at(1u);
  load_logits(temperature, true);
  add_to_columns(began);
  let row_peak = rows_of_largest();
  let some = vec4f(0.5 * PADDING);
  row_mass = Strip(select(vec4f(), row_mass[0], row_peak[0] > some), select(vec4f(), row_mass[1], row_peak[1] > some));
  let row_top = where_mass(row_mass, row_peak, 0.0);
  exponentiate(scaled(row_top, -1.0), Strip());
  let row_lse = plus_log(row_top, times_columns(filled(1.0)));
  var f = Strip(
    potential_of(row_mass[0], row_lse[0], params.leak_rows * temperature), potential_of(row_mass[1], row_lse[1], params.leak_rows * temperature));
  load_logits(temperature, false);
  add_to_rows(f);
  let column_peak = columns_of_largest();
  column_mass = Strip(select(vec4f(), column_mass[0], column_peak[0] > some), select(vec4f(), column_mass[1], column_peak[1] > some));
  let column_top = where_mass(column_mass, column_peak, 0.0);
  exponentiate(Strip(), scaled(column_top, -1.0));
  let column_sums = times_rows(filled(1.0));
  let column_lse = plus_log(column_top, column_sums);
  var g = Strip(
    potential_of(column_mass[0], column_lse[0], params.leak_columns * temperature), potential_of(column_mass[1], column_lse[1], params.leak_columns * temperature));
  let live_rows = alive(row_mass);
  let live_columns = alive(column_mass);
  if (params.record == 2u) {
    // v₀ = exp(g₀ − g₁); where masses are met it is known without a logarithm.
    var first = product(Strip(power(began[0] + column_top[0]), power(began[1] + column_top[1])), product(column_sums, inverses(column_mass)));
    if (params.leak_columns > 0.0) { first = Strip(power(began[0] - g[0]), power(began[1] - g[1])); }
    write_strip(params.history - params.m, product(first, live_columns), false);
    let reached_f = Strip(power(f[0] + row_lse[0]), power(f[1] + row_lse[1]));
    let reached_g = Strip(power(g[0] + column_lse[0]), power(g[1] + column_lse[1]));
    let cold = params.annealed == 0u;
    write_history(
      1u, chosen(cold, live_rows, where_mass(row_mass, f, EXCLUDED)), chosen(cold, live_columns, where_mass(column_mass, g, EXCLUDED)),
      product(reached_f, live_rows), product(reached_g, live_columns));
  }
  // The kernel of the scalings: exp(logits + f + g).
  var to_kernel = scalings(column_sums, column_mass, Strip(), 0.0);
  if (params.leak_columns > 0.0) { to_kernel = Strip(power(g[0] + column_top[0]), power(g[1] + column_top[1])); }
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { kernel[i * (TILE / 4u) + h] *= to_kernel[h]; }
  }

  var u = live_rows;
  var v = live_columns;
  var ran = params.iterations;
  var error = 0.0;
  var done = matrix >= params.count;
  // Whether the kernel does not belong to the potentials and the temperature any more.
  var stale = params.annealed > 0u;
  for (var t = 2u; t <= params.iterations; t++) {
    if (stale) {
      let next = temperature_at(t);
      f = scaled(f, temperature / next);
      g = scaled(g, temperature / next);
      temperature = next;
      load_logits(temperature, false);
      exponentiate(f, g);
      stale = false;
    }
    let row_sums = times_columns(v);
    let next_u = scalings(row_sums, row_mass, f, params.leak_rows * temperature);
    if (params.check_every > 0u && t - 1u > params.annealed && (t - 1u) % params.check_every == 0u) {
      let found = error_of(row_sums, u, next_u);
      if (!done && found <= params.tolerance) {
        done = true;
        ran = t - 1u;
        error = found;
      }
      if (largest_of_all(f32(!done), place, lane) == 0.0) { break; }
    }
    u = chosen(done, u, next_u);
    let sums = times_rows(u);
    v = chosen(done, v, scalings(sums, column_mass, g, params.leak_columns * temperature));
    if (!done) {
      let rows_reached = product(u, row_sums);
      let columns_reached = product(v, sums);
      if (ends_block(t) && t < params.iterations) {
        f = where_mass(row_mass, plus_log(f, u), 0.0);
        g = where_mass(column_mass, plus_log(g, v), 0.0);
        stale = true;
      }
      if (t <= params.annealed) {
        write_history(t, where_mass(row_mass, f, EXCLUDED), where_mass(column_mass, g, EXCLUDED), rows_reached, columns_reached);
      } else {
        write_history(t, u, v, rows_reached, columns_reached);
      }
      if (stale) {
        u = live_rows;
        v = live_columns;
      }
    }
  }
  if (params.error == 1u) {
    let sums = times_columns(v);
    let found = error_of(sums, u, scalings(sums, row_mass, f, params.leak_rows * temperature));
    error = select(found, error, ran < params.iterations);
  }
  if (params.plan == 1u) {
    for (var i = 0u; i < TILE; i++) {
      for (var j = 0u; j < TILE; j++) {
        if (matrix < params.count && row(i) < params.n && column(j) < params.m) {
          let at = matrix * params.n * params.m + row(i) * params.row_step + column(j) * params.column_step;
          plan[at] = kernel[(i * TILE + j) / 4u][j % 4u] * u[i / 4u][i % 4u] * v[j / 4u][j % 4u];
        }
      }
    }
  }
  if (params.record == 0u && params.plan != 2u) { return; }
  f = where_mass(row_mass, plus_log(f, u), EXCLUDED);
  g = where_mass(column_mass, plus_log(g, v), EXCLUDED);
  if (params.plan == 2u) {
    load_logits(temperature, false);
    for (var i = 0u; i < TILE; i++) {
      for (var j = 0u; j < TILE; j++) {
        if (matrix < params.count && row(i) < params.n && column(j) < params.m) {
          let at = matrix * params.n * params.m + row(i) * params.row_step + column(j) * params.column_step;
          let value = kernel[(i * TILE + j) / 4u][j % 4u];
          plan[at] = select(EXCLUDED, max(EXCLUDED, value + f[i / 4u][i % 4u] + g[j / 4u][j % 4u]), value > some.x);
        }
      }
    }
  }
  if (params.record == 0u) { return; }
  if (matrix < params.count && place.r == 0u && place.c == 0u) {
    record[matrix * params.record_stride] = f32(ran);
    record[matrix * params.record_stride + 1u] = error;
  }
  write_strip(2u, f, true);
  write_strip(2u + params.n, g, false);
  write_strip(2u + params.n + params.m, inverses(row_mass), true);
  write_strip(2u + 2u * params.n + params.m, inverses(column_mass), false);
  for (var t = ran + 1u; t <= params.iterations; t++) { write_history(t, Strip(), Strip(), Strip(), Strip()); }
}
