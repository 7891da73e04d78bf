// A square matrix in the registers of SIDE × SIDE threads: thread (r, c) holds elements (r + SIDE·i, c + SIDE·j), i, j < TILE.
// THREADS / SIDE² matrices share a workgroup. TILE is 4 or 8. Everything here must be called by all threads of the workgroup.
override SIDE: u32 = 16u;
override TILE: u32 = 8u;
override THREADS: u32 = 256u;

// TILE numbers belonging to the rows, or to the columns, of a thread: number i is [i / 4][i % 4].
alias Strip = array<vec4f, 2>;

struct Place {
  // Matrix within the workgroup, row of threads, column of threads.
  slot: u32,
  r: u32,
  c: u32,
  // SIDE as a number that the compiler does not know: loops over it that are unrolled take several times as long to compile.
  side: u32,
}

fn place_of(lane: u32, side: u32) -> Place {
  return Place(lane / (SIDE * SIDE), (lane / SIDE) % SIDE, lane % SIDE, side);
}

// One strip per thread, twice: while some threads still read one half, others already write the other.
var<workgroup> shared_strips: array<vec4f, 2u * THREADS * TILE / 4u>;
var<private> shared_half: u32;

// Gives each thread's strip to the SIDE threads with the same owner; `part` numbers them. Returns where part 0 lies.
fn publish(values: Strip, place: Place, owner: u32, part: u32) -> u32 {
  shared_half = 1u - shared_half;
  let quads = TILE / 4u;
  let first = (shared_half * THREADS + place.slot * SIDE * SIDE + owner) * quads;
  for (var h = 0u; h < quads; h++) { shared_strips[first + part * SIDE * quads + h] = values[h]; }
  workgroupBarrier();
  return first;
}

fn total(values: Strip, place: Place, owner: u32, part: u32) -> Strip {
  if (SIDE == 1u) { return values; }
  let first = publish(values, place, owner, part);
  let quads = TILE / 4u;
  var result = Strip();
  for (var k = 0u; k < place.side; k++) {
    for (var h = 0u; h < quads; h++) { result[h] += shared_strips[first + k * SIDE * quads + h]; }
  }
  return result;
}

fn largest(values: Strip, place: Place, owner: u32, part: u32) -> Strip {
  if (SIDE == 1u) { return values; }
  let first = publish(values, place, owner, part);
  let quads = TILE / 4u;
  var result = values;
  for (var k = 0u; k < place.side; k++) {
    for (var h = 0u; h < quads; h++) { result[h] = max(result[h], shared_strips[first + k * SIDE * quads + h]); }
  }
  return result;
}

// Sums over a row belong to all threads with that r, sums over a column to all threads with that c.
fn row_total(values: Strip, place: Place) -> Strip { return total(values, place, place.r, place.c); }
fn column_total(values: Strip, place: Place) -> Strip { return total(values, place, place.c, place.r); }
fn row_largest(values: Strip, place: Place) -> Strip { return largest(values, place, place.r, place.c); }
fn column_largest(values: Strip, place: Place) -> Strip { return largest(values, place, place.c, place.r); }

fn filled(value: f32) -> Strip { return Strip(vec4f(value), vec4f(value)); }

// The matrix of a thread: row i holds quads i·TILE/4 … of TILE numbers.
alias Tile = array<vec4f, 16>;

// Sums over a thread's own columns with weights, for each of its rows; and over its rows, for each of its columns.
fn products_of_rows(tile: ptr<private, Tile>, v: Strip) -> Strip {
  var result = Strip();
  for (var i = 0u; i < TILE; i++) {
    var sum = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) { sum += dot((*tile)[i * (TILE / 4u) + h], v[h]); }
    result[i / 4u][i % 4u] = sum;
  }
  return result;
}

fn products_of_columns(tile: ptr<private, Tile>, u: Strip) -> Strip {
  var result = Strip();
  for (var i = 0u; i < TILE; i++) {
    for (var h = 0u; h < TILE / 4u; h++) { result[h] += u[i / 4u][i % 4u] * (*tile)[i * (TILE / 4u) + h]; }
  }
  return result;
}

// The largest of one number per matrix, the same for the whole workgroup, so that all may go on or stop together. To be called by all threads.
fn largest_of_all(value: f32, place: Place, lane: u32) -> f32 {
  // What was published has been read.
  workgroupBarrier();
  if (place.r == 0u && place.c == 0u) { shared_strips[place.slot] = vec4f(value); }
  workgroupBarrier();
  if (lane == 0u) {
    var most = vec4f(value);
    for (var slot = 1u; slot < THREADS / (SIDE * SIDE); slot++) { most = max(most, shared_strips[slot]); }
    shared_strips[0] = most;
  }
  return workgroupUniformLoad(&shared_strips[0]).x;
}
