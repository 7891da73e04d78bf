// A panel of matrix rows passes through LANES threads of a workgroup four rows at a time. The including file declares kernel and partials, and n, m,
// panels and panel_rows in `Params`. A quad is four neighbouring columns; thread `lane` of a panel owns the quads lane + LANES · k for k < QUADS, and column k of a
// mat4x4f is the k-th of them. Everything is written out, since arrays that are indexed by a variable do not stay in registers.
// LANES is a power of two from 16 to 256, QUADS at most 4.
override LANES: u32;
override QUADS: u32;

var<workgroup> panel_parts: array<vec4f, 256>;
var<workgroup> panel_groups: array<vec4f, 256>;

// Quads of a row.
fn width() -> u32 { return (params.m + 3u) / 4u; }
// The k-th quad of a thread, moved to the last one where the row ends before it.
fn quad_of(lane: u32, k: u32) -> u32 { return min(lane + LANES * k, width() - 1u); }
fn owns(lane: u32, k: u32) -> bool { return k < QUADS && lane + LANES * k < width(); }
// Four rows from `first` on, moved to the last one where the matrix ends before.
fn rows_from(first: u32) -> vec4u { return min(vec4u(first, first + 1u, first + 2u, first + 3u), vec4u(params.n - 1u)); }
fn has_rows(first: u32) -> vec4<bool> { return vec4u(first, first + 1u, first + 2u, first + 3u) < vec4u(params.n); }

struct Place {
  matrix: u32,
  // Of all panels of all matrices.
  panel: u32,
  // Its first row.
  begin: u32,
  lane: u32,
}
// A workgroup has panels of one matrix only.
fn place_of(group: u32, thread: u32) -> Place {
  let panel = group * (256u / LANES) + thread / LANES;
  return Place(panel / params.panels, panel, panel % params.panels * params.panel_rows, thread % LANES);
}

// Sums and largest values over the four rows of each panel. To be called by all threads.
fn panel_total(value: vec4f, thread: u32) -> vec4f {
  let lane = thread % LANES;
  let first = thread - lane;
  panel_parts[thread] = value;
  workgroupBarrier();
  if (lane < 16u) {
    var sum = panel_parts[thread];
    for (var k = 16u; k < LANES; k += 16u) { sum += panel_parts[thread + k]; }
    panel_groups[thread] = sum;
  }
  workgroupBarrier();
  var sum = panel_groups[first];
  for (var k = 1u; k < 16u; k++) { sum += panel_groups[first + k]; }
  return sum;
}
fn panel_largest(value: vec4f, thread: u32) -> vec4f {
  let lane = thread % LANES;
  let first = thread - lane;
  panel_parts[thread] = value;
  workgroupBarrier();
  if (lane < 16u) {
    var peak = panel_parts[thread];
    for (var k = 16u; k < LANES; k += 16u) { peak = max(peak, panel_parts[thread + k]); }
    panel_groups[thread] = peak;
  }
  workgroupBarrier();
  var peak = panel_groups[first];
  for (var k = 1u; k < 16u; k++) { peak = max(peak, panel_groups[first + k]); }
  return peak;
}

// Σ over the columns of a thread.
fn row_dot(a: mat4x4f, v: mat4x4f) -> f32 {
  var sum = dot(a[0], v[0]);
  if (QUADS > 1u) { sum += dot(a[1], v[1]); }
  if (QUADS > 2u) { sum += dot(a[2], v[2]); }
  if (QUADS > 3u) { sum += dot(a[3], v[3]); }
  return sum;
}
// sums + u a for one row.
fn plus_row(sums: mat4x4f, a: mat4x4f, u: f32) -> mat4x4f {
  var result = sums;
  result[0] += a[0] * u;
  if (QUADS > 1u) { result[1] += a[1] * u; }
  if (QUADS > 2u) { result[2] += a[2] * u; }
  if (QUADS > 3u) { result[3] += a[3] * u; }
  return result;
}

// Neighbouring columns of a quad, of which those behind the last one do not count.
fn quad_columns(quad: u32) -> vec4u { return vec4u(4u * quad) + vec4u(0u, 1u, 2u, 3u); }
fn kernel_place(matrix: u32, i: u32, quad: u32) -> u32 { return (matrix * params.n + i) * width() + quad; }
fn kernel_quad(at: u32, lane: u32, k: u32, has: bool, beyond: f32) -> vec4f {
  return select(vec4f(beyond), kernel[at + quad_of(lane, k)], has && owns(lane, k));
}
// The quads of a thread in row i, `beyond` where the row or the matrix ends before.
fn kernel_row(matrix: u32, i: u32, lane: u32, beyond: f32) -> mat4x4f {
  let at = kernel_place(matrix, min(i, params.n - 1u), 0u);
  let has = i < params.n;
  let none = vec4f(beyond);
  var row = mat4x4f(none, none, none, none);
  row[0] = kernel_quad(at, lane, 0u, has, beyond);
  if (QUADS > 1u) { row[1] = kernel_quad(at, lane, 1u, has, beyond); }
  if (QUADS > 2u) { row[2] = kernel_quad(at, lane, 2u, has, beyond); }
  if (QUADS > 3u) { row[3] = kernel_quad(at, lane, 3u, has, beyond); }
  return row;
}
fn keep_partials(at: u32, lane: u32, sums: mat4x4f) {
  if (owns(lane, 0u)) { partials[at + lane] = sums[0]; }
  if (owns(lane, 1u)) { partials[at + lane + LANES] = sums[1]; }
  if (owns(lane, 2u)) { partials[at + lane + 2u * LANES] = sums[2]; }
  if (owns(lane, 3u)) { partials[at + lane + 3u * LANES] = sums[3]; }
}

// Column sums of all panels: workgroup `part` of a matrix adds up 8 quads, 32 threads to each, which begin at panel thread / 8.
fn stack_quad(part: u32, thread: u32) -> u32 { return min(part * 8u + thread % 8u, width() - 1u); }
fn stacks() -> u32 { return (width() + 7u) / 8u; }
// The sum of the column that a thread below 32 owns, part · 32 + thread: out of one number per thread, or (column_total) all panels of a matrix.
// To be called by all threads.
fn stack_total(value: vec4f, thread: u32) -> f32 {
  panel_groups[thread] = value;
  workgroupBarrier();
  var sum = 0.0;
  if (thread < 32u) { for (var k = 0u; k < 32u; k++) { sum += panel_groups[k * 8u + thread / 4u][thread % 4u]; } }
  return sum;
}
fn column_total(matrix: u32, part: u32, thread: u32) -> f32 {
  var share = vec4f();
  for (var k = thread / 8u; k < params.panels; k += 32u) { share += partials[(matrix * params.panels + k) * width() + stack_quad(part, thread)]; }
  return stack_total(share, thread);
}
