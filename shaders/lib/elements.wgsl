// Where the elements of a thread's blocks lie in memory. The including file includes lib/square.wgsl and declares var<private> place, matrix,
// and n, m, row_step, column_step and count in `Params`. Addresses beyond the matrix are moved to its last element, so that nothing need
// branch around a load: many loads are then on their way at once.
fn steps() -> vec4u { return vec4u(0u, SIDE, 2u * SIDE, 3u * SIDE); }

fn first_element() -> u32 { return min(matrix, params.count - 1u) * (params.n * params.m); }
// Places of (i, j), (i, j + SIDE), … within the matrix.
fn quad_places(i: u32, j: u32) -> vec4u {
  return min(vec4u(i * params.row_step) + (vec4u(j) + steps()) * params.column_step, vec4u(params.n * params.m - 1u));
}
fn quad_inside(i: u32, j: u32) -> vec4<bool> {
  return vec4<bool>(matrix < params.count && i < params.n) & (vec4u(j) + steps() < vec4u(params.m));
}
