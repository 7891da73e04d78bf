//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/square.wgsl"
//#include "lib/exchange.wgsl"
//#include "lib/elements.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/schedule.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/masses.wgsl"
//#variant subgroups "lib/exchange.wgsl" "lib/subgroup-exchange.wgsl"

// Forward for sides up to SIDE · TILE. One workgroup computes THREADS / SIDE² matrices; a thread keeps its TILE × TILE elements in registers.
//   logits, plan: [count, n · m], element (i, j) at i · row_step + j · column_step     record: [count, record_stride], see geometry.ts
// Scalings are absorbed into the potentials every BLOCK iterations, and into the kernel by multiplication: that reads nothing. When the scalings
// may have moved an entry up by more than MOST_DRIFT, or after so many multiplications, a thread makes its part of the kernel anew from the logits:
// what had been flushed to 0 until then is below 1e-25.
const MOST_DRIFT: f32 = 1.0e12;
const MOST_MULTIPLICATIONS: u32 = 8u;
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

// Four logits of row i from column j on, over the temperature; PADDING where there is no mass or the mask is 0.
fn quad_of_logits(i: u32, mass: f32, j: u32, masses: vec4f, temperature: f32, report: bool) -> vec4f {
  let at = quad_places(i, j);
  var open = vec4<bool>(mass > 0.0) & (masses > vec4f());
  if ((params.gate == GATE_MASK) & (matrix < params.count)) {
    open = vec4<bool>(open.x && is_open(matrix, at.x), open.y && is_open(matrix, at.y), open.z && is_open(matrix, at.z), open.w && is_open(matrix, at.w));
  }
  let words = logits_at(first_element() + at);
  let broken = are_broken(words) & open;
  if (report && any(broken)) {
    let culprits = select(vec4u(), words, broken);
    report_fault(params.fault | NUMBER, max(max(culprits.x, culprits.y), max(culprits.z, culprits.w)));
  }
  return select(vec4f(PADDING), scaled_logits(words, temperature), open);
}

fn block_of_logits(h: u32, k: u32, mass: vec4f, masses: vec4f, temperature: f32, report: bool) -> mat4x4f {
  let i = row(h);
  let j = column(k);
  return mat4x4f(
    quad_of_logits(i, mass.x, j, masses, temperature, report), quad_of_logits(i + SIDE, mass.y, j, masses, temperature, report),
    quad_of_logits(i + 2u * SIDE, mass.z, j, masses, temperature, report), quad_of_logits(i + 3u * SIDE, mass.w, j, masses, temperature, report));
}

fn load_logits(temperature: f32, report: bool) {
  kernel[0] = block_of_logits(0u, 0u, row_mass[0], column_mass[0], temperature, report);
  if (TILE > 4u) {
    kernel[1] = block_of_logits(0u, 1u, row_mass[0], column_mass[1], temperature, report);
    kernel[2] = block_of_logits(1u, 0u, row_mass[1], column_mass[0], temperature, report);
    kernel[3] = block_of_logits(1u, 1u, row_mass[1], column_mass[1], temperature, report);
  }
}

// The largest of kernel + 1 gᵀ in each row, and of kernel + f 1ᵀ in each column.
fn row_peaks(g: Strip) -> Strip {
  var result = Strip(largest_in_rows(plus_sides(kernel[0], vec4f(), g[0])), vec4f());
  if (TILE > 4u) {
    result[0] = max(result[0], largest_in_rows(plus_sides(kernel[1], vec4f(), g[1])));
    result[1] = max(largest_in_rows(plus_sides(kernel[2], vec4f(), g[0])), largest_in_rows(plus_sides(kernel[3], vec4f(), g[1])));
  }
  return row_largest(result, place);
}
fn column_peaks(f: Strip) -> Strip {
  var result = Strip(largest_in_columns(plus_sides(kernel[0], f[0], vec4f())), vec4f());
  if (TILE > 4u) {
    result[0] = max(result[0], largest_in_columns(plus_sides(kernel[2], f[1], vec4f())));
    result[1] = max(largest_in_columns(plus_sides(kernel[1], f[0], vec4f())), largest_in_columns(plus_sides(kernel[3], f[1], vec4f())));
  }
  return column_largest(result, place);
}

