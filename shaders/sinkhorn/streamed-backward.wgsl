//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/schedule.wgsl"
//#include "lib/sinkhorn.wgsl"

// Backward for large sides. Each iteration reads P once (`step`, then `step_columns` for the column sums); the gradient is assembled
// once at the end from the vectors of all iterations, a product of rank 2·iterations (`assemble`). Annealed iterations follow, each with a
// kernel and an assembly of its own.
//   values, gradient, logits, dx: [count, n · m]      record, record_gradient: [count, record_stride]      partials: [count, panels, m]
//   left: [count, 2·iterations, n]; right: [count, 2·iterations, m]; iteration t has rows 2(t−1): û_t and y_t, and 2(t−1)+1: z_t and v̂_{t−1}
//   dvectors: [count, n + 2m], sums over iterations until `close`
// COLUMNS = ceil(m / 256), at most 16.
override COLUMNS: u32;
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
@group(0) @binding(11) var<storage, read_write> partials: array<f32>;

fn recorded(matrix: u32, at: u32) -> f32 { return record[matrix * params.record_stride + at]; }
fn ran_of(matrix: u32) -> u32 { return u32(recorded(matrix, 0u)); }
fn history_at(t: u32) -> u32 { return params.history + (t - 1u) * params.history_stride; }
fn left_at(matrix: u32, index: u32) -> u32 { return (matrix * 2u * params.iterations + index) * params.n; }
fn right_at(matrix: u32, index: u32) -> u32 { return (matrix * 2u * params.iterations + index) * params.m; }
fn dvectors_at(matrix: u32) -> u32 { return matrix * (params.n + 2u * params.m); }
fn element(matrix: u32, i: u32, j: u32) -> u32 { return matrix * params.n * params.m + i * params.row_step + j * params.column_step; }

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

// exp(logits / temperature + f + g) with potentials at offset `at` of the record.
fn kernel_at(matrix: u32, i: u32, j: u32, temperature: f32, at: u32) -> f32 {
  let f = recorded(matrix, at + i);
  let g = recorded(matrix, at + params.n + j);
  if (f <= EXCLUDED || g <= EXCLUDED) { return 0.0; }
  if (params.masked == 1u && mask[matrix * params.mask_step + i * params.row_step + j * params.column_step] == 0u) { return 0.0; }
  return power(vec4f(scaled_logit(logits[element(matrix, i, j)], temperature) + f + g)).x;
}

// The matrix of iteration t: P for those of the last temperature (t = 0 too), else a kernel of its own.
fn share_at(matrix: u32, i: u32, j: u32, t: u32) -> f32 {
  if (t > 0u && t <= params.annealed) { return kernel_at(matrix, i, j, temperature_at(t), history_at(t)); }
  if (params.matrix == 2u) { return kernel_at(matrix, i, j, params.temperature, 2u); }
  let value = values[element(matrix, i, j)];
  return select(value, power(vec4f(value)).x, params.matrix == 1u);
}

// Whether a cotangent of the values counts: where there is something to change. P may be too small for a float where its logarithm is none.
fn counts(matrix: u32, i: u32, j: u32, share: f32) -> bool {
  if (params.arriving == 0u || params.matrix == 2u) { return false; }
  if (params.matrix == 1u) { return values[element(matrix, i, j)] > EXCLUDED; }
  return share > 0.0;
}

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

// û and v̂: the recorded scalings divided by all that was absorbed after them. One thread walks one row and one column through the iterations.
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
      left[left_at(matrix, 2u * (t - 1u) + 1u) + i] = 0.0;
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

var<private> quads: array<vec4f, 16>;

fn load_matrix(matrix: u32, first: u32, end: u32, lane: u32) {
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    var quad = vec4f();
    for (var r = 0u; r < 4u; r++) { if (first + r < end && j < params.m) { quad[r] = share_at(matrix, first + r, j, params.t); } }
    quads[k] = quad;
  }
}

