//#include "lib/grid.wgsl"

// One product y = a b of matrices that lie in the layouts of a kernel expansion. One workgroup of 64 threads computes 32 × 32 results,
// one thread 4 × 4 neighbours; 16 columns of a and rows of b at a time pass through workgroup memory.
//   w: [Cout·cin, d]    R: [group − identity, d, d]    W: [Cout, group, cin, d], group element 0 a copy of w where identity = 1
//   KIND          rows             columns       depth         a             b     y
//   FORWARD       (o, i)           (g, n)        m             w             R     W
//   TO_WEIGHT     (o, i)           m             (g, n)        dL/dW         R     dL/dw
//   TO_MATRICES   (g, n)           m             (o, i)        dL/dW         w     dL/dR, without the identity
override KIND: u32;

const FORWARD: u32 = 0u;
const TO_WEIGHT: u32 = 1u;
const TO_MATRICES: u32 = 2u;

struct Params {
  rows: u32,
  columns: u32,
  depth: u32,
  d: u32,
  cin: u32,
  // Elements of the group, and 1 where the first is the identity, which R leaves out.
  group: u32,
  identity: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> a_tile: array<array<vec4f, 8>, 16>;
var<workgroup> b_tile: array<array<vec4f, 8>, 16>;

// Where kernel (o, i) of element g begins in W; `kernel` = o·cin + i.
fn expanded(kernel: u32, g: u32) -> u32 {
  return ((kernel / params.cin * params.group + g) * params.cin + kernel % params.cin) * params.d;
}

fn a_value(row: u32, k: u32) -> f32 {
  switch KIND {
    case FORWARD: { return a[row * params.d + k]; }
    case TO_WEIGHT: { return a[expanded(row, k / params.d) + k % params.d]; }
    default: { return a[expanded(k, row / params.d + params.identity) + row % params.d]; }
  }
}

fn b_value(k: u32, column: u32) -> f32 {
  let skipped = params.identity * params.d;
  switch KIND {
    // The identity's columns are copied when the result is written.
    case FORWARD: {
      if (column < skipped) { return 0.0; }
      return b[(column - skipped) * params.d + k];
    }
    case TO_WEIGHT: {
      if (k < skipped) { return select(0.0, 1.0, k == column); }
      return b[(k - skipped) * params.d + column];
    }
    default: { return b[k * params.d + column]; }
  }
}

fn put(row: u32, column: u32, value: f32) {
  if (KIND != FORWARD) {
    y[row * params.d + column] = value;
  } else if (column < params.identity * params.d) {
    y[expanded(row, 0u) + column] = a[row * params.d + column];
  } else {
    y[expanded(row, column / params.d) + column % params.d] = value;
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  let across = (params.columns + 31u) / 32u;
  if (index >= across * ((params.rows + 31u) / 32u)) { return; }
  let top = index / across * 32u;
  let side = index % across * 32u;
  let r = lane / 8u;
  let c = lane % 8u;
  // Nothing to multiply where all columns are copies; in the gradient of w the identity's terms with k outside of the tile's columns are 0.
  let copies = KIND == FORWARD && side + 32u <= params.identity * params.d;
  let depth = select(params.depth, 0u, copies);
  var results = array<vec4f, 4>();
  for (var first = 0u; first < depth; first += 16u) {
    // Each thread loads two quads of either tile; neighbours in memory go to neighbouring threads.
    for (var half = 0u; half < 2u; half++) {
      let part = lane + 64u * half;
      var from_a = vec4f();
      var from_b = vec4f();
      let a_k = first + select(part % 16u, part / 8u, KIND == TO_MATRICES);
      let a_quad = select(part / 16u, part % 8u, KIND == TO_MATRICES);
      let b_k = first + select(part / 8u, part % 16u, KIND == FORWARD);
      let b_quad = select(part % 8u, part / 16u, KIND == FORWARD);
      for (var q = 0u; q < 4u; q++) {
        let row = top + 4u * a_quad + q;
        let column = side + 4u * b_quad + q;
        if (a_k < params.depth && row < params.rows) { from_a[q] = a_value(row, a_k); }
        if (b_k < params.depth && column < params.columns) { from_b[q] = b_value(b_k, column); }
      }
      a_tile[a_k - first][a_quad] = from_a;
      b_tile[b_k - first][b_quad] = from_b;
    }
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let left = a_tile[k][r];
      let right = b_tile[k][c];
      results[0] += left.x * right;
      results[1] += left.y * right;
      results[2] += left.z * right;
      results[3] += left.w * right;
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) {
      let row = top + 4u * r + i;
      let column = side + 4u * c + j;
      if (row < params.rows && column < params.columns) { put(row, column, results[i][j]); }
    }
  }
}