// Σ over the row of exp(kernel + f + g)
fn row_powers(f: Strip, g: Strip) -> Strip {
  var result = Strip(ONES * powers(kernel[0], f[0], g[0]), vec4f());
  if (TILE > 4u) {
    result[0] += ONES * powers(kernel[1], f[0], g[1]);
    result[1] = ONES * powers(kernel[2], f[1], g[0]) + ONES * powers(kernel[3], f[1], g[1]);
  }
  return row_total(result, place);
}
// kernel = exp(kernel + f + g)
fn exponentiate(f: Strip, g: Strip) {
  kernel[0] = powers(kernel[0], f[0], g[0]);
  if (TILE > 4u) {
    kernel[1] = powers(kernel[1], f[0], g[1]);
    kernel[2] = powers(kernel[2], f[1], g[0]);
    kernel[3] = powers(kernel[3], f[1], g[1]);
  }
}
fn times_columns(v: Strip) -> Strip { return row_total(products_of_rows(&kernel, v), place); }
fn times_rows(u: Strip) -> Strip { return column_total(products_of_columns(&kernel, u), place); }

fn plus_log(values: Strip, sums: Strip) -> Strip {
  return Strip(values[0] + log(max(sums[0], vec4f(SMALLEST))), values[1] + log(max(sums[1], vec4f(SMALLEST))));
}
fn scalings(sums: Strip, mass: Strip, potential: Strip, leak: f32) -> Strip {
  return Strip(scaling(sums[0], mass[0], potential[0], leak), scaling(sums[1], mass[1], potential[1], leak));
}
// `values` where there is mass, `otherwise` elsewhere.
fn where_mass(mass: Strip, values: Strip, otherwise: f32) -> Strip {
  return Strip(select(vec4f(otherwise), values[0], mass[0] > vec4f()), select(vec4f(otherwise), values[1], mass[1] > vec4f()));
}
fn inverses(values: Strip) -> Strip { return Strip(inverse(values[0]), inverse(values[1])); }
// How far the scalings move an entry of the thread up at most, as far as that matters.
fn drift_of(u: Strip, v: Strip) -> f32 {
  return min(largest_of(max(u[0], u[1])), 2.0 * MOST_DRIFT) * min(largest_of(max(v[0], v[1])), 2.0 * MOST_DRIFT);
}

fn write_element(at: u32, value: f32) { plan[at] = value; }
fn write_number(at: u32, value: f32) { record[at] = value; }
// Writes the numbers of rows or of columns at `offset` of the matrix's record.
fn write_strip(offset: u32, values: Strip, of_rows: bool) { write_strip_at(matrix * params.record_stride + offset, values, of_rows); }

// What iteration t leaves for a backward pass; the masses only where they may be missed.
fn write_history(t: u32, u: Strip, v: Strip, rows_reached: Strip, columns_reached: Strip) {
  if ((params.record < 2u) | (matrix >= params.count)) { return; }
  let at = params.history + (t - 1u) * params.history_stride;
  write_strip(at, u, true);
  write_strip(at + params.n, v, false);
  if ((params.history_stride > params.n + params.m) & (matrix < params.count)) {
    write_strip(at + params.n + params.m, inverses(rows_reached), true);
    write_strip(at + 2u * params.n + params.m, inverses(columns_reached), false);
  }
}

// Σ over the rows of s |next − u|, known to all threads of the matrix.
fn error_of(sums: Strip, u: Strip, next: Strip) -> f32 {
  let shares = sums[0] * abs(next[0] - u[0]) + select(vec4f(), sums[1] * abs(next[1] - u[1]), TILE > 4u);
  return column_total(Strip(vec4f(dot(shares, ONES), 0.0, 0.0, 0.0), vec4f()), place)[0].x;
}

