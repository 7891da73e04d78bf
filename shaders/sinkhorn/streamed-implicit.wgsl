//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/panel-shares.wgsl"

// Gradient of the fixed point for large sides: the conjugate gradients of resident-implicit.wgsl, each step of which reads P once. Steps are recorded
// as they are needed at most; a matrix that is solved is left alone, and when all are `look` leaves those that follow without workgroups.
//   values, gradient, logits, dx: [count, n · m]      record, record_gradient: [count, record_stride]      dvectors: [count, n + 2m]
//   kernel: P, [count, n, width] of quads, in the order of the passes, 0 behind the columns
//   partials: [count, panels, 2, width] for `arrive`, [count, panels, width] after it
//   state: [count, state_stride], of every matrix
//     of rows:    r, s_r and in the end α, 1/r′
//     of columns: c, 1/c′, s_c and then a product with the search direction, β, and two each of residuals and of search directions, the one before
//                 and the one after a step; all in whole quads, 0 behind the last column
//     the parts of the curvature, two each of energies and of whether the matrix is solved, and the energy at which it is
//   launch: how many workgroups `step` and `step_columns` take, `launches` or 0, three words each
struct Params {
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  panel_rows: u32,
  panels: u32,
  t: u32,
  record_stride: u32,
  // See lib/arriving.wgsl.
  matrix: u32,
  arriving: u32,
  arriving_record: u32,
  masked: u32,
  mask_step: u32,
  vectors: u32,
  temperature: f32,
  leak_rows: f32,
  leak_columns: f32,
  launches: array<vec4u, 2>,
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
@group(0) @binding(9) var<storage, read_write> state: array<f32>;
@group(0) @binding(10) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> kernel: array<vec4f>;
@group(0) @binding(12) var<storage, read_write> launch: array<u32>;

// As in resident-implicit.wgsl.
const ENOUGH: f32 = 1.0e-12;
const LEAST_CURVATURE: f32 = 1.0e-6;
const MOST_STEPS: u32 = 96u;

const LAUNCH_STEP: u32 = 0u;
const LAUNCH_COLUMNS: u32 = 3u;
const LAUNCH_WORDS: u32 = 6u;

const ROW_SUM: u32 = 0u;
const ROW_SIDE: u32 = 1u;
const ROW_INVERSE: u32 = 2u;
const ROW_VECTORS: u32 = 3u;
const SUM: u32 = 0u;
const INVERSE: u32 = 1u;
const PRODUCT: u32 = 2u;
const BETA: u32 = 3u;
const RESIDUAL: u32 = 4u;
const SEARCH: u32 = 6u;
const COLUMN_VECTORS: u32 = 8u;
const SCALARS: u32 = 5u;

var<workgroup> solved: u32;

fn state_of(matrix: u32) -> u32 { return matrix * (ROW_VECTORS * params.n + COLUMN_VECTORS * 4u * width() + stacks() + SCALARS); }
fn row_at(matrix: u32, which: u32, i: u32) -> u32 { return state_of(matrix) + which * params.n + i; }
fn column_at(matrix: u32, which: u32, j: u32) -> u32 { return state_of(matrix) + ROW_VECTORS * params.n + which * 4u * width() + j; }
fn curvature_at(matrix: u32, part: u32) -> u32 { return column_at(matrix, COLUMN_VECTORS, part); }
fn energy_at(matrix: u32, version: u32) -> u32 { return curvature_at(matrix, stacks()) + version; }
fn solved_at(matrix: u32, version: u32) -> u32 { return energy_at(matrix, 2u) + version; }
fn enough_at(matrix: u32) -> u32 { return solved_at(matrix, 2u); }

fn is_panel(group: u32) -> bool { return group < params.count * params.panels * LANES / 256u; }
fn has_leak() -> bool { return params.leak_rows != 0.0 || params.leak_columns != 0.0; }

fn row_numbers(matrix: u32, which: u32, first: u32) -> vec4f {
  let at = vec4u(row_at(matrix, which, 0u)) + rows_from(first);
  return vec4f(state[at.x], state[at.y], state[at.z], state[at.w]);
}
fn column_quad(matrix: u32, which: u32, quad: u32) -> vec4f {
  let at = column_at(matrix, which, 4u * quad);
  return vec4f(state[at], state[at + 1u], state[at + 2u], state[at + 3u]);
}
fn column_numbers(matrix: u32, which: u32, lane: u32) -> mat4x4f {
  var result = mat4x4f();
  if (owns(lane, 0u)) { result[0] = column_quad(matrix, which, lane); }
  if (owns(lane, 1u)) { result[1] = column_quad(matrix, which, lane + LANES); }
  if (owns(lane, 2u)) { result[2] = column_quad(matrix, which, lane + 2u * LANES); }
  if (owns(lane, 3u)) { result[3] = column_quad(matrix, which, lane + 3u * LANES); }
  return result;
}
fn keep_quad(matrix: u32, which: u32, quad: u32, values: vec4f) {
  let at = column_at(matrix, which, 4u * quad);
  for (var k = 0u; k < 4u; k++) { state[at + k] = values[k]; }
}
fn keep_numbers(matrix: u32, which: u32, lane: u32, values: mat4x4f) {
  if (owns(lane, 0u)) { keep_quad(matrix, which, lane, values[0]); }
  if (owns(lane, 1u)) { keep_quad(matrix, which, lane + LANES, values[1]); }
  if (owns(lane, 2u)) { keep_quad(matrix, which, lane + 2u * LANES, values[2]); }
  if (owns(lane, 3u)) { keep_quad(matrix, which, lane + 3u * LANES, values[3]); }
}
fn products(a: mat4x4f, b: mat4x4f) -> mat4x4f { return mat4x4f(a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]); }

