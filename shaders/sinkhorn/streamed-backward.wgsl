//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/schedule.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/panel-shares.wgsl"

// Backward for large sides. Each iteration reads P once (`step`, then `step_columns` for the column sums); the gradient is assembled
// once at the end from the vectors of all iterations, a product of rank 2·iterations (`assemble`). Annealed iterations follow, each with a
// kernel and an assembly of its own.
//   values, gradient, logits, dx: [count, n · m]      record, record_gradient: [count, record_stride]
//   kernel: [count, n, width] of quads, in the order of the passes, 0 behind the columns      partials: [count, panels, width]
//   left: [count, 2·iterations, n]; right: [count, 2·iterations, m]; iteration t has rows 2(t−1): û_t and y_t, and 2(t−1)+1: z_t and v̂_{t−1}
//   dvectors: [count, n + 2m], sums over iterations until `close`
// RENEW: whether the kernel of an annealed iteration is computed, and kept.
override RENEW: u32;
override BLOCK: u32;

struct Params {
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  panel_rows: u32,
  panels: u32,
  iterations: u32,
  annealed: u32,
  // The iteration; 0 in `assemble` for all those of the last temperature.
  t: u32,
  record_stride: u32,
  history: u32,
  history_stride: u32,
  // See lib/arriving.wgsl.
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
@group(0) @binding(9) var<storage, read_write> left: array<f32>;
@group(0) @binding(10) var<storage, read_write> right: array<f32>;
@group(0) @binding(11) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(12) var<storage, read_write> kernel: array<vec4f>;

fn ran_of(matrix: u32) -> u32 { return min(u32(recorded(matrix, 0u)), params.iterations); }
fn history_at(t: u32) -> u32 { return params.history + (t - 1u) * params.history_stride; }
fn left_at(matrix: u32, index: u32) -> u32 { return (matrix * 2u * params.iterations + index) * params.n; }
fn right_at(matrix: u32, index: u32) -> u32 { return (matrix * 2u * params.iterations + index) * params.m; }
fn dvectors_at(matrix: u32) -> u32 { return matrix * (params.n + 2u * params.m); }

// 1 / mass, 0 without; and the same of what was reached after the half-step of iteration t.
fn inverse_row(matrix: u32, i: u32) -> f32 { return recorded(matrix, 2u + params.n + params.m + i); }
fn inverse_column(matrix: u32, j: u32) -> f32 { return recorded(matrix, 2u + 2u * params.n + params.m + j); }
fn reached_row(matrix: u32, t: u32, i: u32) -> f32 {
  if (params.history_stride == params.n + params.m) { return inverse_row(matrix, i); }
  return recorded(matrix, history_at(t) + params.n + params.m + i);
}
fn reached_column(matrix: u32, t: u32, j: u32) -> f32 {
  if (params.history_stride == params.n + params.m) { return inverse_column(matrix, j); }
  return recorded(matrix, history_at(t) + 2u * params.n + params.m + j);
}
fn damp(leak: f32, temperature: f32) -> f32 { return 1.0 / (1.0 + leak * temperature); }

struct Vector {
  matrix: u32,
  index: u32,
}
fn vector_of(id: u32) -> Vector {
  let longest = max(params.n, params.m);
  return Vector(id / longest, id % longest);
}

fn bounded(x: f32) -> f32 { return clamp(x, 1.0 / EXTREME, EXTREME); }
fn begins(t: u32) -> bool { return t > max(1u, params.annealed) && ends_block(t); }

// What arrives at f stands where z of the last iteration will be; û and v̂: the recorded scalings divided by all that was absorbed after them. One thread walks one row and one column through the iterations.
@compute @workgroup_size(256)
fn anchor(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count) { return; }
  let matrix = own.matrix;
  let ran = ran_of(matrix);
  let i = own.index;
  if (i < params.n) {
    var absorbed = 1.0;
    for (var t = params.iterations; t >= 1u; t--) {
      var value = 0.0;
      if (t <= ran && t > params.annealed) {
        let scaling = recorded(matrix, history_at(t) + i);
        if (t > max(1u, params.annealed) && (t == ran || begins(t))) { absorbed = bounded(absorbed * scaling); }
        value = min(scaling / absorbed, EXTREME);
      } else if (t <= params.annealed) {
        value = 1.0;
      }
      left[left_at(matrix, 2u * (t - 1u)) + i] = value;
      var arriving = 0.0;
      if (params.arriving_record == 1u && t == ran) { arriving = record_gradient[matrix * params.record_stride + 2u + i]; }
      left[left_at(matrix, 2u * (t - 1u) + 1u) + i] = arriving;
    }
    dvectors[dvectors_at(matrix) + i] = 0.0;
  }
  if (i < params.m) {
    let alive = inverse_column(matrix, i) > 0.0;
    var absorbed = 1.0;
    // Row 2(t−1)+1 has v̂ of the iteration before t.
    for (var t = params.iterations; t >= 1u; t--) {
      var value = 0.0;
      if (t <= ran && t > params.annealed) {
        if (t > max(1u, params.annealed) && (t == ran || begins(t))) {
          absorbed = bounded(absorbed * recorded(matrix, history_at(t) + params.n + i));
        }
        let before = t - 1u;
        var scaling = select(0.0, 1.0, alive);
        if (before == 0u) {
          scaling = recorded(matrix, params.history - params.m + i);
        } else if (before > params.annealed) {
          scaling = recorded(matrix, history_at(before) + params.n + i);
        }
        var divisor = absorbed;
        if (before > 0u && begins(before)) { divisor = bounded(absorbed * scaling); }
        value = min(scaling / divisor, EXTREME);
      } else if (t <= params.annealed && alive) {
        value = recorded(matrix, params.history - params.m + i);
        if (t > 1u) {
          let factor = temperature_at(t - 1u) / temperature_at(t);
          value = power(vec4f(factor * recorded(matrix, history_at(t - 1u) + params.n + i) - recorded(matrix, history_at(t) + params.n + i))).x;
        }
      }
      right[right_at(matrix, 2u * (t - 1u)) + i] = 0.0;
      right[right_at(matrix, 2u * (t - 1u) + 1u) + i] = value;
    }
    dvectors[dvectors_at(matrix) + params.n + i] = 0.0;
    dvectors[dvectors_at(matrix) + params.n + params.m + i] = 0.0;
  }
}

