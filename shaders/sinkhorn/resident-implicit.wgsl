//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/square.wgsl"
//#include "lib/exchange.wgsl"
//#include "lib/elements.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/arriving.wgsl"
//#variant subgroups "lib/exchange.wgsl" "lib/subgroup-exchange.wgsl"

// Gradient of the fixed point for sides up to SIDE · TILE, with the same division of work as the forward: conjugate gradients for
//   (diag c′ − Pᵀ diag(1/r′) P) β = s_c − Pᵀ (s_r / r′),  α = (s_r − P β) / r′,  with r′, c′ the sums of P over 1/(1 + leak)
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

// A matrix is solved when the energy of its residual has fallen to this share, a relative residual of 1e-6, or after so many steps;
// or where a direction is this flat against the diagonal alone: what all columns share changes nothing, and only rounding errors curve it.
const ENOUGH: f32 = 1.0e-12;
const LEAST_CURVATURE: f32 = 1.0e-6;
const MOST_STEPS: u32 = 96u;
// Steps between two looks at whether all matrices of the workgroup are solved.
const LOOK_EVERY: u32 = 4u;

var<private> place: Place;
var<private> matrix: u32;
var<private> kernel: Tile;
var<private> rest: Tile;

fn inverses(sums: Strip, leak: f32) -> Strip { return Strip(inverse(sums[0] * (1.0 + leak)), inverse(sums[1] * (1.0 + leak))); }

fn own_dot(a: Strip, b: Strip) -> f32 { return dot(a[0], b[0]) + select(0.0, dot(a[1], b[1]), TILE > 4u); }
// Sums of products over all columns, and over all rows.
fn dot_columns(a: Strip, b: Strip) -> f32 { return row_total(Strip(vec4f(own_dot(a, b), 0.0, 0.0, 0.0), vec4f()), place)[0].x; }
fn dot_rows(a: Strip, b: Strip) -> f32 { return column_total(Strip(vec4f(own_dot(a, b), 0.0, 0.0, 0.0), vec4f()), place)[0].x; }

fn times_columns(v: Strip) -> Strip { return row_total(products_of_rows(&kernel, v), place); }
fn times_rows(u: Strip) -> Strip { return column_total(products_of_columns(&kernel, u), place); }

@compute @workgroup_size(THREADS)
fn implicit(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = lane_of(index);
  place = place_of(lane, params.side, group);
  matrix = linear_workgroup(group, groups) * (THREADS / (SIDE * SIDE)) + place.slot;
  let sums = arrive();
  var s_r = row_total(sums.rows, place);
  var s_c = column_total(sums.columns, place);
  if (params.arriving_record == 1u) {
    s_r = plus(s_r, 1.0, read_gradient(2u, true));
    s_c = plus(s_c, 1.0, read_gradient(2u + params.n, false));
  }
  let r = times_columns(filled(1.0));
  let c = times_rows(filled(1.0));
  let leak_r = params.leak_rows * params.temperature;
  let leak_c = params.leak_columns * params.temperature;
  let inverse_r = inverses(r, leak_r);
  let inverse_c = inverses(c, leak_c);
  let diagonal = Strip(c[0] * (1.0 + leak_c), c[1] * (1.0 + leak_c));

  let right = times_rows(times(s_r, inverse_r));
  let alive = Strip(select(vec4f(), vec4f(1.0), inverse_c[0] > vec4f()), select(vec4f(), vec4f(1.0), inverse_c[1] > vec4f()));
  var left = times(alive, plus(s_c, -1.0, right));
  var search = times(left, inverse_c);
  var energy = dot_columns(left, search);
  let enough = ENOUGH * energy;
  var beta = Strip();
  var done = !(energy > SMALLEST);
  for (var k = 0u; k < MOST_STEPS; k++) {
    if (k % LOOK_EVERY == 0u) {
      if (largest_of_all(f32(!done), place, lane) == 0.0) { break; }
    }
    let back = times_rows(times(times_columns(search), inverse_r));
    let product = plus(times(diagonal, search), -1.0, back);
    let bend = row_total(Strip(vec4f(own_dot(search, product), own_dot(search, times(diagonal, search)), 0.0, 0.0), vec4f()), place)[0];
    let curvature = bend.x;
    done = done || !(curvature > max(LEAST_CURVATURE * bend.y, SMALLEST));
    let length = select(energy / max(curvature, SMALLEST), 0.0, done);
    beta = plus(beta, length, search);
    left = plus(left, -length, product);
    let conditioned = times(left, inverse_c);
    let next = dot_columns(left, conditioned);
    if (!done) {
      search = plus(conditioned, next / max(energy, SMALLEST), search);
      energy = next;
      done = !(energy > max(enough, SMALLEST));
    }
  }
  let product = times_columns(beta);
  var alpha = times(plus(s_r, -1.0, product), inverse_r);
  if (leak_r == 0.0 && leak_c == 0.0) {
    // α + κ and β − κ solve it as well. As in the iterations, scaling all masses of the side met first changes nothing.
    let shift = dot_rows(r, alpha) / max(dot_rows(r, filled(1.0)), SMALLEST);
    alpha = plus(alpha, -shift, filled(1.0));
    beta = plus(beta, shift, filled(1.0));
  }
  rest[0] -= plus_sides(mat4x4f(), alpha[0], beta[0]);
  if (TILE > 4u) {
    rest[1] -= plus_sides(mat4x4f(), alpha[0], beta[1]);
    rest[2] -= plus_sides(mat4x4f(), alpha[1], beta[0]);
    rest[3] -= plus_sides(mat4x4f(), alpha[1], beta[1]);
  }
  finish();
  deliver(times(times(alpha, r), inverse_masses(true)), times(times(beta, c), inverse_masses(false)), Strip());
}
