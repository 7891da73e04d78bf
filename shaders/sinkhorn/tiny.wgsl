//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/staging.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/staged-logits.wgsl"
//#include "lib/staged-gradient.wgsl"
//#include "lib/transcendental.wgsl"
//#include "lib/sinkhorn.wgsl"

// Plain runs over many tiny matrices, a thread each. In so few iterations scalings stay so near 1 that nothing is absorbed. The backward pass runs the forward
// once more and keeps v_t: a record would be ten times the matrix.
//   logits, gradient, result: [count, n · m], element (i, j) at i · row_step + j · column_step
const MOST_ITERATIONS: u32 = 24u;
// Of sums of rows and columns: u, v and their products stay finite whatever the data. No scaling gets so far.
const LEAST: f32 = 1.0e-16;

struct Params {
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  iterations: u32,
  // Of every row, and of every column.
  row_mass: f32,
  column_mass: f32,
  temperature: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> gradient: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>, 2>;

var<private> kernel: Tile;
var<private> rest: Tile;
// 1 for every row and column of the matrix, and their masses; 0 outside.
var<private> live_rows: Strip;
var<private> live_columns: Strip;
var<private> row_mass: Strip;
var<private> column_mass: Strip;
// v_t, by halves.
var<private> first_half: array<vec4f, MOST_ITERATIONS>;
var<private> second_half: array<vec4f, MOST_ITERATIONS>;

fn keep(t: u32, v: Strip) {
  first_half[t] = v[0];
  if (TILE > 4u) { second_half[t] = v[1]; }
}
fn kept(t: u32) -> Strip {
  var v = Strip(first_half[t], vec4f());
  if (TILE > 4u) { v[1] = second_half[t]; }
  return v;
}

fn on_broken(word: u32) { report_fault(params.fault | NUMBER, word); }

fn write_result(first: u32, here: u32, lane: u32) {
  let size = params.n * params.m;
  for (var k = lane; k < here * size; k += THREADS) { result[first * size + k] = word_at(k); }
}

fn quad_of_logits(slot: u32, i: u32, j: u32) -> vec4f {
  return select(vec4f(PADDING), scaled_logits(words_at(places_of(slot, i, j)), params.temperature), are_inside(i, j));
}
fn block_of_logits(slot: u32, i: u32, j: u32) -> mat4x4f {
  return mat4x4f(quad_of_logits(slot, i, j), quad_of_logits(slot, i + 1u, j), quad_of_logits(slot, i + 2u, j), quad_of_logits(slot, i + 3u, j));
}

// The first iteration by log-sum-exp: kernel = exp(logits + f + g). Gives v₀ = exp(−g).
fn begin(slot: u32) -> Strip {
  live_rows = ones(params.n);
  live_columns = ones(params.m);
  row_mass = scaled(live_rows, params.row_mass);
  column_mass = scaled(live_columns, params.column_mass);
  kernel[0] = block_of_logits(slot, 0u, 0u);
  var top = Strip(largest_in_rows(kernel[0]), vec4f());
  if (TILE > 4u) {
    kernel[1] = block_of_logits(slot, 0u, 4u);
    kernel[2] = block_of_logits(slot, 4u, 0u);
    kernel[3] = block_of_logits(slot, 4u, 4u);
    top[0] = max(top[0], largest_in_rows(kernel[1]));
    top[1] = max(largest_in_rows(kernel[2]), largest_in_rows(kernel[3]));
  }
  top = Strip(select(vec4f(), top[0], live_rows[0] > vec4f()), select(vec4f(), top[1], live_rows[1] > vec4f()));
  var sums = Strip(ONES * powers(kernel[0], -top[0], vec4f()), vec4f());
  if (TILE > 4u) {
    sums[0] += ONES * powers(kernel[1], -top[0], vec4f());
    sums[1] = ONES * powers(kernel[2], -top[1], vec4f()) + ONES * powers(kernel[3], -top[1], vec4f());
  }
  // Sums are at least 1 where there is a row.
  var f = Strip(accurate_logs(params.row_mass / max(sums[0], ONES)) - top[0], vec4f());
  if (TILE > 4u) { f[1] = accurate_logs(params.row_mass / max(sums[1], ONES)) - top[1]; }
  var peak = Strip(largest_in_columns(plus_sides(kernel[0], f[0], vec4f())), vec4f());
  if (TILE > 4u) {
    peak[0] = max(peak[0], largest_in_columns(plus_sides(kernel[2], f[1], vec4f())));
    peak[1] = max(largest_in_columns(plus_sides(kernel[1], f[0], vec4f())), largest_in_columns(plus_sides(kernel[3], f[1], vec4f())));
  }
  peak = Strip(select(vec4f(), peak[0], live_columns[0] > vec4f()), select(vec4f(), peak[1], live_columns[1] > vec4f()));
  kernel[0] = powers(kernel[0], f[0], -peak[0]);
  if (TILE > 4u) {
    kernel[1] = powers(kernel[1], f[0], -peak[1]);
    kernel[2] = powers(kernel[2], f[1], -peak[0]);
    kernel[3] = powers(kernel[3], f[1], -peak[1]);
  }
  sums = products_of_columns(&kernel, filled(1.0));
  multiply(&kernel, filled(1.0), scalings(sums, column_mass));
  return times(Strip(power(peak[0]), power(peak[1])), scaled(times(sums, live_columns), 1.0 / params.column_mass));
}

fn scalings(sums: Strip, mass: Strip) -> Strip { return Strip(mass[0] / max(sums[0], vec4f(LEAST)), mass[1] / max(sums[1], vec4f(LEAST))); }

// The next scalings, from those of the iteration before.
fn next_u(v: Strip) -> Strip { return scalings(products_of_rows(&kernel, v), row_mass); }
fn next_v(u: Strip) -> Strip { return scalings(products_of_columns(&kernel, u), column_mass); }

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = min(linear_workgroup(group, groups) * THREADS, params.count);
  let here = min(THREADS, params.count - first);
  stage_logits(first, here, lane);
  workgroupBarrier();
  _ = begin(lane);
  var u = live_rows;
  var v = live_columns;
  for (var t = 2u; t <= params.iterations; t++) {
    u = next_u(v);
    v = next_v(u);
  }
  multiply(&kernel, u, v);
  put_tile(lane, &kernel);
  workgroupBarrier();
  write_result(first, here, lane);
}

