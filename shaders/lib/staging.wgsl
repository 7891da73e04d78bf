// Matrices of at most TILE × TILE numbers, each in the registers of one thread, on their way from and to memory: through workgroup memory, so that
// neighbouring threads read and write neighbouring words. The including file includes lib/tile.wgsl and declares n, m, row_step and column_step in `Params`.
override THREADS: u32 = 64u;
// Threads of which one holds a matrix: the first THREADS / SHARE of the workgroup do.
override SHARE: u32 = 1u;
// Words behind the matrices, for what else is kept there.
override SPARE: u32 = 0u;

// Word k of the workgroup's matrices, which follow each other without gaps; one word of room behind every 32 spreads them over the banks of memory.
var<workgroup> words: array<u32, THREADS / SHARE * TILE * TILE + THREADS / SHARE * TILE * TILE / 32u + SPARE>;

fn rooms(k: vec4u) -> vec4u { return k + k / vec4u(32u); }
fn word_at(k: u32) -> u32 { return words[k + k / 32u]; }
fn put_word(k: u32, value: u32) { words[k + k / 32u] = value; }
fn words_at(k: vec4u) -> vec4u {
  let at = rooms(k);
  return vec4u(words[at.x], words[at.y], words[at.z], words[at.w]);
}
// Any k up to the next multiple of TOGETHER · THREADS may be given: with SHARE > 1 there must be words to spare.
fn put_words(k: vec4u, values: vec4u) {
  let at = rooms(k);
  words[at.x] = values.x;
  words[at.y] = values.y;
  words[at.z] = values.z;
  words[at.w] = values.w;
}
// Four words that a thread takes from memory at once, and those it takes together with them: many loads are then on their way at once.
const TOGETHER: u32 = 8u;
fn near(k: u32) -> vec4u { return vec4u(k, k + THREADS, k + 2u * THREADS, k + 3u * THREADS); }
fn far(k: u32) -> vec4u { return near(k + 4u * THREADS); }

fn four(first: u32) -> vec4u { return vec4u(first, first + 1u, first + 2u, first + 3u); }
// Elements (i, j) … (i, j + 3) of a matrix; those outside are moved to its last one.
fn elements_at(i: u32, j: u32) -> vec4u {
  return min(vec4u(i * params.row_step) + four(j) * params.column_step, vec4u(params.n * params.m - 1u));
}
fn places_of(slot: u32, i: u32, j: u32) -> vec4u { return vec4u(slot * params.n * params.m) + elements_at(i, j); }
fn are_inside(i: u32, j: u32) -> vec4<bool> { return vec4<bool>(i < params.n) & (four(j) < vec4u(params.m)); }

// 1 for the first `size` of TILE numbers, 0 for the others.
fn ones(size: u32) -> Strip { return Strip(select(vec4f(), ONES, four(0u) < vec4u(size)), select(vec4f(), ONES, four(4u) < vec4u(size))); }

// Writes to the words from `base` on; the matrix in `slot` is at slot · n · m.
fn put_quad(base: u32, i: u32, j: u32, values: vec4f) {
  let at = rooms(vec4u(base) + elements_at(i, j));
  let inside = are_inside(i, j);
  if (inside.x) { words[at.x] = bitcast<u32>(values.x); }
  if (inside.y) { words[at.y] = bitcast<u32>(values.y); }
  if (inside.z) { words[at.z] = bitcast<u32>(values.z); }
  if (inside.w) { words[at.w] = bitcast<u32>(values.w); }
}
fn put_block(base: u32, i: u32, j: u32, values: mat4x4f) {
  put_quad(base, i, j, values[0]);
  put_quad(base, i + 1u, j, values[1]);
  put_quad(base, i + 2u, j, values[2]);
  put_quad(base, i + 3u, j, values[3]);
}
fn put_tile_at(base: u32, tile: ptr<private, Tile>) {
  put_block(base, 0u, 0u, (*tile)[0]);
  if (TILE > 4u) {
    put_block(base, 0u, 4u, (*tile)[1]);
    put_block(base, 4u, 0u, (*tile)[2]);
    put_block(base, 4u, 4u, (*tile)[3]);
  }
}
fn put_tile(slot: u32, tile: ptr<private, Tile>) { put_tile_at(slot * params.n * params.m, tile); }

// Elements of the matrix in `slot`; 0 outside of it.
fn staged_quad(slot: u32, i: u32, j: u32) -> vec4f {
  return select(vec4f(), bitcast<vec4f>(words_at(places_of(slot, i, j))), are_inside(i, j));
}
fn staged_block(slot: u32, i: u32, j: u32) -> mat4x4f {
  return mat4x4f(staged_quad(slot, i, j), staged_quad(slot, i + 1u, j), staged_quad(slot, i + 2u, j), staged_quad(slot, i + 3u, j));
}
fn load_tile(slot: u32, tile: ptr<private, Tile>) {
  (*tile)[0] = staged_block(slot, 0u, 0u);
  if (TILE > 4u) {
    (*tile)[1] = staged_block(slot, 0u, 4u);
    (*tile)[2] = staged_block(slot, 4u, 0u);
    (*tile)[3] = staged_block(slot, 4u, 4u);
  }
}
