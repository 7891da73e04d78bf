//#include "lib/grid.wgsl"

// One product y = a b for each of a batch of matrices that lie in the layouts of a kernel expansion. One workgroup of 64 threads computes 32 × 32 results,
// one thread 4 × 4 of them; 16 steps of the depth at a time pass through workgroup memory, in quads that lie there as they lie in memory.
//   w: [Cout·cin, d]    r: [matrices, d, d]    W and its cotangent t: [Cout, group, cin, d], group element 0 a copy of w where identity = 1
//   KIND          rows             columns       depth         a     b     y
//   FORWARD       (o, i)           (g, n)        m             w     r     W
//   TO_WEIGHT     (o, i)           m             (g, n)        t     r     [batch, Cout·cin, d]
//   TO_MATRICES   (g, n)           m             (o, i)        t     w     [matrices, d, d]
// With dense matrices the batch is 1 and g goes along an axis of the product. With `mixed` = p > 0 the matrices are factors ⊗ r, cin counts (i, a) with p values
// of a, and row a of p neighbours is replaced by the sum over b of factors[g, a, b] · row b: of w, while it is read, where the batch is g; of the results of
// FORWARD where `tall` < 33 rows hold all of their neighbours.
override KIND: u32;

const FORWARD: u32 = 0u;
const TO_WEIGHT: u32 = 1u;
const TO_MATRICES: u32 = 2u;

