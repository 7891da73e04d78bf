//#include "lib/grid.wgsl"

// Up to seven tensors side by side, as bits: row r of y holds row r of each part in turn. One thread copies one element.
// x0 … x6: [rows, lengths[i]]; y: [rows, row], of which this pass writes `width` columns from column `first` on.
// Parts that do not exist have length 0 and are bound to any buffer.
struct Params {
  count: u32,
  row: u32,
  first: u32,
  width: u32,
  lengths: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x0: array<u32>;
@group(0) @binding(2) var<storage, read> x1: array<u32>;
@group(0) @binding(3) var<storage, read> x2: array<u32>;
@group(0) @binding(4) var<storage, read> x3: array<u32>;
@group(0) @binding(5) var<storage, read> x4: array<u32>;
@group(0) @binding(6) var<storage, read> x5: array<u32>;
@group(0) @binding(7) var<storage, read> x6: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<u32>;

fn element(part: u32, i: u32) -> u32 {
  switch part {
    case 0u: { return x0[i]; }
    case 1u: { return x1[i]; }
    case 2u: { return x2[i]; }
    case 3u: { return x3[i]; }
    case 4u: { return x4[i]; }
    case 5u: { return x5[i]; }
    default: { return x6[i]; }
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let r = i / params.width;
  var column = i % params.width;
  var part = 0u;
  var length = params.lengths[0][0];
  while (part < 6u && column >= length) {
    column -= length;
    part++;
    length = params.lengths[part / 4u][part % 4u];
  }
  y[r * params.row + params.first + i % params.width] = element(part, r * length + column);
}