// P; its row sums and those of what arrives; the panel's shares of both column sums.
@compute @workgroup_size(256)
fn arrive(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (!is_panel(linear_workgroup(group, groups))) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  let one = vec4f(1.0);
  let ones = mat4x4f(one, one, one, one);
  var sums = mat4x4f();
  var weights = mat4x4f();
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    fill_with_shares(matrix, first, lane);
    var parts = vec4f();
    var weighed = vec4f();
    for (var r = 0u; r < 4u; r++) {
      let row = kernel_row(matrix, first + r, lane, 0.0);
      let weight = weight_row(matrix, first + r, lane, row);
      parts[r] = row_dot(row, ones);
      weighed[r] = row_dot(weight, ones);
      sums = plus_row(sums, row, 1.0);
      weights = plus_row(weights, weight, 1.0);
    }
    let sum = panel_total(parts, thread);
    let side = panel_total(weighed, thread);
    if (lane < 4u && first + lane < params.n) {
      state[row_at(matrix, ROW_SUM, first + lane)] = sum[lane];
      state[row_at(matrix, ROW_SIDE, first + lane)] = side[lane];
    }
  }
  let at = place.panel * 2u * width();
  keep_partials(at, lane, sums);
  keep_partials(at + width(), lane, weights);
}

// What arrives at the potentials joins, and sums become reciprocals: 0 where there is nothing.
fn arrive_row(matrix: u32, i: u32) {
  if (i >= params.n) { return; }
  if (params.arriving_record == 1u) { state[row_at(matrix, ROW_SIDE, i)] += record_gradient[matrix * params.record_stride + 2u + i]; }
  let sum = state[row_at(matrix, ROW_SUM, i)] * (1.0 + params.leak_rows * params.temperature);
  state[row_at(matrix, ROW_INVERSE, i)] = inverse(vec4f(sum)).x;
}
@compute @workgroup_size(256)
fn arrive_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let parts = stacks() + (params.n + 255u) / 256u;
  let matrix = linear_workgroup(group, groups) / parts;
  let part = linear_workgroup(group, groups) % parts;
  if (matrix >= params.count) { return; }
  if (part >= stacks()) {
    arrive_row(matrix, (part - stacks()) * 256u + thread);
    return;
  }
  let first = matrix * params.panels * 2u * width() + stack_quad(part, thread);
  var share = vec4f();
  var weight = vec4f();
  for (var k = thread / 8u; k < params.panels; k += 32u) {
    share += partials[first + k * 2u * width()];
    weight += partials[first + k * 2u * width() + width()];
  }
  let sum = stack_total(share, thread);
  workgroupBarrier();
  var side = stack_total(weight, thread);
  let j = part * 32u + thread;
  if (thread >= 32u || j >= 4u * width()) { return; }
  if (params.arriving_record == 1u && j < params.m) { side += record_gradient[matrix * params.record_stride + 2u + params.n + j]; }
  state[column_at(matrix, SUM, j)] = sum;
  state[column_at(matrix, INVERSE, j)] = inverse(vec4f(sum * (1.0 + params.leak_columns * params.temperature))).x;
  state[column_at(matrix, PRODUCT, j)] = side;
}

