// The state of matrices that several workgroups iterate on, and what it leaves in the record. The including file declares the bindings logits,
// state, record and those of lib/masses.wgsl, and the fields of sizes, steps, record and history in `Params`.
//   state: [count, state_stride]: of rows f, u, next u, mass, mass reached, error; of columns g, v, mass, mass reached; iterations, error
fn state_of(matrix: u32) -> u32 { return matrix * (6u * params.n + 4u * params.m + 2u); }
fn row_state(matrix: u32, which: u32, i: u32) -> u32 { return state_of(matrix) + which * params.n + i; }
fn column_state(matrix: u32, which: u32, j: u32) -> u32 { return state_of(matrix) + 6u * params.n + which * params.m + j; }
fn ran_at(matrix: u32) -> u32 { return state_of(matrix) + 6u * params.n + 4u * params.m; }
fn is_done(matrix: u32) -> bool { return state[ran_at(matrix)] > 0.0; }

fn share_of(exponent: f32) -> f32 { return power(vec4f(exponent)).x; }
fn damped(mass: f32, lse: f32, leak: f32) -> f32 { return potential_of(vec4f(mass), vec4f(lse), leak).x; }
fn safe_inverse(x: f32) -> f32 { return inverse(vec4f(x)).x; }

// Logit over the temperature, PADDING where the entry is out: where row or column are not `alive`, or masked. Never a branch around the load.
fn tempered(matrix: u32, i: u32, j: u32, alive: bool, temperature: f32) -> f32 {
  let at = i * params.row_step + j * params.column_step;
  let open = alive && is_open(matrix, at);
  return select(PADDING, scaled_logit(logit_at(matrix * params.n * params.m + at), temperature), open);
}

fn write_record(matrix: u32, at: u32, value: f32) { record[matrix * params.record_stride + at] = value; }

// What iteration t leaves for a backward pass, of row i and of column j.
fn remember_row(matrix: u32, t: u32, i: u32) {
  if (params.record < 2u || i >= params.n) { return; }
  let at = params.history + (t - 1u) * params.history_stride;
  let alive = state[row_state(matrix, 3u, i)] > 0.0;
  let potential = select(EXCLUDED, state[row_state(matrix, 0u, i)], alive);
  write_record(matrix, at + i, select(state[row_state(matrix, 1u, i)], potential, t <= params.annealed));
  if (params.history_stride > params.n + params.m) {
    write_record(matrix, at + params.n + params.m + i, safe_inverse(state[row_state(matrix, 4u, i)]));
  }
}
fn remember_column(matrix: u32, t: u32, j: u32) {
  if (params.record < 2u || j >= params.m) { return; }
  let at = params.history + (t - 1u) * params.history_stride + params.n;
  let alive = state[column_state(matrix, 2u, j)] > 0.0;
  let potential = select(EXCLUDED, state[column_state(matrix, 0u, j)], alive);
  write_record(matrix, at + j, select(state[column_state(matrix, 1u, j)], potential, t <= params.annealed));
  if (params.history_stride > params.n + params.m) {
    write_record(matrix, at + params.n + params.m + j, safe_inverse(state[column_state(matrix, 3u, j)]));
  }
}
