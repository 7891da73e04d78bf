//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/masses.wgsl"

// Masses of rows and columns, 0 beyond the sizes of a matrix; one thread each.
//   row_masses: [count, n]   column_masses: [count, m]
struct Params {
  count: u32,
  n: u32,
  m: u32,
  given: u32,
  rows_step: u32,
  columns_step: u32,
  uniform_masses: u32,
  turned: u32,
  gate: u32,
  gate_step: u32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read> columns: array<u32>;
@group(0) @binding(3) var<storage, read> gate: array<u32>;
@group(0) @binding(4) var<storage, read_write> row_masses: array<f32>;
@group(0) @binding(5) var<storage, read_write> column_masses: array<f32>;
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>, 2>;

@compute @workgroup_size(64)
fn weigh(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 64u + lane;
  let matrix = id / (params.n + params.m);
  let i = id % (params.n + params.m);
  if (matrix >= params.count) { return; }
  let extent = extent_of(matrix, i == 0u);
  if (i < params.n) {
    row_masses[matrix * params.n + i] = mass_of_row(matrix, i, extent, true);
  } else {
    column_masses[matrix * params.m + i - params.n] = mass_of_column(matrix, i - params.n, extent, true);
  }
}
