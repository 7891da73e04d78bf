// Logits and numbers of the rows and columns that a thread of a panel (lib/panel.wgsl) owns, and log-sum-exps over them. The including file
// includes lib/iterates.wgsl and declares its bindings.
// Numbers of the columns of a quad, and of all columns of a thread; `beyond` behind the last one.
fn column_quad(matrix: u32, which: u32, quad: u32, beyond: f32) -> vec4f {
  let j = quad_columns(quad);
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

// Logits of a quad over the temperature, PADDING for entries that are out: where row or column have no mass, or masked.
fn tempered_quad(matrix: u32, i: u32, quad: u32, temperature: f32, report: bool) -> vec4f {
  let j = quad_columns(quad);
  let at = vec4u(i * params.row_step) + min(j, vec4u(params.m - 1u)) * params.column_step;
  let origin = matrix * params.n * params.m;
  let words = logits_at(origin + at);
  var open = (column_quad(matrix, 2u, quad, 0.0) > vec4f()) & vec4<bool>(state[row_state(matrix, 3u, i)] > 0.0);
  if (params.gate == GATE_MASK) {
    let first = matrix * params.gate_step;
    open &= vec4u(gate[first + at.x], gate[first + at.y], gate[first + at.z], gate[first + at.w]) != vec4u();
  }
  let broken = open & are_broken(words);
  if (report && any(broken)) {
    report_fault(params.fault | NUMBER, select(select(select(words.w, words.z, broken.z), words.y, broken.y), words.x, broken.x));
  }
  return select(vec4f(PADDING), scaled_logits(words, temperature), open);
}
// Those of a thread in four rows, as they are or (`whole`) as exp(logits + f + g), take their place in the kernel, from where the thread reads them
// again. A loop: written out for every quad it would be most of the program.
fn fill_rows(matrix: u32, first: u32, lane: u32, temperature: f32, whole: bool) {
  for (var i = first; i < min(first + 4u, params.n); i++) {
    let f = state[row_state(matrix, 0u, i)];
    for (var quad = lane; quad < width(); quad += LANES) {
      var filling = tempered_quad(matrix, i, quad, temperature, !whole);
      if (whole) { filling = power(filling + f + column_quad(matrix, 0u, quad, 0.0)); }
      kernel[kernel_place(matrix, i, quad)] = filling;
    }
  }
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
