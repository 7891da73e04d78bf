// Where the elements of a thread's blocks lie in memory. The including file includes lib/square.wgsl and declares var<private> place, matrix,
//   fn write_element(at: u32, value: f32)   writes the result at an element of the batch
//   fn write_number(at: u32, value: f32)    writes a number of rows or columns
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

// Elements (i, j), (i, j + SIDE), … of the result, as far as they are in the matrix.
fn write_quad(i: u32, j: u32, values: vec4f) {
  if (matrix >= params.count || i >= params.n) { return; }
  let at = first_element() + quad_places(i, j);
  if (j < params.m) { write_element(at.x, values.x); }
  if (j + SIDE < params.m) { write_element(at.y, values.y); }
  if (j + 2u * SIDE < params.m) { write_element(at.z, values.z); }
  if (j + 3u * SIDE < params.m) { write_element(at.w, values.w); }
}
fn write_block(h: u32, k: u32, values: mat4x4f) {
  let i = row(h);
  let j = column(k);
  write_quad(i, j, values[0]);
  write_quad(i + SIDE, j, values[1]);
  write_quad(i + 2u * SIDE, j, values[2]);
  write_quad(i + 3u * SIDE, j, values[3]);
}
fn write_tile(tile: ptr<private, Tile>) {
  write_block(0u, 0u, (*tile)[0]);
  if (TILE > 4u) {
    write_block(0u, 1u, (*tile)[1]);
    write_block(1u, 0u, (*tile)[2]);
    write_block(1u, 1u, (*tile)[3]);
  }
}

// Numbers of rows or columns `at`, at + SIDE, … of `end`, the first of which lies at `first`.
fn write_numbers(first: u32, at: u32, end: u32, values: vec4f) {
  if (at < end) { write_number(first + at, values.x); }
  if (at + SIDE < end) { write_number(first + at + SIDE, values.y); }
  if (at + 2u * SIDE < end) { write_number(first + at + 2u * SIDE, values.z); }
  if (at + 3u * SIDE < end) { write_number(first + at + 3u * SIDE, values.w); }
}
// Those of the thread; one thread of those that hold them writes.
fn write_strip_at(first: u32, values: Strip, of_rows: bool) {
  if (matrix >= params.count || select(place.r, place.c, of_rows) != 0u) { return; }
  let end = select(params.m, params.n, of_rows);
  write_numbers(first, select(column(0u), row(0u), of_rows), end, values[0]);
  if (TILE > 4u) { write_numbers(first, select(column(1u), row(1u), of_rows), end, values[1]); }
}