// What belongs to one element of P: its cotangent where it is not 0.
fn quad_of_gradient(slot: u32, i: u32, j: u32, share: vec4f) -> vec4f {
  return select(vec4f(), staged_quad(slot, i, j), share > vec4f());
}
fn block_of_gradient(slot: u32, i: u32, j: u32, share: mat4x4f) -> mat4x4f {
  return mat4x4f(
    quad_of_gradient(slot, i, j, share[0]), quad_of_gradient(slot, i + 1u, j, share[1]),
    quad_of_gradient(slot, i + 2u, j, share[2]), quad_of_gradient(slot, i + 3u, j, share[3]));
}
// P ∘ G
fn arriving(slot: u32, i: u32, j: u32, u: vec4f, own: mat4x4f, v: vec4f) -> mat4x4f {
  let share = between(u, own, v);
  return hadamard(share, block_of_gradient(slot, i, j, share));
}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = min(linear_workgroup(group, groups) * THREADS, params.count);
  let here = min(THREADS, params.count - first);
  stage_logits(first, here, lane);
  workgroupBarrier();
  keep(0u, begin(lane));
  workgroupBarrier();
  stage_gradient(first, here, lane);
  var u = live_rows;
  var v = live_columns;
  for (var t = 2u; t <= params.iterations; t++) {
    keep(t - 1u, v);
    u = next_u(v);
    v = next_v(u);
  }
  workgroupBarrier();

  // `rest` holds P ∘ G, which is written where G was; then the sum that the kernel is multiplied with.
  rest[0] = arriving(lane, 0u, 0u, u[0], kernel[0], v[0]);
  var bar_f = Strip(ONES * rest[0], vec4f());
  var bar_g = Strip(rest[0] * ONES, vec4f());
  if (TILE > 4u) {
    rest[1] = arriving(lane, 0u, 4u, u[0], kernel[1], v[1]);
    rest[2] = arriving(lane, 4u, 0u, u[1], kernel[2], v[0]);
    rest[3] = arriving(lane, 4u, 4u, u[1], kernel[3], v[1]);
    bar_f = Strip(bar_f[0] + ONES * rest[1], ONES * rest[2] + ONES * rest[3]);
    bar_g = Strip(bar_g[0] + rest[2] * ONES, rest[1] * ONES + rest[3] * ONES);
  }
  put_tile(lane, &rest);
  rest = Tile();
  let by_rows = scaled(live_rows, 1.0 / params.row_mass);
  let by_columns = scaled(live_columns, 1.0 / params.column_mass);
  for (var t = params.iterations; t > 0u; t--) {
    let before = kept(t - 1u);
    if (t == 1u) {
      u = live_rows;
    } else if (t < params.iterations) {
      u = next_u(before);
    }
    let y = times(v, times(bar_g, by_columns));
    let product = products_of_rows(&kernel, y);
    let z = times(times(u, by_rows), plus(bar_f, -1.0, times(u, product)));
    subtract(&rest, u, y);
    subtract(&rest, z, before);
    bar_f = Strip();
    bar_g = scaled(times(before, products_of_columns(&kernel, z)), -1.0);
    v = before;
  }
  rest[0] = finished(lane, 0u, 0u, kernel[0], rest[0]);
  if (TILE > 4u) {
    rest[1] = finished(lane, 0u, 4u, kernel[1], rest[1]);
    rest[2] = finished(lane, 4u, 0u, kernel[2], rest[2]);
    rest[3] = finished(lane, 4u, 4u, kernel[3], rest[3]);
  }
  put_tile(lane, &rest);
  workgroupBarrier();
  write_result(first, here, lane);
}

// The gradient of the logits: (P ∘ G + kernel ∘ rest) / temperature.
fn finished_quad(slot: u32, i: u32, j: u32, own: vec4f, factors: vec4f) -> vec4f {
  return (staged_quad(slot, i, j) + own * factors) / params.temperature;
}
fn finished(slot: u32, i: u32, j: u32, own: mat4x4f, factors: mat4x4f) -> mat4x4f {
  return mat4x4f(
    finished_quad(slot, i, j, own[0], factors[0]), finished_quad(slot, i + 1u, j, own[1], factors[1]),
    finished_quad(slot, i + 2u, j, own[2], factors[2]), finished_quad(slot, i + 3u, j, own[3], factors[3]));
}
