// A square matrix in the registers of SIDE × SIDE threads, in blocks of 4 × 4: thread (r, c) holds the elements in rows r, r + SIDE, r + 2 SIDE, … and
// columns c, c + SIDE, …, TILE of each, so that neighbouring threads hold neighbours in memory. THREADS / SIDE² matrices share a workgroup. No index depends on
// anything but constants: what does would be put into memory. Whatever sums must be called by all threads of the workgroup.
override SIDE: u32 = 16u;
override TILE: u32 = 8u; // 4 or 8
override THREADS: u32 = 256u;

// TILE numbers belonging to the rows, or to the columns, of a thread: one vector a block.
alias Strip = array<vec4f, 2>;
// Block (h, k) is number 2h + k; its vectors are rows.
alias Tile = array<mat4x4f, 4>;

const ONES = vec4f(1.0);

struct Place {
  // Matrix within the workgroup, block row, block column.
  slot: u32,
  r: u32,
  c: u32,
  // SIDE as a number that the compiler does not know: loops over it that are unrolled take several times as long to compile.
  side: u32,
}

fn place_of(lane: u32, side: u32) -> Place {
  return Place(lane / (SIDE * SIDE), (lane / SIDE) % SIDE, lane % SIDE, side);
}

// The first row or column of block h; the others are SIDE apart.
fn row(h: u32) -> u32 { return place.r + 4u * SIDE * h; }
fn column(h: u32) -> u32 { return place.c + 4u * SIDE * h; }

// What the SIDE threads of each owner have to add up, part by part; a quad of room between parts spreads them over the banks of memory.
var<workgroup> parts: array<vec4f, THREADS * TILE / 4u + THREADS / SIDE>;
// The results, where no thread adds up everything it wants.
var<workgroup> results: array<f32, THREADS / SIDE * TILE>;

fn part_stride() -> u32 { return SIDE * TILE / 4u + 1u; }

// Gives each thread's strip to the SIDE threads with the same owner; `part` numbers them. Returns where the parts of the matrix begin.
fn publish(values: Strip, place: Place, owner: u32, part: u32) -> u32 {
  let first = place.slot * SIDE * part_stride();
  parts[first + part * part_stride() + owner] = values[0];
  if (TILE > 4u) { parts[first + part * part_stride() + SIDE + owner] = values[1]; }
  workgroupBarrier();
  return first;
}

// Few parts are added up by all who want the sum; of many, each thread adds up those of one number.
fn results_of(place: Place, owner: u32) -> Strip {
  workgroupBarrier();
  let at = place.slot * SIDE * TILE + 4u * owner;
  let next = at + 4u * SIDE;
  return Strip(vec4f(results[at], results[at + 1u], results[at + 2u], results[at + 3u]), vec4f(results[next], results[next + 1u], results[next + 2u], results[next + 3u]));
}

fn total(values: Strip, place: Place, owner: u32, part: u32) -> Strip {
  if (SIDE == 1u) { return values; }
  let first = publish(values, place, owner, part);
  if (SIDE <= 4u) {
    var sum = Strip();
    for (var k = 0u; k < place.side; k++) {
      sum[0] += parts[first + k * part_stride() + owner];
      if (TILE > 4u) { sum[1] += parts[first + k * part_stride() + SIDE + owner]; }
    }
    workgroupBarrier();
    return sum;
  }
  let number = place.r * SIDE + place.c;
  if (number < SIDE * TILE) {
    var sum = 0.0;
    for (var k = 0u; k < place.side; k += 4u) {
      let at = first + k * part_stride() + number / 4u;
      let component = number % 4u;
      sum += (parts[at][component] + parts[at + part_stride()][component]) + (parts[at + 2u * part_stride()][component] + parts[at + 3u * part_stride()][component]);
    }
    results[place.slot * SIDE * TILE + number] = sum;
  }
  return results_of(place, owner);
}

fn largest(values: Strip, place: Place, owner: u32, part: u32) -> Strip {
  if (SIDE == 1u) { return values; }
  let first = publish(values, place, owner, part);
  if (SIDE <= 4u) {
    var most = values;
    for (var k = 0u; k < place.side; k++) {
      most[0] = max(most[0], parts[first + k * part_stride() + owner]);
      if (TILE > 4u) { most[1] = max(most[1], parts[first + k * part_stride() + SIDE + owner]); }
    }
    workgroupBarrier();
    return most;
  }
  let number = place.r * SIDE + place.c;
  if (number < SIDE * TILE) {
    var most = parts[first + number / 4u][number % 4u];
    for (var k = 1u; k < place.side; k++) { most = max(most, parts[first + k * part_stride() + number / 4u][number % 4u]); }
    results[place.slot * SIDE * TILE + number] = most;
  }
  return results_of(place, owner);
}

