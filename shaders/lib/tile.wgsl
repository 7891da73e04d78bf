// Blocks of 4 × 4 numbers in the registers of a thread, TILE rows and TILE columns in all. No index depends on anything but constants: what does
// would be put into memory.
override TILE: u32 = 8u; // 4 or 8

// TILE numbers belonging to the rows, or to the columns, of a thread: one vector a block.
alias Strip = array<vec4f, 2>;
// Block (h, k) is number 2h + k; its vectors are rows.
alias Tile = array<mat4x4f, 4>;

const ONES = vec4f(1.0);

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
// diag(u) a, and a diag(v).
fn by_rows(u: vec4f, a: mat4x4f) -> mat4x4f { return mat4x4f(a[0] * u.x, a[1] * u.y, a[2] * u.z, a[3] * u.w); }
fn by_columns(a: mat4x4f, v: vec4f) -> mat4x4f { return mat4x4f(a[0] * v, a[1] * v, a[2] * v, a[3] * v); }
fn multiply_rows(tile: ptr<private, Tile>, u: Strip) {
  (*tile)[0] = by_rows(u[0], (*tile)[0]);
  if (TILE > 4u) {
    (*tile)[1] = by_rows(u[0], (*tile)[1]);
    (*tile)[2] = by_rows(u[1], (*tile)[2]);
    (*tile)[3] = by_rows(u[1], (*tile)[3]);
  }
}
fn multiply_columns(tile: ptr<private, Tile>, v: Strip) {
  (*tile)[0] = by_columns((*tile)[0], v[0]);
  if (TILE > 4u) {
    (*tile)[1] = by_columns((*tile)[1], v[1]);
    (*tile)[2] = by_columns((*tile)[2], v[0]);
    (*tile)[3] = by_columns((*tile)[3], v[1]);
  }
}
// diag(u) tile diag(v) in place of the tile.
fn multiply(tile: ptr<private, Tile>, u: Strip, v: Strip) {
  (*tile)[0] = between(u[0], (*tile)[0], v[0]);
  if (TILE > 4u) {
    (*tile)[1] = between(u[0], (*tile)[1], v[1]);
    (*tile)[2] = between(u[1], (*tile)[2], v[0]);
    (*tile)[3] = between(u[1], (*tile)[3], v[1]);
  }
}
// tile −= a bᵀ
fn subtract(tile: ptr<private, Tile>, a: Strip, b: Strip) {
  (*tile)[0] -= outer(a[0], b[0]);
  if (TILE > 4u) {
    (*tile)[1] -= outer(a[0], b[1]);
    (*tile)[2] -= outer(a[1], b[0]);
    (*tile)[3] -= outer(a[1], b[1]);
  }
}
// tile −= f 1ᵀ, and tile −= 1 gᵀ
fn subtract_by_rows(tile: ptr<private, Tile>, f: Strip) {
  (*tile)[0] = plus_sides((*tile)[0], -f[0], vec4f());
  if (TILE > 4u) {
    (*tile)[1] = plus_sides((*tile)[1], -f[0], vec4f());
    (*tile)[2] = plus_sides((*tile)[2], -f[1], vec4f());
    (*tile)[3] = plus_sides((*tile)[3], -f[1], vec4f());
  }
}
fn subtract_by_columns(tile: ptr<private, Tile>, g: Strip) {
  (*tile)[0] = plus_sides((*tile)[0], vec4f(), -g[0]);
  if (TILE > 4u) {
    (*tile)[1] = plus_sides((*tile)[1], vec4f(), -g[1]);
    (*tile)[2] = plus_sides((*tile)[2], vec4f(), -g[0]);
    (*tile)[3] = plus_sides((*tile)[3], vec4f(), -g[1]);
  }
}
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

// Sums of a ∘ b over the columns, for each row; and over the rows, for each column.
fn dots_of_rows(a: mat4x4f, b: mat4x4f) -> vec4f { return vec4f(dot(a[0], b[0]), dot(a[1], b[1]), dot(a[2], b[2]), dot(a[3], b[3])); }
fn dots_of_columns(a: mat4x4f, b: mat4x4f) -> vec4f { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]; }
fn common_of_rows(a: ptr<private, Tile>, b: ptr<private, Tile>) -> Strip {
  if (TILE == 4u) { return Strip(dots_of_rows((*a)[0], (*b)[0]), vec4f()); }
  return Strip(
    dots_of_rows((*a)[0], (*b)[0]) + dots_of_rows((*a)[1], (*b)[1]),
    dots_of_rows((*a)[2], (*b)[2]) + dots_of_rows((*a)[3], (*b)[3]));
}
fn common_of_columns(a: ptr<private, Tile>, b: ptr<private, Tile>) -> Strip {
  if (TILE == 4u) { return Strip(dots_of_columns((*a)[0], (*b)[0]), vec4f()); }
  return Strip(
    dots_of_columns((*a)[0], (*b)[0]) + dots_of_columns((*a)[2], (*b)[2]),
    dots_of_columns((*a)[1], (*b)[1]) + dots_of_columns((*a)[3], (*b)[3]));
}
