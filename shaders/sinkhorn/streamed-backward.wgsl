//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"

// Backward for large n. Each iteration reads P once (`step`, then `step_columns` for the column sums); the gradient is assembled
// once at the end from the vectors of all iterations, a product of rank 2·iterations (`assemble`).
//   p, g, dx: [count, n, n]      history: [count, 2·iterations − 1, n]      partials: [count, panels, n]
//   left, right: [count, 2·iterations, n]; iteration t has rows 2(t−1): û_t and y_t, and 2(t−1)+1: z_t and v̂_{t−1}
// COLUMNS = ceil(n / 256), at most 16.
override COLUMNS: u32;
override BLOCK: u32;

struct Params {
  count: u32,
  n: u32,
  rows: u32,
  panels: u32,
  iterations: u32,
  t: u32,
  temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> history: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<storage, read_write> left: array<f32>;
@group(0) @binding(6) var<storage, read_write> right: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;

// Keeps products and ratios of scalings finite whatever the data; README.md says how far they really go.
const EXTREME: f32 = 1.0e30;

fn vector_at(matrix: u32, index: u32) -> u32 { return (matrix * 2u * params.iterations + index) * params.n; }

// û and v̂: the recorded scalings divided by all that was absorbed after them. One thread walks one index through the iterations.
@compute @workgroup_size(256)
fn anchor(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id >= params.count * params.n) { return; }
  let matrix = id / params.n;
  let at = id % params.n;
  let recorded = matrix * (2u * params.iterations - 1u) * params.n + at;
  var absorbed = vec2f(1.0);
  for (var t = params.iterations; t >= 1u; t--) {
    var scaling = vec2f(1.0);
    if (t > 1u) {
      scaling = vec2f(history[recorded + (2u * t - 3u) * params.n], history[recorded + (2u * t - 2u) * params.n]);
      if (t == params.iterations || (t - 1u) % BLOCK == 0u) { absorbed = clamp(absorbed * scaling, vec2f(1.0 / EXTREME), vec2f(EXTREME)); }
    }
    let ratio = min(scaling / absorbed, vec2f(EXTREME));
    left[vector_at(matrix, 2u * (t - 1u)) + at] = ratio.x;
    if (t < params.iterations) { right[vector_at(matrix, 2u * t + 1u) + at] = ratio.y; }
  }
  right[vector_at(matrix, 1u) + at] = min(history[recorded] / absorbed.y, EXTREME);
}

var<private> quads: array<vec4f, 16>;

fn load_p(matrix: u32, first: u32, end: u32, lane: u32) {
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    var quad = vec4f();
    for (var k = 0u; k < 4u; k++) { if (first + k < end && column < params.n) { quad[k] = p[(matrix * params.n + first + k) * params.n + column]; } }
    quads[j] = quad;
  }
}

// Row sums of P ∘ G, left where z of the last iteration will be, and the panel's share of the column sums.
@compute @workgroup_size(256)
fn start(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.rows;
  let end = min(begin + params.rows, params.n);
  var sums: array<f32, 16>;
  for (var first = begin; first < end; first += 4u) {
    load_p(matrix, first, end, lane);
    var sum = vec4f();
    for (var j = 0u; j < COLUMNS; j++) {
      let column = lane + 256u * j;
      var product = vec4f();
      for (var k = 0u; k < 4u; k++) {
        if (first + k < end && column < params.n) { product[k] = quads[j][k] * g[(matrix * params.n + first + k) * params.n + column]; }
      }
      sum += product;
      sums[j] += dot(product, vec4f(1.0));
    }
    sum = panel_total(sum, lane);
    if (lane < 4u && first + lane < end) { left[vector_at(matrix, 2u * params.iterations - 1u) + first + lane] = sum[lane]; }
  }
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    if (column < params.n) { partials[index * params.n + column] = sums[j]; }
  }
}

// Rows of iteration t: z = û ∘ (f̄ − û ∘ P y), and the panel's share of Pᵀ z.
@compute @workgroup_size(256)
fn step(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.rows;
  let end = min(begin + params.rows, params.n);
  let left_u = vector_at(matrix, 2u * (params.t - 1u));
  let left_z = vector_at(matrix, 2u * (params.t - 1u) + 1u);
  var y: array<f32, 16>;
  var sums: array<f32, 16>;
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    if (column < params.n) { y[j] = right[left_u + column]; }
  }
  for (var first = begin; first < end; first += 4u) {
    load_p(matrix, first, end, lane);
    var bar_f = vec4f();
    var u = vec4f();
    for (var k = 0u; k < 4u; k++) {
      if (first + k < end) {
        u[k] = left[left_u + first + k];
        if (params.t == params.iterations) { bar_f[k] = left[left_z + first + k]; }
      }
    }
    var product = vec4f();
    for (var j = 0u; j < COLUMNS; j++) { product += quads[j] * y[j]; }
    let z = u * (bar_f - u * panel_total(product, lane));
    for (var j = 0u; j < COLUMNS; j++) { sums[j] += dot(quads[j], z); }
    // All threads have read f̄ before the sum above, so that z may take its place.
    if (lane < 4u && first + lane < end) { left[left_z + first + lane] = z[lane]; }
  }
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    if (column < params.n) { partials[index * params.n + column] = sums[j]; }
  }
}

// After `start` (t = iterations + 1): y of the last iteration. After `step` t: ḡ = −v̂_{t−1} ∘ Pᵀ z, and y of iteration t − 1.
@compute @workgroup_size(256)
fn step_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id >= params.count * params.n) { return; }
  let matrix = id / params.n;
  let column = id % params.n;
  var sum = 0.0;
  for (var k = 0u; k < params.panels; k++) { sum += partials[(matrix * params.panels + k) * params.n + column]; }
  var y = sum;
  if (params.t <= params.iterations) {
    let v = right[vector_at(matrix, 2u * params.t - 1u) + column];
    y = -v * (v * sum);
  }
  right[vector_at(matrix, 2u * (params.t - 2u)) + column] = y;
}

var<workgroup> left_tile: array<vec4f, 256>;
var<workgroup> right_tile: array<vec4f, 256>;

// dx = P ∘ (G − leftᵀ right) / temperature. One workgroup computes 64 × 64 elements, one thread 4 × 4 neighbours.
@compute @workgroup_size(256)
fn assemble(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  let tiles = (params.n + 63u) / 64u;
  if (index >= params.count * tiles * tiles) { return; }
  let matrix = index / (tiles * tiles);
  let top = (index / tiles % tiles) * 64u;
  let side = (index % tiles) * 64u;
  let r = lane / 16u;
  let c = lane % 16u;
  var products = array<vec4f, 4>();
  for (var first = 0u; first < 2u * params.iterations; first += 16u) {
    // Thread (r, c) loads four neighbours of vector first + r.
    var from_left = vec4f();
    var from_right = vec4f();
    let vector = first + r;
    for (var k = 0u; k < 4u; k++) {
      let i = top + 4u * c + k;
      let j = side + 4u * c + k;
      if (vector < 2u * params.iterations && i < params.n) { from_left[k] = left[vector_at(matrix, vector) + i]; }
      if (vector < 2u * params.iterations && j < params.n) { from_right[k] = right[vector_at(matrix, vector) + j]; }
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
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) {
      let row = top + 4u * r + i;
      let column = side + 4u * c + j;
      if (row < params.n && column < params.n) {
        let at = (matrix * params.n + row) * params.n + column;
        dx[at] = p[at] * (g[at] - products[i][j]) / params.temperature;
      }
    }
  }
}