// Sums over a row belong to all threads with that r, sums over a column to all threads with that c.
fn row_total(values: Strip, place: Place) -> Strip { return total(values, place, place.r, place.c); }
fn column_total(values: Strip, place: Place) -> Strip { return total(values, place, place.c, place.r); }
fn row_largest(values: Strip, place: Place) -> Strip { return largest(values, place, place.r, place.c); }
fn column_largest(values: Strip, place: Place) -> Strip { return largest(values, place, place.c, place.r); }

// The largest of one number per matrix, the same for the whole workgroup, so that all may go on or stop together.
fn largest_of_all(value: f32, place: Place, lane: u32) -> f32 {
  if (place.r == 0u && place.c == 0u) { parts[place.slot] = vec4f(value); }
  workgroupBarrier();
  if (lane == 0u) {
    var most = vec4f(value);
    for (var slot = 1u; slot < THREADS / (SIDE * SIDE); slot++) { most = max(most, parts[slot]); }
    parts[0] = most;
  }
  return workgroupUniformLoad(&parts[0]).x;
}

fn filled(value: f32) -> Strip { return Strip(vec4f(value), vec4f(value)); }
fn times(a: Strip, b: Strip) -> Strip { return Strip(a[0] * b[0], a[1] * b[1]); }
fn scaled(a: Strip, factor: f32) -> Strip { return Strip(factor * a[0], factor * a[1]); }
fn plus(a: Strip, factor: f32, b: Strip) -> Strip { return Strip(a[0] + factor * b[0], a[1] + factor * b[1]); }
// 1 where there is mass.
fn alive(mass: Strip) -> Strip { return Strip(select(vec4f(), ONES, mass[0] > vec4f()), select(vec4f(), ONES, mass[1] > vec4f())); }
fn chosen(first: bool, a: Strip, b: Strip) -> Strip { return Strip(select(b[0], a[0], first), select(b[1], a[1], first)); }

fn outer(u: vec4f, v: vec4f) -> mat4x4f { return mat4x4f(u.x * v, u.y * v, u.z * v, u.w * v); }
fn hadamard(a: mat4x4f, b: mat4x4f) -> mat4x4f { return mat4x4f(a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]); }
// diag(u) a diag(v). No product of u and v is formed, which may be too large for a float where a is small.
fn between(u: vec4f, a: mat4x4f, v: vec4f) -> mat4x4f { return mat4x4f(a[0] * u.x * v, a[1] * u.y * v, a[2] * u.z * v, a[3] * u.w * v); }
// a + f 1ᵀ + 1 gᵀ
fn plus_sides(a: mat4x4f, f: vec4f, g: vec4f) -> mat4x4f { return mat4x4f(a[0] + f.x + g, a[1] + f.y + g, a[2] + f.z + g, a[3] + f.w + g); }

fn largest_of(quad: vec4f) -> f32 { return max(max(quad.x, quad.y), max(quad.z, quad.w)); }
fn largest_in_rows(a: mat4x4f) -> vec4f { return vec4f(largest_of(a[0]), largest_of(a[1]), largest_of(a[2]), largest_of(a[3])); }
fn largest_in_columns(a: mat4x4f) -> vec4f { return max(max(a[0], a[1]), max(a[2], a[3])); }

// Sums over a thread's own columns with weights, for each of its rows; and over its rows, for each of its columns.
fn products_of_rows(tile: ptr<private, Tile>, v: Strip) -> Strip {
  if (TILE == 4u) { return Strip(v[0] * (*tile)[0], vec4f()); }
  return Strip(v[0] * (*tile)[0] + v[1] * (*tile)[1], v[0] * (*tile)[2] + v[1] * (*tile)[3]);
}
fn products_of_columns(tile: ptr<private, Tile>, u: Strip) -> Strip {
  if (TILE == 4u) { return Strip((*tile)[0] * u[0], vec4f()); }
  return Strip((*tile)[0] * u[0] + (*tile)[2] * u[1], (*tile)[1] * u[0] + (*tile)[3] * u[1]);
}