fn write_partials(index: u32, lane: u32, sums: array<f32, 16>) {
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    if (j < params.m) { partials[index * params.m + j] = sums[k]; }
  }
}

// Row sums of what arrives, left where z of the last iteration will be, and the panel's share of the column sums.
@compute @workgroup_size(256)
fn start(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.panel_rows;
  let end = min(begin + params.panel_rows, params.n);
  var sums: array<f32, 16>;
  for (var first = begin; first < end; first += 4u) {
    load_matrix(matrix, first, end, lane);
    var sum = vec4f();
    for (var k = 0u; k < COLUMNS; k++) {
      let j = lane + 256u * k;
      var weight = vec4f();
      for (var r = 0u; r < 4u; r++) {
        if (first + r < end && j < params.m && counts(matrix, first + r, j, quads[k][r])) {
          weight[r] = gradient[element(matrix, first + r, j)] * select(1.0, quads[k][r], params.matrix == 0u);
        }
      }
      sum += weight;
      sums[k] += dot(weight, vec4f(1.0));
    }
    sum = panel_total(sum, lane);
    if (lane < 4u && first + lane < end) {
      let i = first + lane;
      var of_f = 0.0;
      if (params.arriving_record == 1u) { of_f = record_gradient[matrix * params.record_stride + 2u + i]; }
      left[left_at(matrix, 2u * ran_of(matrix) - 1u) + i] = sum[lane] + of_f;
    }
  }
  write_partials(index, lane, sums);
}

fn column_sum(matrix: u32, j: u32) -> f32 {
  var sum = 0.0;
  for (var k = 0u; k < params.panels; k++) { sum += partials[(matrix * params.panels + k) * params.m + j]; }
  return sum;
}

// y of iteration t from the cotangent of g_t, which belongs to log b as well.
fn pass_on(matrix: u32, t: u32, j: u32, v: f32, bar_g: f32) {
  let e = bar_g * damp(params.leak_columns, temperature_at(t));
  dvectors[dvectors_at(matrix) + params.n + j] += e;
  right[right_at(matrix, 2u * (t - 1u)) + j] = v * e * reached_column(matrix, t, j);
}

@compute @workgroup_size(256)
fn start_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count || own.index >= params.m) { return; }
  var bar_g = column_sum(own.matrix, own.index);
  if (params.arriving_record == 1u) { bar_g += record_gradient[own.matrix * params.record_stride + 2u + params.n + own.index]; }
  pass_on(own.matrix, ran_of(own.matrix), own.index, 1.0, bar_g);
}

// Rows of iteration t: z = û ∘ (f̄ − û ∘ P y) / mass, and the panel's share of Pᵀ z.
@compute @workgroup_size(256)
fn step(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.panel_rows;
  let end = min(begin + params.panel_rows, params.n);
  let ran = ran_of(matrix);
  let left_u = left_at(matrix, 2u * (params.t - 1u));
  let left_z = left_at(matrix, 2u * (params.t - 1u) + 1u);
  let right_y = right_at(matrix, 2u * (params.t - 1u));
  let damping = damp(params.leak_rows, temperature_at(params.t));
  var y: array<f32, 16>;
  var sums: array<f32, 16>;
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    if (j < params.m) { y[k] = right[right_y + j]; }
  }
  for (var first = begin; first < end; first += 4u) {
    load_matrix(matrix, first, end, lane);
    var bar_f = vec4f();
    var u = vec4f();
    var reached = vec4f();
    for (var r = 0u; r < 4u; r++) {
      if (first + r < end && params.t <= ran) {
        u[r] = left[left_u + first + r];
        reached[r] = reached_row(matrix, params.t, first + r);
        if (params.t == ran) { bar_f[r] = left[left_z + first + r]; }
      }
    }
    var product = vec4f();
    for (var k = 0u; k < COLUMNS; k++) { product += quads[k] * y[k]; }
    let e = damping * (bar_f - u * panel_total(product, lane));
    let z = u * e * reached;
    for (var k = 0u; k < COLUMNS; k++) { sums[k] += dot(quads[k], z); }
    // All threads have read f̄ before the sum above, so that z may take its place.
    if (lane < 4u && first + lane < end && params.t <= ran) {
      left[left_z + first + lane] = z[lane];
      dvectors[dvectors_at(matrix) + first + lane] += e[lane];
    }
  }
  write_partials(index, lane, sums);
}