// Row sums of what arrives, and the panel's share of the column sums.
@compute @workgroup_size(256)
fn start(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (linear_workgroup(group, groups) >= params.count * params.panels * LANES / 256u) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  let one = vec4f(1.0);
  let ones = mat4x4f(one, one, one, one);
  var sums = mat4x4f();
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    fill_with_shares(matrix, first, lane);
    var parts = vec4f();
    for (var r = 0u; r < 4u; r++) {
      let row = weight_row(matrix, first + r, lane, kernel_row(matrix, first + r, lane, 0.0));
      parts[r] = row_dot(row, ones);
      sums = plus_row(sums, row, 1.0);
    }
    let sum = panel_total(parts, thread);
    if (lane < 4u && first + lane < params.n) { left[left_at(matrix, 2u * ran_of(matrix) - 1u) + first + lane] += sum[lane]; }
  }
  keep_partials(place.panel * width(), lane, sums);
}

// y of iteration t from the cotangent of g_t, which belongs to log b as well.
fn pass_on(matrix: u32, t: u32, j: u32, v: f32, bar_g: f32) {
  let e = bar_g * damp(params.leak_columns, temperature_at(t));
  dvectors[dvectors_at(matrix) + params.n + j] += e;
  right[right_at(matrix, 2u * (t - 1u)) + j] = v * e * reached_column(matrix, t, j);
}

@compute @workgroup_size(256)
fn start_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let parts = stacks();
  let matrix = linear_workgroup(group, groups) / parts;
  let part = linear_workgroup(group, groups) % parts;
  if (matrix >= params.count) { return; }
  var bar_g = column_total(matrix, part, thread);
  let j = part * 32u + thread;
  if (thread >= 32u || j >= params.m) { return; }
  if (params.arriving_record == 1u) { bar_g += record_gradient[matrix * params.record_stride + 2u + params.n + j]; }
  pass_on(matrix, ran_of(matrix), j, 1.0, bar_g);
}