struct Advance {
  search: mat4x4f,
  solved: bool,
}
// What step t begins with, out of what step t − 1 left. All panels of a matrix come to the same numbers; the first one keeps them.
fn advance(place: Place, thread: u32) -> Advance {
  let matrix = place.matrix;
  let lane = place.lane;
  let version = params.t % 2u;
  var residual = column_numbers(matrix, RESIDUAL + 1u - version, lane);
  var direction = mat4x4f();
  var beta = mat4x4f();
  var energy = 0.0;
  var stuck = false;
  if (params.t > 1u) {
    direction = column_numbers(matrix, SEARCH + 1u - version, lane);
    energy = state[energy_at(matrix, 1u - version)];
    var part = 0.0;
    if (lane < stacks()) { part = state[curvature_at(matrix, lane)]; }
    let diagonal = column_numbers(matrix, SUM, lane) * (1.0 + params.leak_columns * params.temperature);
    let bend = panel_total(vec4f(part, row_dot(direction, products(direction, diagonal)), 0.0, 0.0), thread);
    let curvature = bend.x;
    stuck = !(curvature > max(LEAST_CURVATURE * bend.y, SMALLEST));
    let length = select(energy / max(curvature, SMALLEST), 0.0, stuck);
    residual -= length * column_numbers(matrix, PRODUCT, lane);
    beta = length * direction;
  }
  let conditioned = products(residual, column_numbers(matrix, INVERSE, lane));
  let next = panel_total(vec4f(row_dot(residual, conditioned)), thread).x;
  var enough = ENOUGH * next;
  if (params.t > 1u) { enough = state[enough_at(matrix)]; }
  let ready = stuck || !(next > max(enough, SMALLEST));
  let search = conditioned + select(0.0, next / max(energy, SMALLEST), params.t > 1u) * direction;
  if (place.panel % params.panels == 0u) {
    if (params.t > 1u) { beta += column_numbers(matrix, BETA, lane); }
    keep_numbers(matrix, BETA, lane, beta);
    keep_numbers(matrix, RESIDUAL + version, lane, residual);
    keep_numbers(matrix, SEARCH + version, lane, search);
    if (lane == 0u) {
      state[energy_at(matrix, version)] = next;
      state[solved_at(matrix, version)] = f32(ready);
      if (params.t == 1u) { state[enough_at(matrix)] = enough; }
    }
  }
  return Advance(search, ready);
}

// Step t: the next search direction, and the panel's share of Pᵀ (P search / r′); in step 0, of Pᵀ (s_r / r′), from which the first residual comes.
@compute @workgroup_size(256)
fn step(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (!is_panel(linear_workgroup(group, groups))) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  if (thread == 0u) {
    solved = u32(params.t > 1u && state[solved_at(matrix, (params.t + 1u) % 2u)] > 0.0);
    if (solved == 1u && place.panel % params.panels == 0u) { state[solved_at(matrix, params.t % 2u)] = 1.0; }
  }
  if (workgroupUniformLoad(&solved) == 1u) { return; }
  var search = mat4x4f();
  if (params.t > 0u) {
    let next = advance(place, thread);
    search = next.search;
    if (thread == 0u) { solved = u32(next.solved); }
    if (workgroupUniformLoad(&solved) == 1u) { return; }
  }
  var sums = mat4x4f();
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    let a = kernel_row(matrix, first, lane, 0.0);
    let b = kernel_row(matrix, first + 1u, lane, 0.0);
    let c = kernel_row(matrix, first + 2u, lane, 0.0);
    let d = kernel_row(matrix, first + 3u, lane, 0.0);
    var product = row_numbers(matrix, ROW_SIDE, first);
    if (params.t > 0u) { product = panel_total(vec4f(row_dot(a, search), row_dot(b, search), row_dot(c, search), row_dot(d, search)), thread); }
    let z = product * row_numbers(matrix, ROW_INVERSE, first);
    sums = plus_row(plus_row(plus_row(plus_row(sums, a, z.x), b, z.y), c, z.z), d, z.w);
  }
  keep_partials(place.panel * width(), lane, sums);
}

// Columns of step t: the product of Schur complement and search direction, and its part of the curvature; of step 0 the first residual.
@compute @workgroup_size(256)
fn step_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let matrix = linear_workgroup(group, groups) / stacks();
  let part = linear_workgroup(group, groups) % stacks();
  if (matrix >= params.count) { return; }
  if (thread == 0u) { solved = u32(params.t > 0u && state[solved_at(matrix, params.t % 2u)] > 0.0); }
  if (workgroupUniformLoad(&solved) == 1u) { return; }
  let back = column_total(matrix, part, thread);
  let j = part * 32u + thread;
  var curvature = 0.0;
  if (thread < 32u && j < 4u * width()) {
    let product = column_at(matrix, PRODUCT, j);
    if (params.t == 0u) {
      state[column_at(matrix, RESIDUAL, j)] = select(0.0, state[product] - back, state[column_at(matrix, INVERSE, j)] > 0.0);
    } else {
      let search = state[column_at(matrix, SEARCH + params.t % 2u, j)];
      let value = state[column_at(matrix, SUM, j)] * (1.0 + params.leak_columns * params.temperature) * search - back;
      state[product] = value;
      curvature = search * value;
    }
  }
  panel_parts[thread] = vec4f(curvature);
  workgroupBarrier();
  if (thread != 0u || params.t == 0u) { return; }
  var sum = 0.0;
  for (var k = 0u; k < 32u; k++) { sum += panel_parts[k].x; }
  state[curvature_at(matrix, part)] = sum;
}

