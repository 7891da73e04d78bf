//#include "lib/grid.wgsl"
//#include "lib/square.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"

// Forward for n <= SIDE · TILE. One workgroup computes THREADS / SIDE² matrices; a thread keeps its TILE × TILE elements in registers.
//   logits, p: [count, n, n]      history: [count, 2·iterations − 1, n], written when asked for
// Scalings are absorbed into the potentials every BLOCK iterations.
override BLOCK: u32;

struct Params {
  // SIDE, see lib/square.wgsl.
  side: u32,
  count: u32,
  n: u32,
  iterations: u32,
  // Whether the history is wanted.
  history: u32,
  temperature: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Words, so that a NaN is recognised before any arithmetic.
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> history: array<f32>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>, 2>;

var<private> kernel: Tile;
var<private> place: Place;
var<private> matrix: u32;
// n, or 0 for threads behind the last matrix.
var<private> bound: u32;

fn row(i: u32) -> u32 { return place.r + SIDE * i; }
fn column(j: u32) -> u32 { return place.c + SIDE * j; }

fn load_logits(report: bool) {
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      var value = PADDING;
      if (row(i) < bound && column(j) < bound) {
        let word = logits[(matrix * params.n + row(i)) * params.n + column(j)];
        if (report && is_broken(word)) { report_fault(params.fault | NUMBER, word); }
        value = scaled_logit(word, params.temperature);
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

fn times_columns(v: Strip) -> Strip {
  var result = Strip();
  for (var i = 0u; i < TILE; i++) {
    var sum = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) { sum += dot(kernel[i * (TILE / 4u) + h], v[h]); }
    result[i / 4u][i % 4u] = sum;
  }
  return row_total(result, place);
}

fn times_rows(u: Strip) -> Strip {
  var result = Strip();
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { result[h] += u[i / 4u][i % 4u] * kernel[i * (TILE / 4u) + h]; }
  }
  return column_total(result, place);
}

// 1 / sum; sums are at least 1/n, the floor is for padding.
fn scaling(sums: Strip) -> Strip { return Strip(1.0 / max(sums[0], vec4f(SMALLEST)), 1.0 / max(sums[1], vec4f(SMALLEST))); }

fn record(index: u32, values: Strip, of_rows: bool) {
  if (params.history == 0u) { return; }
  let first = (matrix * (2u * params.iterations - 1u) + index) * params.n;
  let mine = select(place.r == 0u, place.c == 0u, of_rows);
  for (var i = 0u; i < TILE; i++) {
    let at = select(column(i), row(i), of_rows);
    if (mine && at < bound) { history[first + at] = values[i / 4u][i % 4u]; }
  }
}

// kernel = exp(kernel + f + g); f holds minus the largest of rows on the way to a sum, and g is 0 then.
fn exponentiate(f: Strip, g: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) {
      let at = i * (TILE / 4u) + h;
      kernel[at] = shares(kernel[at] + f[i / 4u][i % 4u] + g[h]);
    }
  }
}

// Potentials outside of the matrix are 0, so that padding stays far below everything.
fn inside(values: Strip, of_rows: bool) -> Strip {
  var result = values;
  for (var i = 0u; i < TILE; i++) {
    if (select(column(i), row(i), of_rows) >= bound) { result[i / 4u][i % 4u] = 0.0; }
  }
  return result;
}

fn negated(values: Strip) -> Strip { return Strip(-values[0], -values[1]); }
fn plus_log(values: Strip, sums: Strip) -> Strip {
  return Strip(values[0] + log(max(sums[0], vec4f(SMALLEST))), values[1] + log(max(sums[1], vec4f(SMALLEST))));
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  place = place_of(lane, params.side);
  matrix = linear_workgroup(group, groups) * (THREADS / (SIDE * SIDE)) + place.slot;
  bound = select(0u, params.n, matrix < params.count);
  let one = filled(1.0);

  // First iteration by log-sum-exp: f = −LSE over the row, g = −LSE over the column of logits + f.
  load_logits(true);
  let row_peak = inside(rows_of_largest(), true);
  exponentiate(negated(row_peak), Strip());
  var f = inside(negated(plus_log(row_peak, times_columns(one))), true);
  load_logits(false);
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { kernel[i * (TILE / 4u) + h] += f[i / 4u][i % 4u]; }
  }
  let column_peak = inside(columns_of_largest(), false);
  exponentiate(Strip(), negated(column_peak));
  let sums = times_rows(one);
  var g = inside(negated(plus_log(column_peak, sums)), false);
  // v₀ = exp(−g): at most n, and nothing at all for a column that no row favours.
  record(0u, Strip(shares(column_peak[0]) * sums[0], shares(column_peak[1]) * sums[1]), false);
  var v = scaling(sums);
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { kernel[i * (TILE / 4u) + h] *= v[h]; }
  }

  v = one;
  var u = one;
  for (var t = 2u; t <= params.iterations; t++) {
    u = scaling(times_columns(v));
    v = scaling(times_rows(u));
    record(2u * t - 3u, u, true);
    record(2u * t - 2u, v, false);
    if ((t - 1u) % BLOCK == 0u && t < params.iterations) {
      f = inside(plus_log(f, u), true);
      g = inside(plus_log(g, v), false);
      load_logits(false);
      exponentiate(f, g);
      u = one;
      v = one;
    }
  }
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      if (row(i) < bound && column(j) < bound) {
        p[(matrix * params.n + row(i)) * params.n + column(j)] = kernel[(i * TILE + j) / 4u][j % 4u] * u[i / 4u][i % 4u] * v[j / 4u][j % 4u];
      }
    }
  }
}
