//#include "lib/grid.wgsl"

// A batch of transposed copies, as bits: y[b, c, r] = x[b, r, c], where r runs along memory in y and c along memory in x.
// One workgroup moves a tile of 32 × 32 through workgroup memory, so that both sides are read and written in runs;
// one thread moves 4 elements. The batch is walked over `sizes` with strides into x and y.
struct Params {
  rows: u32,
  columns: u32,
  // Distance in x of neighbouring r, and in y of neighbouring c.
  x_row: u32,
  y_column: u32,
  // Tiles along r and c, and the batch.
  row_tiles: u32,
  column_tiles: u32,
  batch: u32,
  axes: u32,
  sizes: array<vec4<u32>, 2>,
  x_strides: array<vec4<u32>, 2>,
  y_strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

// The extra column keeps reads along r on different banks.
var<workgroup> tile: array<u32, 1056>;

@compute @workgroup_size(32, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let number = linear_workgroup(group, groups);
  let tiles = params.row_tiles * params.column_tiles;
  let inside = number < tiles * params.batch;
  let first_row = (number % tiles) / params.column_tiles * 32u;
  let first_column = number % params.column_tiles * 32u;
  var rest = number / tiles;
  var x_first = 0u;
  var y_first = 0u;
  for (var k = params.axes; k > 0u; k--) {
    let axis = k - 1u;
    let size = params.sizes[axis / 4u][axis % 4u];
    let step = rest % size;
    rest = rest / size;
    x_first += step * params.x_strides[axis / 4u][axis % 4u];
    y_first += step * params.y_strides[axis / 4u][axis % 4u];
  }
  for (var i = local.y; i < 32u; i += 8u) {
    let row = first_row + i;
    let column = first_column + local.x;
    if (inside && row < params.rows && column < params.columns) { tile[i * 33u + local.x] = x[x_first + row * params.x_row + column]; }
  }
  workgroupBarrier();
  for (var i = local.y; i < 32u; i += 8u) {
    let row = first_row + local.x;
    let column = first_column + i;
    if (inside && row < params.rows && column < params.columns) { y[y_first + column * params.y_column + row] = tile[local.x * 33u + i]; }
  }
}