// Whether a matrix is not solved after step t. LANES is 256.
@compute @workgroup_size(256)
fn look(@builtin(local_invocation_index) thread: u32) {
  var going = 0.0;
  for (var matrix = thread; matrix < params.count; matrix += 256u) { going += 1.0 - state[solved_at(matrix, params.t % 2u)]; }
  let some = panel_total(vec4f(going), thread).x > 0.0;
  if (thread >= 3u) { return; }
  launch[LAUNCH_STEP + thread] = select(0u, params.launches[0][thread], some);
  launch[LAUNCH_COLUMNS + thread] = select(0u, params.launches[1][thread], some);
}

// α = (s_r − P β) / r′
@compute @workgroup_size(256)
fn solve(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (!is_panel(linear_workgroup(group, groups))) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  let beta = column_numbers(matrix, BETA, lane);
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    var parts = vec4f();
    for (var r = 0u; r < 4u; r++) { parts[r] = row_dot(kernel_row(matrix, first + r, lane, 0.0), beta); }
    // All threads have read s_r before the sum, so that α may take its place.
    let side = row_numbers(matrix, ROW_SIDE, first);
    let alpha = (side - panel_total(parts, thread)) * row_numbers(matrix, ROW_INVERSE, first);
    if (lane < 4u && first + lane < params.n) { state[row_at(matrix, ROW_SIDE, first + lane)] = alpha[lane]; }
  }
}

// Of all solutions the one with Σ r α = 0, where there are many; the gradients of the masses. LANES is 256.
@compute @workgroup_size(256)
fn settle(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let matrix = linear_workgroup(group, groups);
  if (matrix >= params.count) { return; }
  var moments = vec4f();
  for (var i = thread; i < params.n; i += 256u) {
    let r = state[row_at(matrix, ROW_SUM, i)];
    moments += vec4f(r * state[row_at(matrix, ROW_SIDE, i)], r, 0.0, 0.0);
  }
  let total = panel_total(moments, thread);
  // α + κ and β − κ solve it as well. As in the iterations, scaling all masses of the side met first changes nothing.
  let shift = select(total.x / max(total.y, SMALLEST), 0.0, has_leak());
  let masses = 2u + params.n + params.m;
  let vectors = matrix * (params.n + 2u * params.m);
  for (var i = thread; i < params.n; i += 256u) {
    let alpha = state[row_at(matrix, ROW_SIDE, i)] - shift;
    state[row_at(matrix, ROW_SIDE, i)] = alpha;
    if (params.vectors == 1u) { dvectors[vectors + i] = alpha * state[row_at(matrix, ROW_SUM, i)] * recorded(matrix, masses + i); }
  }
  for (var j = thread; j < params.m; j += 256u) {
    let beta = state[column_at(matrix, BETA, j)] + shift;
    state[column_at(matrix, BETA, j)] = beta;
    if (params.vectors == 1u) {
      dvectors[vectors + params.n + j] = beta * state[column_at(matrix, SUM, j)] * recorded(matrix, masses + params.n + j);
      dvectors[vectors + params.n + params.m + j] = 0.0;
    }
  }
}

fn write_element(at: u32, value: f32) { dx[at] = value; }

// dx = (P ∘ (G − α 1ᵀ − 1 βᵀ) + G of log P) / temperature. One workgroup computes 64 × 64 elements, one thread 4 × 4 neighbours.
@compute @workgroup_size(256)
fn assemble(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tile_of(linear_workgroup(group, groups));
  let first = tile.top + 4u * tile_row(lane);
  let quad = tile.side / 4u + tile_column(lane);
  if (tile.matrix >= params.count || 4u * quad >= params.m) { return; }
  let beta = column_quad(tile.matrix, BETA, quad);
  for (var i = first; i < min(first + 4u, params.n); i++) {
    let share = kernel[kernel_place(tile.matrix, i, quad)];
    let factor = state[row_at(tile.matrix, ROW_SIDE, i)] + beta;
    write_quad(tile.matrix, i, quad, logit_gradient(tile.matrix, i, quad, share, factor, params.temperature));
  }
}