fn right_quad(at: u32, quad: u32) -> vec4f {
  let j = quad_columns(quad);
  let origin = vec4u(at) + min(j, vec4u(params.m - 1u));
  return select(vec4f(), vec4f(right[origin.x], right[origin.y], right[origin.z], right[origin.w]), j < vec4u(params.m));
}
fn right_numbers(at: u32, lane: u32) -> mat4x4f {
  var result = mat4x4f();
  if (owns(lane, 0u)) { result[0] = right_quad(at, lane); }
  if (owns(lane, 1u)) { result[1] = right_quad(at, lane + LANES); }
  if (owns(lane, 2u)) { result[2] = right_quad(at, lane + 2u * LANES); }
  if (owns(lane, 3u)) { result[3] = right_quad(at, lane + 3u * LANES); }
  return result;
}
fn left_rows(at: u32, i: vec4u) -> vec4f { return vec4f(left[at + i.x], left[at + i.y], left[at + i.z], left[at + i.w]); }

// The kernel of an annealed iteration, as fill_with_shares does it. One entry cannot bind all that both read.
fn fill_with_exponentials(matrix: u32, first: u32, lane: u32) {
  let temperature = temperature_at(params.t);
  for (var i = first; i < min(first + 4u, params.n); i++) {
    for (var quad = lane; quad < width(); quad += LANES) {
      kernel[kernel_place(matrix, i, quad)] = exponential_quad(matrix, i, quad, temperature, history_at(params.t));
    }
  }
}

// Rows of iteration t: z = û ∘ (f̄ − û ∘ P y) / mass, and the panel's share of Pᵀ z.
@compute @workgroup_size(256)
fn step(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (linear_workgroup(group, groups) >= params.count * params.panels * LANES / 256u) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  let ran = ran_of(matrix);
  let left_u = left_at(matrix, 2u * (params.t - 1u));
  let left_z = left_at(matrix, 2u * (params.t - 1u) + 1u);
  let damping = damp(params.leak_rows, temperature_at(params.t));
  let y = right_numbers(right_at(matrix, 2u * (params.t - 1u)), lane);
  var sums = mat4x4f();
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    let i = rows_from(first);
    if (RENEW == 1u) { fill_with_exponentials(matrix, first, lane); }
    let a = kernel_row(matrix, first, lane, 0.0);
    let b = kernel_row(matrix, first + 1u, lane, 0.0);
    let c = kernel_row(matrix, first + 2u, lane, 0.0);
    let d = kernel_row(matrix, first + 3u, lane, 0.0);
    let live = has_rows(first) & vec4<bool>(params.t <= ran);
    let u = select(vec4f(), left_rows(left_u, i), live);
    let bar_f = select(vec4f(), left_rows(left_z, i), live & vec4<bool>(params.t == ran));
    let at = min(params.t, ran);
    let reached = vec4f(
      reached_row(matrix, at, i.x), reached_row(matrix, at, i.y), reached_row(matrix, at, i.z), reached_row(matrix, at, i.w));
    let product = panel_total(vec4f(row_dot(a, y), row_dot(b, y), row_dot(c, y), row_dot(d, y)), thread);
    let e = damping * (bar_f - u * product);
    let z = u * e * reached;
    sums = plus_row(plus_row(plus_row(plus_row(sums, a, z.x), b, z.y), c, z.z), d, z.w);
    // All threads have read f̄ before the sum above, so that z may take its place.
    if (lane < 4u && first + lane < params.n && params.t <= ran) {
      left[left_z + first + lane] = z[lane];
      dvectors[dvectors_at(matrix) + first + lane] += e[lane];
    }
  }
  keep_partials(place.panel * width(), lane, sums);
}

