// Logits and numbers of the rows and columns that a thread of a panel (lib/panel.wgsl) owns, and log-sum-exps over them. The including file
// includes lib/iterates.wgsl and declares its bindings.
// Numbers of the columns of a quad, and of all columns of a thread; `beyond` behind the last one.
fn column_quad(matrix: u32, which: u32, quad: u32, beyond: f32) -> vec4f {
  let j = vec4u(4u * quad) + vec4u(0u, 1u, 2u, 3u);
  let at = vec4u(column_state(matrix, which, 0u)) + min(j, vec4u(params.m - 1u));
  return select(vec4f(beyond), vec4f(state[at.x], state[at.y], state[at.z], state[at.w]), j < vec4u(params.m));
}
fn column_numbers(matrix: u32, which: u32, lane: u32) -> mat4x4f {
  var result = mat4x4f();
  if (owns(lane, 0u)) { result[0] = column_quad(matrix, which, lane, 0.0); }
  if (owns(lane, 1u)) { result[1] = column_quad(matrix, which, lane + LANES, 0.0); }
  if (owns(lane, 2u)) { result[2] = column_quad(matrix, which, lane + 2u * LANES, 0.0); }
  if (owns(lane, 3u)) { result[3] = column_quad(matrix, which, lane + 3u * LANES, 0.0); }
  return result;
}
fn row_numbers(matrix: u32, which: u32, first: u32) -> vec4f {
  let at = vec4u(row_state(matrix, which, 0u)) + rows_from(first);
  return vec4f(state[at.x], state[at.y], state[at.z], state[at.w]);
}

// Logits of a quad over the temperature, PADDING for entries that are out.
fn tempered_quad(matrix: u32, i: u32, quad: u32, masses: vec4f, temperature: f32, report: bool) -> vec4f {
  let j = 4u * quad;
  let alive = masses > vec4f();
  return vec4f(
    tempered(matrix, i, j, alive.x, temperature, report), tempered(matrix, i, j + 1u, alive.y, temperature, report),
    tempered(matrix, i, j + 2u, alive.z, temperature, report), tempered(matrix, i, j + 3u, alive.w, temperature, report));
}
// Those of a thread in row i, of which `mass` is the mass; `masses` are those of its columns, 0 where it has none.
fn tempered_row(matrix: u32, i: u32, lane: u32, mass: f32, masses: mat4x4f, temperature: f32, report: bool) -> mat4x4f {
  let own = select(0.0, 1.0, mass > 0.0);
  let none = vec4f(PADDING);
  var row = mat4x4f(none, none, none, none);
  row[0] = tempered_quad(matrix, i, quad_of(lane, 0u), own * masses[0], temperature, report);
  if (QUADS > 1u) { row[1] = tempered_quad(matrix, i, quad_of(lane, 1u), own * masses[1], temperature, report); }
  if (QUADS > 2u) { row[2] = tempered_quad(matrix, i, quad_of(lane, 2u), own * masses[2], temperature, report); }
  if (QUADS > 3u) { row[3] = tempered_quad(matrix, i, quad_of(lane, 3u), own * masses[3], temperature, report); }
  return row;
}

fn largest(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }
fn row_peak(a: mat4x4f, began: mat4x4f) -> f32 {
  return max(max(largest(a[0] + began[0]), largest(a[1] + began[1])), max(largest(a[2] + began[2]), largest(a[3] + began[3])));
}
fn row_powers(a: mat4x4f, began: mat4x4f, top: f32) -> f32 {
  var sum = power(a[0] + began[0] - top);
  if (QUADS > 1u) { sum += power(a[1] + began[1] - top); }
  if (QUADS > 2u) { sum += power(a[2] + began[2] - top); }
  if (QUADS > 3u) { sum += power(a[3] + began[3] - top); }
  return dot(sum, vec4f(1.0));
}

// Largest exponents of columns, and sums of exponentials relative to them.
struct Peaks {
  peak: vec4f,
  sum: vec4f,
}
fn shifted(x: vec4f, f: f32) -> vec4f { return select(vec4f(PADDING), x + f, x > vec4f(0.5 * PADDING)); }
fn share_below(x: vec4f, peak: vec4f) -> vec4f { return select(vec4f(), power(x - peak), x > vec4f(0.5 * PADDING)); }
fn with_rows(had: Peaks, a: vec4f, b: vec4f, c: vec4f, d: vec4f, f: vec4f) -> Peaks {
  let p = shifted(a, f.x);
  let q = shifted(b, f.y);
  let r = shifted(c, f.z);
  let s = shifted(d, f.w);
  let peak = max(had.peak, max(max(p, q), max(r, s)));
  let sum = had.sum * power(had.peak - peak) + share_below(p, peak) + share_below(q, peak) + share_below(r, peak) + share_below(s, peak);
  return Peaks(peak, sum);
}