struct Params {
  rows: u32,
  columns: u32,
  depth: u32,
  batches: u32,
  d: u32,
  cin: u32,
  // Elements of the group, and 1 where the first is the identity.
  group: u32,
  identity: u32,
  mixed: u32,
  // Rows of the result in a tile.
  tall: u32,
  // All or none of the following. Rows of w that are mixed as they are read, rows of the result that are mixed.
  mixed_operands: u32,
  mixed_results: u32,
  // Where w, r and t may be read in quads, as rows of d numbers begin at multiples of four.
  quads: u32,
  // Numbers of w that are copied to the identity's place.
  copied: u32,
  // Rows of the gradient of w to which what arrives at the identity is added.
  added: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> w_quads: array<vec4f>;
@group(0) @binding(3) var<storage, read> r: array<f32>;
@group(0) @binding(4) var<storage, read> r_quads: array<vec4f>;
@group(0) @binding(5) var<storage, read> t: array<f32>;
@group(0) @binding(6) var<storage, read> t_quads: array<vec4f>;
@group(0) @binding(7) var<storage, read> factors: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

// Along the depth: [32 rows][4 quads], a fifth keeps neighbours on different banks. Across it: [16 steps][8 quads].
var<workgroup> a_tile: array<vec4f, 160>;
var<workgroup> b_tile: array<vec4f, 160>;
var<workgroup> unmixed: array<f32, 1024>;

// Where kernel (o, i) of element g begins in W; `kernel` = o·cin + i.
fn expanded(kernel: u32, g: u32) -> u32 {
  return ((kernel / params.cin * params.group + g) * params.cin + kernel % params.cin) * params.d;
}

// Four numbers from `at` on; past the end of what the kind of product reads, they are whatever lies there.
fn w_at(at: u32) -> vec4f {
  if (at < params.quads) { return w_quads[at / 4u]; }
  return vec4f(w[at], w[at + 1u], w[at + 2u], w[at + 3u]);
}

fn w_four(batch: u32, kernel: u32, m: u32) -> vec4f {
  if (kernel >= params.mixed_operands) { return w_at(kernel * params.d + m); }
  let first = kernel / params.mixed * params.mixed;
  let from_factors = (batch * params.mixed + kernel - first) * params.mixed;
  var total = vec4f();
  for (var b = first; b < first + params.mixed; b++) { total += factors[from_factors + b - first] * w_at(b * params.d + m); }
  return total;
}

fn r_four(at: u32) -> vec4f {
  if (at < params.quads) { return r_quads[at / 4u]; }
  return vec4f(r[at], r[at + 1u], r[at + 2u], r[at + 3u]);
}

// Along n, and on to the next matrix where `n` runs past d.
fn t_at(batch: u32, kernel: u32, n: u32) -> u32 {
  return expanded(kernel, params.identity + batch + n / params.d) + n % params.d;
}

fn t_four(batch: u32, kernel: u32, n: u32) -> vec4f {
  let at = t_at(batch, kernel, n);
  if (at < params.quads) { return t_quads[at / 4u]; }
  return vec4f(t[at], t[t_at(batch, kernel, n + 1u)], t[t_at(batch, kernel, n + 2u)], t[t_at(batch, kernel, n + 3u)]);
}

// What is past the end of the depth counts as 0, whatever lies there.
fn kept(values: vec4f, left: u32) -> vec4f {
  return select(vec4f(), values, vec4u(0u, 1u, 2u, 3u) < vec4u(left));
}

// Quads of a and of b: four steps of the depth from `k` on where they lie along it, else four neighbours at step `k`.
fn a_four(batch: u32, row: u32, k: u32) -> vec4f {
  if (row >= params.rows || k >= params.depth) { return vec4f(); }
  switch KIND {
    case FORWARD: { return kept(w_four(batch, row, k), params.depth - k); }
    case TO_WEIGHT: { return kept(t_four(batch, row, k), params.depth - k); }
    default: { return t_four(batch, k, row); }
  }
}

fn b_four(batch: u32, column: u32, k: u32) -> vec4f {
  if (column >= params.columns || k >= params.depth) { return vec4f(); }
  switch KIND {
    case FORWARD: { return kept(r_four((batch * params.d + column) * params.d + k), params.depth - k); }
    case TO_WEIGHT: { return r_four((batch * params.d + k) * params.d + column); }
    default: { return w_four(batch, k, column); }
  }
}

fn put(batch: u32, row: u32, column: u32, value: f32) {
  if (row >= params.rows || column >= params.columns) { return; }
  if (KIND == FORWARD) {
    y[t_at(batch, row, column)] = value;
    return;
  }
  var total = value;
  if (row < params.added) { total += t[expanded(row, 0u) + column]; }
  y[(batch * params.rows + row) * params.columns + column] = total;
}

// What is left of the workgroups copies 1024 numbers each of w to the identity's place.
fn copy(first: u32, lane: u32) {
  for (var part = 0u; part < 16u; part++) {
    let at = first + lane + 64u * part;
    if (at < params.copied) { y[expanded(at / params.d, 0u) + at % params.d] = w[at]; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  let across = (params.columns + 31u) / 32u;
  let tiles = across * ((params.rows + params.tall - 1u) / params.tall);
  // What is left of the workgroups only copies.
  let copies = index >= tiles * params.batches;
  let depth = select(params.depth, 0u, copies);
  let batch = index / tiles;
  let top = index % tiles / across * params.tall;
  let side = index % across * 32u;
  let down = lane / 8u;
  let along = lane % 8u;
  var results = array<vec4f, 4>();
  for (var first = 0u; first < depth; first += 16u) {
    for (var half = 0u; half < 2u; half++) {
      let part = lane + 64u * half;
      if (KIND == TO_MATRICES) {
        a_tile[part] = a_four(batch, top + part % 8u * 4u, first + part / 8u);
      } else {
        a_tile[part / 4u * 5u + part % 4u] = a_four(batch, top + part / 4u, first + part % 4u * 4u);
      }
      if (KIND == FORWARD) {
        b_tile[part / 4u * 5u + part % 4u] = b_four(batch, side + part / 4u, first + part % 4u * 4u);
      } else {
        b_tile[part] = b_four(batch, side + part % 8u * 4u, first + part / 8u);
      }
    }
    workgroupBarrier();
    for (var quad = 0u; quad < 4u; quad++) {
      if (KIND == FORWARD) {
        // Both along the depth: rows and columns eight apart, so that lanes read from different banks.
        let columns = mat4x4f(b_tile[along * 5u + quad], b_tile[(along + 8u) * 5u + quad], b_tile[(along + 16u) * 5u + quad], b_tile[(along + 24u) * 5u + quad]);
        results[0] += a_tile[down * 5u + quad] * columns;
        results[1] += a_tile[(down + 8u) * 5u + quad] * columns;
        results[2] += a_tile[(down + 16u) * 5u + quad] * columns;
        results[3] += a_tile[(down + 24u) * 5u + quad] * columns;
      } else {
        let steps = mat4x4f(b_tile[quad * 32u + along], b_tile[quad * 32u + along + 8u], b_tile[quad * 32u + along + 16u], b_tile[quad * 32u + along + 24u]);
        if (KIND == TO_WEIGHT) {
          results[0] += steps * a_tile[down * 5u + quad];
          results[1] += steps * a_tile[(down + 8u) * 5u + quad];
          results[2] += steps * a_tile[(down + 16u) * 5u + quad];
          results[3] += steps * a_tile[(down + 24u) * 5u + quad];
        } else {
          for (var k = 0u; k < 4u; k++) {
            let rows = a_tile[quad * 32u + 8u * k + down];
            let columns = b_tile[quad * 32u + 8u * k + along];
            results[0] += rows.x * columns;
            results[1] += rows.y * columns;
            results[2] += rows.z * columns;
            results[3] += rows.w * columns;
          }
        }
      }
    }
    workgroupBarrier();
  }
  if (copies) {
    if (KIND == FORWARD) { copy((index - tiles * params.batches) * 1024u, lane); }
    return;
  }
  if (KIND == FORWARD && top < params.mixed_results) {
    mix_results(top, side, down, along, results);
    return;
  }
  // Where a thread's results lie: eight apart where its operand lies along the depth, else next to each other.
  let row_step = select(8u, 1u, KIND == TO_MATRICES);
  let column_step = select(1u, 8u, KIND == FORWARD);
  for (var i = 0u; i < 4u; i++) {
    let row = top + select(down, 4u * down, KIND == TO_MATRICES) + row_step * i;
    let column = side + select(4u * along, along, KIND == FORWARD);
    put(batch, row, column, results[i].x);
    put(batch, row, column + column_step, results[i].y);
    put(batch, row, column + 2u * column_step, results[i].z);
    put(batch, row, column + 3u * column_step, results[i].w);
  }
}

fn mix_results(top: u32, side: u32, down: u32, along: u32, results: array<vec4f, 4>) {
  var rows = results;
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) { unmixed[(down + 8u * i) * 32u + along + 8u * j] = rows[i][j]; }
  }
  workgroupBarrier();
  let p = params.mixed;
  for (var i = 0u; i < 4u; i++) {
    let row = down + 8u * i;
    if (row >= params.tall) { continue; }
    let first = row / p * p;
    for (var j = 0u; j < 4u; j++) {
      let column = along + 8u * j;
      let from_factors = ((side + column) / params.d * p + row - first) * p;
      var total = 0.0;
      for (var b = first; b < first + p; b++) { total += factors[from_factors + b - first] * unmixed[b * 32u + column]; }
      put(0u, top + row, side + column, total);
    }
  }
}
