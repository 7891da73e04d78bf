//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// W = L⁻¹ of a = L Lᵀ, [n, n] each; the lower triangle of `a` is read, and of `l` written.
//   factorise   one workgroup; 16 columns at a time, a thread has rows
//   invert      one workgroup has 16 columns of w, 16 threads share a sum
struct Params {
  n: u32,
  least: f32, // of a pivot, times the diagonal entry
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> l: array<f32>;
@group(0) @binding(3) var<storage, read_write> w: array<f32>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>, 2>;

// Rows of the panel's own block: 16 of what was factorised before, by turns; then the block itself, [row][column].
var<workgroup> before: array<f32, 256>;
var<workgroup> square: array<f32, 256>;

fn root(pivot: f32, entry: f32) -> f32 {
  if (pivot > params.least * entry && (bitcast<u32>(pivot) & 0x7f800000u) != 0x7f800000u) { return sqrt(pivot); }
  report_fault_f32(params.fault, pivot);
  return 1.0;
}

@compute @workgroup_size(256)
fn factorise(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  for (var first = 0u; first < n; first += 16u) {
    let width = min(16u, n - first);
    // What columns before bring is taken off, 256 rows at a time.
    for (var start = first; start < n; start += 256u) {
      let row = start + lane;
      var sums = array<f32, 16>();
      for (var k = 0u; k < first; k += 16u) {
        workgroupBarrier();
        let from_row = first + lane / 16u;
        before[lane] = 0.0;
        if (from_row < n) { before[lane] = l[from_row * n + k + lane % 16u]; }
        workgroupBarrier();
        if (row < n) {
          for (var i = 0u; i < 16u; i++) {
            let own = l[row * n + k + i];
            for (var c = 0u; c < 16u; c++) { sums[c] += own * before[c * 16u + i]; }
          }
        }
      }
      if (row < n) {
        for (var c = 0u; c < width; c++) {
          if (first + c <= row) { l[row * n + first + c] = a[row * n + first + c] - sums[c]; }
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
    let block_row = lane / 16u;
    let block_column = lane % 16u;
    square[lane] = 0.0;
    if (block_row < width && block_column <= block_row) { square[lane] = l[(first + block_row) * n + first + block_column]; }
    workgroupBarrier();
    for (var j = 0u; j < width; j++) {
      if (lane == j * 17u) { square[lane] = root(square[lane], a[(first + j) * n + first + j]); }
      workgroupBarrier();
      if (block_column == j && block_row > j) { square[lane] /= square[j * 17u]; }
      workgroupBarrier();
      if (block_column > j && block_row >= block_column) { square[lane] -= square[block_row * 16u + j] * square[block_column * 16u + j]; }
      workgroupBarrier();
    }
    if (block_row < width && block_column <= block_row) { l[(first + block_row) * n + first + block_column] = square[lane]; }
    for (var row = first + 16u + lane; row < n; row += 256u) {
      var solved = array<f32, 16>();
      for (var j = 0u; j < 16u; j++) {
        var rest = l[row * n + first + j];
        for (var k = 0u; k < j; k++) { rest -= solved[k] * square[j * 16u + k]; }
        solved[j] = rest / square[j * 17u];
      }
      for (var j = 0u; j < 16u; j++) { l[row * n + first + j] = solved[j]; }
    }
    storageBarrier();
    workgroupBarrier();
  }
}

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(16, 16)
fn invert(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let n = params.n;
  let first = linear_workgroup(group, groups) * 16u;
  let column = first + local.x;
  let lane = local.y * 16u + local.x;
  if (column < n) {
    for (var row = local.y; row < min(first, n); row += 16u) { w[row * n + column] = 0.0; }
  }
  for (var row = first; row < n; row++) {
    var sum = 0.0;
    if (column < n) {
      for (var k = first + local.y; k < row; k += 16u) { sum += l[row * n + k] * w[k * n + column]; }
    }
    parts[lane] = sum;
    for (var half = 8u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (local.y < half) { parts[lane] += parts[lane + half * 16u]; }
    }
    if (local.y == 0u && column < n) {
      let unit = select(0.0, 1.0, row == column);
      w[row * n + column] = select((unit - parts[lane]) / l[row * n + row], 0.0, row < column);
    }
    storageBarrier();
    workgroupBarrier();
  }
}
