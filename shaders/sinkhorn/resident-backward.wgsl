//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/square.wgsl"
//#include "lib/exchange.wgsl"
//#include "lib/elements.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/schedule.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/arriving.wgsl"
//#variant subgroups "lib/exchange.wgsl" "lib/subgroup-exchange.wgsl"

// Backward for sides up to SIDE · TILE, with the same division of work as the forward. A thread keeps its elements of P, and of
// what becomes the gradient, in registers; vectors pass through workgroup memory.
//   values, gradient, logits, dx: [count, n · m]     record, record_gradient: [count, record_stride]     dvectors: [count, n + 2m]
override BLOCK: u32;

struct Params {
  // SIDE, see lib/square.wgsl.
  side: u32,
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  record_stride: u32,
  history: u32,
  history_stride: u32,
  iterations: u32,
  annealed: u32,
  matrix: u32,
  arriving: u32,
  arriving_record: u32,
  masked: u32,
  mask_step: u32,
  vectors: u32,
  temperature: f32,
  hot: f32,
  cooling: f32,
  leak_rows: f32,
  leak_columns: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> record: array<f32>;
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> record_gradient: array<f32>;
@group(0) @binding(5) var<storage, read> mask: array<u32>;
@group(0) @binding(6) var<storage, read> logits: array<u32>;
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;
@group(0) @binding(8) var<storage, read_write> dvectors: array<f32>;

var<private> place: Place;
var<private> matrix: u32;
var<private> kernel: Tile;
var<private> rest: Tile;

// u_t (of rows) or v_t of the thread, v_0 for t = 0; where scalings begin after annealing they are 1.
fn recorded(t: u32, of_rows: bool) -> Strip {
  if (t == 0u) { return read_strip(params.history - params.m, false); }
  if (t == params.annealed) { return ones_where_mass(of_rows); }
  return potentials_or_scalings(t, of_rows);
}
fn potentials_or_scalings(t: u32, of_rows: bool) -> Strip {
  return read_strip(params.history + (t - 1u) * params.history_stride + select(params.n, 0u, of_rows), of_rows);
}
fn ones_where_mass(of_rows: bool) -> Strip {
  let inverse = inverse_masses(of_rows);
  return Strip(select(vec4f(), vec4f(1.0), inverse[0] > vec4f()), select(vec4f(), vec4f(1.0), inverse[1] > vec4f()));
}
// 1 / mass of rows or columns after the half-step of iteration t.
fn reached(t: u32, of_rows: bool) -> Strip {
  if (params.history_stride == params.n + params.m) { return inverse_masses(of_rows); }
  let at = params.history + (t - 1u) * params.history_stride + params.n + params.m;
  return read_strip(at + select(params.n, 0u, of_rows), of_rows);
}

// a / b within ±EXTREME, for a ≥ 0 and b > 0.
fn ratio(a: Strip, b: Strip) -> Strip {
  return Strip(min(a[0] / b[0], vec4f(EXTREME)), min(a[1] / b[1], vec4f(EXTREME)));
}
fn bounded(a: Strip) -> Strip {
  return Strip(clamp(a[0], vec4f(1.0 / EXTREME), vec4f(EXTREME)), clamp(a[1], vec4f(1.0 / EXTREME), vec4f(EXTREME)));
}

// rest −= diag(a) kernel diag(b)
fn subtract_shares(a: Strip, b: Strip) {
  rest[0] -= between(a[0], kernel[0], b[0]);
  if (TILE > 4u) {
    rest[1] -= between(a[0], kernel[1], b[1]);
    rest[2] -= between(a[1], kernel[2], b[0]);
    rest[3] -= between(a[1], kernel[3], b[1]);
  }
}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = lane_of(index);
  place = place_of(lane, params.side, group);
  matrix = linear_workgroup(group, groups) * (THREADS / (SIDE * SIDE)) + place.slot;
  let sums = arrive();
  var bar_f = row_total(sums.rows, place);
  var bar_g = column_total(sums.columns, place);
  if (params.arriving_record == 1u) {
    let of_f = read_gradient(2u, true);
    let of_g = read_gradient(2u + params.n, false);
    bar_f = Strip(bar_f[0] + of_f[0], bar_f[1] + of_f[1]);
    bar_g = Strip(bar_g[0] + of_g[0], bar_g[1] + of_g[1]);
  }