// ḡ of the iteration before t, and its y; before the first one it is the gradient of the start.
@compute @workgroup_size(256)
fn step_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count || own.index >= params.m || params.t > ran_of(own.matrix)) { return; }
  let v = right[right_at(own.matrix, 2u * params.t - 1u) + own.index];
  let bar_g = -v * column_sum(own.matrix, own.index);
  if (params.t == 1u) {
    dvectors[dvectors_at(own.matrix) + params.n + params.m + own.index] = bar_g;
  } else if (params.t - 1u <= params.annealed) {
    pass_on(own.matrix, params.t - 1u, own.index, 1.0, bar_g * temperature_at(params.t - 1u) / temperature_at(params.t));
  } else {
    pass_on(own.matrix, params.t - 1u, own.index, v, bar_g);
  }
}

var<workgroup> left_tile: array<vec4f, 256>;
var<workgroup> right_tile: array<vec4f, 256>;

// dx = (P ∘ (G − leftᵀ right) + G of log P) / temperature; for an annealed iteration, dx −= kernel ∘ leftᵀ right / temperature.
// One workgroup computes 64 × 64 elements, one thread 4 × 4 neighbours.
@compute @workgroup_size(256)
fn assemble(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  let across = (params.m + 63u) / 64u;
  let tiles = (params.n + 63u) / 64u * across;
  if (index >= params.count * tiles) { return; }
  let matrix = index / tiles;
  let top = (index % tiles / across) * 64u;
  let side = (index % tiles % across) * 64u;
  let r = lane / 16u;
  let c = lane % 16u;
  let begin = select(2u * (params.t - 1u), 2u * params.annealed, params.t == 0u);
  let end = select(2u * params.t, 2u * params.iterations, params.t == 0u);
  var products = array<vec4f, 4>();
  for (var first = begin; first < end; first += 16u) {
    // Thread (r, c) loads four neighbours of vector first + r.
    var from_left = vec4f();
    var from_right = vec4f();
    let vector = first + r;
    for (var k = 0u; k < 4u; k++) {
      let i = top + 4u * c + k;
      let j = side + 4u * c + k;
      if (vector < end && i < params.n) { from_left[k] = left[left_at(matrix, vector) + i]; }
      if (vector < end && j < params.m) { from_right[k] = right[right_at(matrix, vector) + j]; }
    }
    workgroupBarrier();
    left_tile[lane] = from_left;
    right_tile[lane] = from_right;
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let a = left_tile[k * 16u + r];
      let b = right_tile[k * 16u + c];
      products[0] += a.x * b;
      products[1] += a.y * b;
      products[2] += a.z * b;
      products[3] += a.w * b;
    }
  }
  let temperature = select(temperature_at(max(params.t, 1u)), params.temperature, params.t == 0u);
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) {
      let row = top + 4u * r + i;
      let column = side + 4u * c + j;
      if (row < params.n && column < params.m) {
        let at = element(matrix, row, column);
        let share = share_at(matrix, row, column, params.t);
        if (params.t > 0u) {
          dx[at] -= share * products[i][j] / temperature;
        } else {
          var arrived = 0.0;
          if (counts(matrix, row, column, share)) { arrived = gradient[at]; }
          let inner = select(arrived, 0.0, params.matrix == 1u) - products[i][j];
          dx[at] = (share * inner + select(0.0, arrived, params.matrix == 1u)) / temperature;
        }
      }
    }
  }
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