// ḡ of the iteration before t, and its y; before the first one it is the gradient of the start.
@compute @workgroup_size(256)
fn step_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let parts = stacks();
  let matrix = linear_workgroup(group, groups) / parts;
  let part = linear_workgroup(group, groups) % parts;
  if (matrix >= params.count) { return; }
  let total = column_total(matrix, part, thread);
  let j = part * 32u + thread;
  if (thread >= 32u || j >= params.m || params.t > ran_of(matrix)) { return; }
  let v = right[right_at(matrix, 2u * params.t - 1u) + j];
  let bar_g = -v * total;
  if (params.t == 1u) {
    dvectors[dvectors_at(matrix) + params.n + params.m + j] = bar_g;
  } else if (params.t - 1u <= params.annealed) {
    pass_on(matrix, params.t - 1u, j, 1.0, bar_g * temperature_at(params.t - 1u) / temperature_at(params.t));
  } else {
    pass_on(matrix, params.t - 1u, j, v, bar_g);
  }
}

var<workgroup> left_tile: array<vec4f, 256>;
var<workgroup> right_tile: array<vec4f, 256>;

fn write_element(at: u32, value: f32) {
  if (params.t == 0u) { dx[at] = value; } else { dx[at] -= value; }
}
fn assembled_row(matrix: u32, i: u32, quad: u32, product: vec4f, temperature: f32) {
  if (i >= params.n || 4u * quad >= params.m) { return; }
  let share = kernel[kernel_place(matrix, i, quad)];
  var value = share * product / temperature;
  if (params.t == 0u) { value = logit_gradient(matrix, i, quad, share, product, temperature); }
  write_quad(matrix, i, quad, value);
}

// dx = (P ∘ (G − leftᵀ right) + G of log P) / temperature; for an annealed iteration, dx −= kernel ∘ leftᵀ right / temperature.
// One workgroup computes 64 × 64 elements, one thread 4 × 4 neighbours.
@compute @workgroup_size(256)
fn assemble(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tile_of(linear_workgroup(group, groups));
  if (tile.matrix >= params.count) { return; }
  let matrix = tile.matrix;
  let top = tile.top;
  let side = tile.side;
  let r = tile_row(lane);
  let c = tile_column(lane);
  let begin = select(2u * (params.t - 1u), 2u * params.annealed, params.t == 0u);
  let end = select(2u * params.t, 2u * params.iterations, params.t == 0u);
  var products = mat4x4f();
  for (var first = begin; first < end; first += 16u) {
    // A thread loads four neighbours of one vector, moved into the arrays where they end.
    let vector = first + lane / 16u;
    let origin = min(vector, end - 1u);
    let i = min(vec4u(top + 4u * (lane % 16u)) + vec4u(0u, 1u, 2u, 3u), vec4u(params.n - 1u)) + left_at(matrix, origin);
    let from_left = vec4f(left[i.x], left[i.y], left[i.z], left[i.w]);
    let from_right = right_quad(right_at(matrix, origin), (side + 4u * (lane % 16u)) / 4u);
    workgroupBarrier();
    left_tile[lane] = select(vec4f(), from_left, vector < end);
    right_tile[lane] = from_right;
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let a = left_tile[k * 16u + r];
      let b = right_tile[k * 16u + c];
      products = mat4x4f(products[0] + a.x * b, products[1] + a.y * b, products[2] + a.z * b, products[3] + a.w * b);
    }
  }
  let temperature = select(temperature_at(max(params.t, 1u)), params.temperature, params.t == 0u);
  assembled_row(matrix, top + 4u * r, side / 4u + c, products[0], temperature);
  assembled_row(matrix, top + 4u * r + 1u, side / 4u + c, products[1], temperature);
  assembled_row(matrix, top + 4u * r + 2u, side / 4u + c, products[2], temperature);
  assembled_row(matrix, top + 4u * r + 3u, side / 4u + c, products[3], temperature);
}

// Sums over iterations become gradients of the masses.
@compute @workgroup_size(256)
fn close(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count) { return; }
  let at = dvectors_at(own.matrix);
  if (own.index < params.n) { dvectors[at + own.index] *= inverse_row(own.matrix, own.index); }
  if (own.index < params.m) { dvectors[at + params.n + own.index] *= inverse_column(own.matrix, own.index); }
}