  // Matrices that stopped early join when the others have come back to where they are.
  var ran = 0u;
  if (matrix < params.count) { ran = min(u32(record[matrix * params.record_stride]), params.iterations); }
  let last = u32(largest_of_all(f32(ran), place, lane));

  // What was absorbed after the block of iteration t, its own end included.
  var absorbed_u = filled(1.0);
  var absorbed_v = filled(1.0);
  if (ran > 0u) {
    absorbed_u = bounded(recorded(ran, true));
    absorbed_v = bounded(recorded(ran, false));
  }
  var v = ones_where_mass(false);
  var mass_f = Strip();
  var mass_g = Strip();
  for (var t = last; t > params.annealed; t--) {
    let here = t <= ran;
    let damp_f = 1.0 / (1.0 + params.leak_rows * params.temperature);
    let damp_g = 1.0 / (1.0 + params.leak_columns * params.temperature);
    var u = Strip();
    var y = Strip();
    var to_rows = Strip();
    if (here) {
      u = ratio(recorded(t, true), absorbed_u);
      let e = times(scaled(bar_g, damp_g), reached(t, false));
      y = times(v, e);
      // The share of log b in iteration t: e · (mass reached), over b.
      mass_g = Strip(mass_g[0] + damp_g * bar_g[0], mass_g[1] + damp_g * bar_g[1]);
      to_rows = reached(t, true);
    }
    let product = row_total(products_of_rows(&kernel, y), place);
    var z = Strip();
    if (here) {
      let e = Strip(damp_f * (bar_f[0] - u[0] * product[0]), damp_f * (bar_f[1] - u[1] * product[1]));
      mass_f = Strip(mass_f[0] + e[0], mass_f[1] + e[1]);
      z = times(u, times(e, to_rows));
      bar_f = Strip();
      subtract(&rest, u, y);
      if (t - 1u > max(1u, params.annealed) && ends_block(t - 1u)) {
        absorbed_u = bounded(times(absorbed_u, recorded(t - 1u, true)));
        absorbed_v = bounded(times(absorbed_v, recorded(t - 1u, false)));
      }
      v = ratio(recorded(t - 1u, false), absorbed_v);
    }
    let back = column_total(products_of_columns(&kernel, z), place);
    if (here) {
      bar_g = Strip(-v[0] * back[0], -v[1] * back[1]);
      subtract(&rest, z, v);
    }
  }

  // From here on `rest` is the gradient of the logits.
  finish();
  for (var t = params.annealed; t >= 1u; t--) {
    let temperature = temperature_at(t);
    let damp_f = 1.0 / (1.0 + params.leak_rows * temperature);
    let damp_g = 1.0 / (1.0 + params.leak_columns * temperature);
    let f = potentials_or_scalings(t, true);
    let g = potentials_or_scalings(t, false);
    load_kernel(temperature, f, g);
    let alive = ones_where_mass(false);
    let passed = scaled(bar_g, damp_g * temperature / temperature_at(t + 1u));
    mass_g = Strip(mass_g[0] + passed[0], mass_g[1] + passed[1]);
    let y = times(passed, reached(t, false));
    let product = row_total(products_of_rows(&kernel, y), place);
    let e = Strip(-damp_f * product[0], -damp_f * product[1]);
    mass_f = Strip(mass_f[0] + e[0], mass_f[1] + e[1]);
    let z = times(e, reached(t, true));
    var before = recorded(0u, false);
    if (t > 1u) {
      let factor = temperature_at(t - 1u) / temperature;
      let g_before = potentials_or_scalings(t - 1u, false);
      before = times(alive, Strip(power(factor * g_before[0] - g[0]), power(factor * g_before[1] - g[1])));
    }
    let back = column_total(products_of_columns(&kernel, z), place);
    bar_g = Strip(-before[0] * back[0], -before[1] * back[1]);
    subtract_shares(filled(1.0 / temperature), y);
    subtract_shares(scaled(z, 1.0 / temperature), before);
  }
  deliver(times(mass_f, inverse_masses(true)), times(mass_g, inverse_masses(false)), bar_g);
}
