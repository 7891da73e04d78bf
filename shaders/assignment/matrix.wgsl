//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"

// y[i, j] = 1 where assignment[i] = j, else 0; one thread an entry.
//   assignment: [rows]   y: [rows, columns]
struct Params {
  rows: u32,
  columns: u32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> assignment: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>, 2>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = 256u * linear_workgroup(group, groups) + thread;
  if (i >= params.rows * params.columns) { return; }
  let row = i / params.columns;
  let column = i - row * params.columns;
  let own = assignment[row];
  if (column == 0u && (own < -1 || own >= i32(params.columns))) { report_fault_i32(params.fault, own); }
  y[i] = select(0.0, 1.0, own == i32(column));
}