fn masses_of_rows(first: u32, extent: vec2u, report: bool) -> vec4f {
  return vec4f(
    mass_of_row(matrix, first, extent, report), mass_of_row(matrix, first + SIDE, extent, report),
    mass_of_row(matrix, first + 2u * SIDE, extent, report), mass_of_row(matrix, first + 3u * SIDE, extent, report));
}
fn masses_of_columns(first: u32, extent: vec2u, report: bool) -> vec4f {
  return vec4f(
    mass_of_column(matrix, first, extent, report), mass_of_column(matrix, first + SIDE, extent, report),
    mass_of_column(matrix, first + 2u * SIDE, extent, report), mass_of_column(matrix, first + 3u * SIDE, extent, report));
}
fn started_at(j: u32, mass: f32) -> f32 {
  if (!(mass > 0.0)) { return 0.0; }
  let word = start[matrix * params.start_step + j];
  if (is_broken(word)) { report_fault(params.fault | NUMBER, word); }
  return scaled_logit(word, 1.0);
}
fn start_of(first: u32, mass: vec4f) -> vec4f {
  return vec4f(started_at(first, mass.x), started_at(first + SIDE, mass.y), started_at(first + 2u * SIDE, mass.z), started_at(first + 3u * SIDE, mass.w));
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = lane_of(index);
  place = place_of(lane, params.side, group);
  let first_matrix = linear_workgroup(group, groups) * (THREADS / (SIDE * SIDE));
  matrix = first_matrix + place.slot;
  // Whether the workgroup has any matrix; flags are asked together with it: see src/ops/matmul/README.md.
  let busy = first_matrix < params.count;
  let extent = extent_of(matrix, lane % (SIDE * SIDE) == 0u);
  row_mass = Strip(masses_of_rows(row(0u), extent, place.c == 0u), vec4f());
  column_mass = Strip(masses_of_columns(column(0u), extent, place.r == 0u), vec4f());
  if (TILE > 4u) {
    row_mass[1] = masses_of_rows(row(1u), extent, place.c == 0u);
    column_mass[1] = masses_of_columns(column(1u), extent, place.r == 0u);
  }
  var began = Strip();
  if (busy & (params.started == 1u)) {
    began[0] = start_of(column(0u), column_mass[0]);
    if (TILE > 4u) { began[1] = start_of(column(1u), column_mass[1]); }
  }

  // First iteration by log-sum-exp: f = log mass − LSE over the row, g = log mass − LSE over the column of logits + f.
  var temperature = temperature_at(1u);
  load_logits(temperature, true);
  let row_peak = row_peaks(began);
  let some = vec4f(0.5 * PADDING);
  row_mass = Strip(select(vec4f(), row_mass[0], row_peak[0] > some), select(vec4f(), row_mass[1], row_peak[1] > some));
  let row_top = where_mass(row_mass, row_peak, 0.0);
  let row_lse = plus_log(row_top, row_powers(scaled(row_top, -1.0), began));
  var f = Strip(
    potential_of(row_mass[0], row_lse[0], params.leak_rows * temperature), potential_of(row_mass[1], row_lse[1], params.leak_rows * temperature));
  let column_peak = column_peaks(f);
  column_mass = Strip(select(vec4f(), column_mass[0], column_peak[0] > some), select(vec4f(), column_mass[1], column_peak[1] > some));
  let column_top = where_mass(column_mass, column_peak, 0.0);
  exponentiate(f, scaled(column_top, -1.0));
  let column_sums = times_rows(filled(1.0));
  let column_lse = plus_log(column_top, column_sums);
  var g = Strip(
    potential_of(column_mass[0], column_lse[0], params.leak_columns * temperature), potential_of(column_mass[1], column_lse[1], params.leak_columns * temperature));
  let live_rows = alive(row_mass);
  let live_columns = alive(column_mass);
  if (busy & (params.record == 2u)) {
    // v₀ = exp(g₀ − g₁); where masses are met it is known without a logarithm.
    var first = times(Strip(power(began[0] + column_top[0]), power(began[1] + column_top[1])), times(column_sums, inverses(column_mass)));
    if (busy & (params.leak_columns > 0.0)) { first = Strip(power(began[0] - g[0]), power(began[1] - g[1])); }
    write_strip(params.history - params.m, times(first, live_columns), false);
    let reached_f = Strip(power(f[0] + row_lse[0]), power(f[1] + row_lse[1]));
    let reached_g = Strip(power(g[0] + column_lse[0]), power(g[1] + column_lse[1]));
    let cold = params.annealed == 0u;
    write_history(
      1u, chosen(cold, live_rows, where_mass(row_mass, f, EXCLUDED)), chosen(cold, live_columns, where_mass(column_mass, g, EXCLUDED)),
      times(reached_f, live_rows), times(reached_g, live_columns));
  }
  // The kernel of the scalings: exp(logits + f + g).
  var to_kernel = scalings(column_sums, column_mass, Strip(), 0.0);
  if (busy & (params.leak_columns > 0.0)) { to_kernel = Strip(power(g[0] + column_top[0]), power(g[1] + column_top[1])); }
  multiply(&kernel, filled(1.0), to_kernel);

  var u = live_rows;
  var v = live_columns;
  var ran = params.iterations;
  var error = 0.0;
  var done = matrix >= params.count;
  // Whether the kernel does not belong to the potentials and the temperature any more; what has moved it since it did.
  var stale = params.annealed > 0u;
  var drift = 1.0;
  var multiplications = 0u;
  let last = select(1u, params.iterations, busy);
  for (var t = 2u; t <= last; t++) {
    if (stale) {
      let next = temperature_at(t);
      f = scaled(f, temperature / next);
      g = scaled(g, temperature / next);
      temperature = next;
      load_logits(temperature, false);
      exponentiate(f, g);
      stale = false;
      drift = 1.0;
      multiplications = 0u;
    }
    let row_sums = times_columns(v);
    let next_u = scalings(row_sums, row_mass, f, params.leak_rows * temperature);
    let looks = (params.check_every > 0u) & (t - 1u > params.annealed);
    if (looks && (t - 1u) % params.check_every == 0u) {
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
      var absorbed = false;
      let rows_reached = times(u, row_sums);
      let columns_reached = times(v, sums);
      if (ends_block(t) && t < params.iterations) {
        f = where_mass(row_mass, plus_log(f, u), 0.0);
        g = where_mass(column_mass, plus_log(g, v), 0.0);
        drift *= drift_of(u, v);
        multiplications++;
        stale = t <= params.annealed || drift > MOST_DRIFT || multiplications > MOST_MULTIPLICATIONS;
        if (!stale) { multiply(&kernel, u, v); }
        absorbed = true;
      }
      if (t <= params.annealed) {
        write_history(t, where_mass(row_mass, f, EXCLUDED), where_mass(column_mass, g, EXCLUDED), rows_reached, columns_reached);
      } else {
        write_history(t, u, v, rows_reached, columns_reached);
      }
      if (absorbed) {
        u = live_rows;
        v = live_columns;
      }
    }
  }
  if (busy & (params.error == 1u)) {
    let sums = times_columns(v);
    let found = error_of(sums, u, scalings(sums, row_mass, f, params.leak_rows * temperature));
    error = select(found, error, ran < params.iterations);
  }
  if (busy & (params.plan == 1u)) {
    multiply(&kernel, u, v);
    write_tile(&kernel);
  }
  if (!busy | ((params.record == 0u) & (params.plan != 2u))) { return; }
  f = where_mass(row_mass, plus_log(f, u), EXCLUDED);
  g = where_mass(column_mass, plus_log(g, v), EXCLUDED);
  if (busy & (params.plan == 2u)) {
    load_logits(temperature, false);
    kernel[0] = logarithms(kernel[0], f[0], g[0]);
    if (TILE > 4u) {
      kernel[1] = logarithms(kernel[1], f[0], g[1]);
      kernel[2] = logarithms(kernel[2], f[1], g[0]);
      kernel[3] = logarithms(kernel[3], f[1], g[1]);
    }
    write_tile(&kernel);
  }
  if (!busy | (params.record == 0u)) { return; }
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
