//#include "lib/grid.wgsl"
//#include "lib/square.wgsl"

// Backward for n <= SIDE · TILE, with the same division of work as the forward. A thread keeps its elements of P, and of
// what becomes the gradient, in registers; vectors pass through workgroup memory.
//   p, g, dx: [count, n, n]      history: [count, 2·iterations − 1, n]
override BLOCK: u32;

struct Params {
  // SIDE, see lib/square.wgsl.
  side: u32,
  count: u32,
  n: u32,
  iterations: u32,
  temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> history: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

// Keeps products and ratios of scalings finite whatever the data; README.md says how far they really go.
const EXTREME: f32 = 1.0e30;

var<private> kernel: Tile;
var<private> rest: Tile;
var<private> place: Place;
var<private> matrix: u32;
var<private> bound: u32;

fn row(i: u32) -> u32 { return place.r + SIDE * i; }
fn column(j: u32) -> u32 { return place.c + SIDE * j; }

// u_t (of rows) or v_t of the thread; the first iteration's scalings are 1 and are not stored.
fn recorded(t: u32, of_rows: bool) -> Strip {
  var result = filled(1.0);
  if (t == 1u) { return result; }
  let index = select(select(2u * t - 2u, 2u * t - 3u, of_rows), 0u, t == 0u);
  let first = (matrix * (2u * params.iterations - 1u) + index) * params.n;
  for (var i = 0u; i < TILE; i++) {
    let at = select(column(i), row(i), of_rows);
    if (at < bound) { result[i / 4u][i % 4u] = history[first + at]; }
  }
  return result;
}

fn times(a: Strip, b: Strip) -> Strip { return Strip(a[0] * b[0], a[1] * b[1]); }
fn negated(a: Strip) -> Strip { return Strip(-a[0], -a[1]); }

// a / b within ±EXTREME, for positive a and b.
fn ratio(a: Strip, b: Strip) -> Strip {
  return Strip(min(a[0] / b[0], vec4f(EXTREME)), min(a[1] / b[1], vec4f(EXTREME)));
}
fn bounded(a: Strip) -> Strip {
  return Strip(clamp(a[0], vec4f(1.0 / EXTREME), vec4f(EXTREME)), clamp(a[1], vec4f(1.0 / EXTREME), vec4f(EXTREME)));
}

fn ends_block(t: u32) -> bool { return t > 1u && (t == params.iterations || (t - 1u) % BLOCK == 0u); }

// Sums of P over columns with weights, for each row; and over rows, for each column.
fn times_columns(y: Strip) -> Strip {
  var result = Strip();
  for (var i = 0u; i < TILE; i++) {
    var sum = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) { sum += dot(kernel[i * (TILE / 4u) + h], y[h]); }
    result[i / 4u][i % 4u] = sum;
  }
  return row_total(result, place);
}

fn times_rows(z: Strip) -> Strip {
  var result = Strip();
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { result[h] += z[i / 4u][i % 4u] * kernel[i * (TILE / 4u) + h]; }
  }
  return column_total(result, place);
}

// rest −= a bᵀ
fn subtract(a: Strip, b: Strip) {
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { rest[i * (TILE / 4u) + h] -= a[i / 4u][i % 4u] * b[h]; }
  }
}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  place = place_of(lane, params.side);
  matrix = linear_workgroup(group, groups) * (THREADS / (SIDE * SIDE)) + place.slot;
  bound = select(0u, params.n, matrix < params.count);

  var row_sums = Strip();
  var column_sums = Strip();
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      var share = 0.0;
      var cotangent = 0.0;
      if (row(i) < bound && column(j) < bound) {
        let at = (matrix * params.n + row(i)) * params.n + column(j);
        share = p[at];
        cotangent = g[at];
      }
      kernel[(i * TILE + j) / 4u][j % 4u] = share;
      rest[(i * TILE + j) / 4u][j % 4u] = cotangent;
      row_sums[i / 4u][i % 4u] += share * cotangent;
      column_sums[j / 4u][j % 4u] += share * cotangent;
    }
  }
  var bar_f = row_total(row_sums, place);
  var bar_g = column_total(column_sums, place);

  // What was absorbed after the block of iteration t, its own end included.
  var absorbed_u = bounded(recorded(params.iterations, true));
  var absorbed_v = bounded(recorded(params.iterations, false));
  var v = filled(1.0);
  for (var t = params.iterations; t >= 1u; t--) {
    let u = ratio(recorded(t, true), absorbed_u);
    let y = times(v, bar_g);
    let product = times_columns(y);
    let z = times(u, Strip(bar_f[0] - u[0] * product[0], bar_f[1] - u[1] * product[1]));
    bar_f = Strip();
    subtract(u, y);
    if (ends_block(t - 1u)) {
      absorbed_u = bounded(times(absorbed_u, recorded(t - 1u, true)));
      absorbed_v = bounded(times(absorbed_v, recorded(t - 1u, false)));
    }
    v = ratio(recorded(t - 1u, false), absorbed_v);
    bar_g = negated(times(v, times_rows(z)));
    subtract(z, v);
  }
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      if (row(i) < bound && column(j) < bound) {
        let at = (matrix * params.n + row(i)) * params.n + column(j);
        dx[at] = kernel[(i * TILE + j) / 4u][j % 4u] * rest[(i * TILE + j) / 4u][j % 4u] / params.temperature;
      }
    }
  }
}
