// Masses of rows and columns as the options give them, and which entries are open. The including file includes lib/fault.wgsl and
// lib/logits.wgsl, and declares
//   var<storage, read> rows: array<u32>, columns: array<u32>, gate: array<u32>;
// and in `Params`: n, m, count, and
//   given            1: masses stand in `rows` and `columns`, `rows_step` and `columns_step` from one matrix to the next
//   uniform_masses   otherwise 1: 1/n and 1/m; 0: 1 and n/m, with the sizes that the matrix really has
//   gate, gate_step  what `gate` holds: 0 nothing, 1 a mask, 2 two sizes per matrix; from one matrix to the next
//   turned           1: rows are the columns of the logits, so that sizes stand the other way round
// Flags are asked together with what differs between threads: see src/ops/matmul/README.md.
const GATE_MASK: u32 = 1u;
const GATE_SIZES: u32 = 2u;

// Rows and columns that the matrix really has.
fn extent_of(matrix: u32, report: bool) -> vec2u {
  let all = vec2u(params.n, params.m);
  if ((params.gate != GATE_SIZES) | (matrix >= params.count)) { return all; }
  let at = matrix * params.gate_step;
  let stated = vec2u(gate[at + params.turned], gate[at + 1u - params.turned]);
  for (var k = 0u; k < 2u; k++) {
    if (report && stated[k] > all[k]) { report_fault_i32(params.fault, bitcast<i32>(stated[k])); }
  }
  // A negative size is a large word: such a matrix is whole, and reported.
  return min(stated, all);
}

fn given_mass(word: u32, report: bool) -> f32 {
  let mass = bitcast<f32>(select(word, 0u, is_broken(word)));
  if (report && (is_broken(word) || mass < 0.0)) { report_fault(params.fault | NUMBER, word); }
  return max(mass, 0.0);
}

// Mass of a row, 0 beyond the matrix. `report` for one thread of those that ask.
fn mass_of_row(matrix: u32, i: u32, extent: vec2u, report: bool) -> f32 {
  let inside = (matrix < params.count) & (i < extent.x);
  if (inside & (params.given == 1u)) { return given_mass(rows[matrix * params.rows_step + i], report); }
  return select(0.0, select(1.0, 1.0 / f32(max(extent.x, 1u)), params.uniform_masses == 1u), inside);
}

fn mass_of_column(matrix: u32, j: u32, extent: vec2u, report: bool) -> f32 {
  let inside = (matrix < params.count) & (j < extent.y);
  if (inside & (params.given == 1u)) { return given_mass(columns[matrix * params.columns_step + j], report); }
  return select(0.0, select(f32(extent.x), 1.0, params.uniform_masses == 1u) / f32(max(extent.y, 1u)), inside);
}

// Whether the mask leaves the entry at this place of the matrix.
fn is_open(matrix: u32, at: u32) -> bool {
  if ((params.gate != GATE_MASK) | (matrix >= params.count)) { return true; }
  return gate[matrix * params.gate_step + at] != 0u;
}
