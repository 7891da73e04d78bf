// A square matrix in the registers of SIDE × SIDE threads, in tiles as of lib/tile.wgsl: thread (r, c) holds the elements in rows r, r + SIDE, r + 2 SIDE, … and
// columns c, c + SIDE, …, TILE of each, so that neighbouring threads hold neighbours in memory. THREADS / SIDE² matrices share a workgroup. Whatever sums must be
// called by all threads of the workgroup. The including file includes lib/exchange.wgsl or lib/subgroup-exchange.wgsl, which add up over the threads of a row or a column.
override SIDE: u32 = 16u;
override THREADS: u32 = 256u;

struct Place {
  // Matrix within the workgroup, block row, block column.
  slot: u32,
  r: u32,
  c: u32,
  // SIDE as a number that the compiler does not know: loops over it that are unrolled take several times as long to compile. The workgroup's number is
  // part of how it comes about, for drivers that take uniforms for constants.
  side: u32,
}

fn place_of(lane: u32, side: u32, group: vec3u) -> Place {
  return Place(lane / (SIDE * SIDE), (lane / SIDE) % SIDE, lane % SIDE, min(side, SIDE + group.x));
}

// The first row or column of block h; the others are SIDE apart.
fn row(h: u32) -> u32 { return place.r + 4u * SIDE * h; }
fn column(h: u32) -> u32 { return place.c + 4u * SIDE * h; }

// One number per matrix.
var<workgroup> votes: array<f32, THREADS / (SIDE * SIDE)>;

// The largest of one number per matrix, the same for the whole workgroup, so that all may go on or stop together.
fn largest_of_all(value: f32, place: Place, lane: u32) -> f32 {
  if (place.r == 0u && place.c == 0u) { votes[place.slot] = value; }
  workgroupBarrier();
  if (lane == 0u) {
    var most = value;
    for (var slot = 1u; slot < THREADS / (SIDE * SIDE); slot++) { most = max(most, votes[slot]); }
    votes[0] = most;
  }
  return workgroupUniformLoad(&votes[0]);
}
