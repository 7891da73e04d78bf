//#include "lib/grid.wgsl"
//#include "lib/taps.wgsl"

// A convolution, its data gradient and its weight gradient as one matrix product C = A·B per group, whose operand B is
// gathered from the image while it is staged: no im2col buffer. MODE says what the rows, columns and terms are:
//
//            rows of C     columns of C               terms of the sum             A     image
//   FORWARD  features      batch × output pixels      channels × kernel            w     x
//   DATA     channels      batch × input pixels       features × kernel            w     dy
//   WEIGHT   features      channels × kernel          batch × output pixels        dy    x
//
// Every element of B lies in the image at the position of its column plus that of its term, or is 0 outside of the image.
// A workgroup computes TM × 128 elements of C, a thread 8 × 8 of them. 16 terms at a time pass through workgroup memory, in
// vectors of 4 terms of one row or column: a thread reads 16 vectors for 256 multiply-adds. WEIGHT may split the terms; each
// split writes its own copy of C. DATA with a stride is cut into phases (lib/taps.wgsl).
//   a, image, bias, result: [elements of the tensors named above]; quads of the same where these are read four at a time
// TM must be 16, 32 or 64, and THREADS = 2·TM.
override TM: u32 = 64u;
override THREADS: u32 = 128u;

const TN: u32 = 128u;
const TERMS: u32 = 16u;
// Terms come in vectors of four.
const QUADS: u32 = TERMS / 4u;
// Far outside of any image, whatever is added.
const OUTSIDE: i32 = -536870912;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> a_quads: array<vec4f>;
@group(0) @binding(3) var<storage, read> image: array<f32>;
@group(0) @binding(4) var<storage, read> image_quads: array<vec4f>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> result: array<f32>;

// Element (row, term) of A is at [term / 4 · TM + row][term % 4], those of B likewise.
var<workgroup> tile_a: array<vec4f, QUADS * TM>;
var<workgroup> tile_b: array<vec4f, QUADS * TN>;
// Per column: position in the image and, as w, its address; then the address of row 0 in the result.
var<workgroup> column_at: array<vec4i, TN>;
var<workgroup> column_result: array<u32, TN>;
// Per term, of those at hand and the next ones: the same as differences, and the address in row 0 of A.
var<workgroup> term_at: array<vec4i, 2u * TERMS>;
var<workgroup> term_a: array<u32, 2u * TERMS>;

// What a workgroup works on: its group, its phase or split, and how many columns there are.
struct Work {
  group: u32,
  part: u32,
  columns: u32,
  phase: Phase,
}

// A position and its address.
fn placed(first: u32, position: vec3i) -> vec4i {
  let size = vec3i(params.size.xyz);
  return vec4i(position, i32(first) + (position.x * size.y + position.y) * size.z + position.z);
}

fn set_column(slot: u32, n: u32, work: Work) {
  column_at[slot] = vec4i(OUTSIDE, 0, 0, 0);
  if (n >= work.columns) { return; }
  let area = volume(params.size.xyz);
  if (MODE == WEIGHT) {
    let tap = split(n, params.kernel.xyz);
    column_at[slot] = placed(tap.w * area, vec3i(tap.xyz * params.dilation.xyz) - vec3i(params.start.xyz));
    column_result[slot] = (work.part * params.counts.y + work.group) * params.counts.z * work.columns + n;
    return;
  }
  let pixel = split(n, work.phase.pixels);
  let channels = pixel.w * params.counts.y + work.group;
  column_at[slot] = placed(channels * params.counts.w * area, work.phase.origin + vec3i(pixel.xyz) * work.phase.step);
  column_result[slot] = channels * params.counts.z * volume(params.planes.xyz)
    + flat(work.phase.index + pixel.xyz * work.phase.spacing, params.planes.xyz);
}

fn set_term(slot: u32, k: u32, end: u32, work: Work) {
  term_at[slot] = vec4i(OUTSIDE, 0, 0, 0);
  term_a[slot] = 0u;
  if (k >= end) { return; }
  let area = volume(params.size.xyz);
  if (MODE == WEIGHT) {
    let pixel = split(k, params.planes.xyz);
    let channels = pixel.w * params.counts.y + work.group;
    term_at[slot] = placed(channels * params.counts.w * area, vec3i(pixel.xyz * params.stride.xyz));
    term_a[slot] = channels * params.counts.z * volume(params.planes.xyz) + flat(pixel.xyz, params.planes.xyz);
    return;
  }
  let term = split(k, work.phase.taps);
  term_at[slot] = placed(term.w * area, vec3i(term.xyz) * work.phase.delta);
  let tap = flat(work.phase.first + term.xyz * params.tap_step.xyz, params.kernel.xyz);
  let kernel = volume(params.kernel.xyz);
  if (MODE == FORWARD) {
    term_a[slot] = (work.group * params.counts.z * params.counts.w + term.w) * kernel + tap;
  } else {
    term_a[slot] = (work.group * params.counts.w + term.w) * params.counts.z * kernel + tap;
  }
}

// Nothing branches around a load: many are then on their way at once.
fn pixel_at(at: vec4i) -> f32 {
  let inside = all(vec3u(at.xyz) < params.size.xyz);
  return select(0.0, image[select(0u, u32(at.w), inside)], inside);
}

// Four terms of one row of A.
fn quad_of_a(slot: u32, row: u32) -> vec4f {
  if (params.quads.x != 0u) { return a_quads[(term_a[slot] + row) / 4u]; }
  return vec4f(a[term_a[slot] + row], a[term_a[slot + 1u] + row], a[term_a[slot + 2u] + row], a[term_a[slot + 3u] + row]);
}

fn stage_a(lane: u32, m0: u32, pitch: u32, k: u32, end: u32, current: u32) {
  for (var e = lane; e < TM * QUADS; e += THREADS) {
    let q = e % QUADS;
    let m = e / QUADS;
    var quad = vec4f();
    if (m0 + m < params.counts.z) { quad = quad_of_a(current + 4u * q, (m0 + m) * pitch); }
    tile_a[q * TM + m] = select(vec4f(), quad, vec4u(k + 4u * q) + vec4u(0u, 1u, 2u, 3u) < vec4u(end));
  }
}

fn stage_b(lane: u32, current: u32) {
  if (params.quads.y == 0u) {
    for (var n = lane; n < TN; n += THREADS) {
      let column = column_at[n];
      for (var q = 0u; q < QUADS; q++) {
        let t = current + 4u * q;
        tile_b[q * TN + n] = vec4f(pixel_at(column + term_at[t]), pixel_at(column + term_at[t + 1u]),
          pixel_at(column + term_at[t + 2u]), pixel_at(column + term_at[t + 3u]));
      }
    }
    return;
  }
  // One tap, and nothing but it between a column and its pixel: four pixels of a channel are one vector of the image.
  for (var e = lane; e < TN; e += THREADS) {
    if (MODE == WEIGHT) {
      for (var q = 0u; q < QUADS; q++) { tile_b[q * TN + e] = quad_of_image(column_at[e] + term_at[current + 4u * q]); }
    } else {
      let q = e % QUADS;
      let n = e / QUADS * 4u;
      let t = current + 4u * q;
      let square = transpose(mat4x4f(quad_of_image(column_at[n] + term_at[t]), quad_of_image(column_at[n] + term_at[t + 1u]),
        quad_of_image(column_at[n] + term_at[t + 2u]), quad_of_image(column_at[n] + term_at[t + 3u])));
      tile_b[q * TN + n] = square[0];
      tile_b[q * TN + n + 1u] = square[1];
      tile_b[q * TN + n + 2u] = square[2];
      tile_b[q * TN + n + 3u] = square[3];
    }
  }
}

fn quad_of_image(at: vec4i) -> vec4f {
  let inside = at.x >= 0;
  return select(vec4f(), image_quads[select(0u, u32(at.w) / 4u, inside)], inside);
}

// sum + b·a, one multiply-add after the other.
fn plus(sum: vec4f, a: vec4f, b: mat4x4f) -> vec4f { return sum + a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3]; }

// Four columns of one row, 16 columns apart.
fn write_four(row: u32, pitch: u32, slot: u32, sums: vec4f) {
  if (column_at[slot].x != OUTSIDE) { result[column_result[slot] + row * pitch] = sums.x; }
  if (column_at[slot + 16u].x != OUTSIDE) { result[column_result[slot + 16u] + row * pitch] = sums.y; }
  if (column_at[slot + 32u].x != OUTSIDE) { result[column_result[slot + 32u] + row * pitch] = sums.z; }
  if (column_at[slot + 48u].x != OUTSIDE) { result[column_result[slot + 48u] + row * pitch] = sums.w; }
}
fn write_row(work: Work, row: u32, slot: u32, low: vec4f, high: vec4f) {
  if (row >= params.counts.z) { return; }
  let pitch = select(volume(params.planes.xyz), work.columns, MODE == WEIGHT);
  var start = 0.0;
  if (params.quads.z != 0u) { start = bias[work.group * params.counts.z + row]; }
  write_four(row, pitch, slot, low + start);
  write_four(row, pitch, slot + 64u, high + start);
}

@compute @workgroup_size(THREADS)
fn tiled(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  var rest = linear_workgroup(id, counts);
  let n0 = rest % params.tiles.y * TN;
  rest = rest / params.tiles.y;
  let m0 = rest % params.tiles.x * TM;
  rest = rest / params.tiles.x;
  var work: Work;
  work.group = rest % params.counts.y;
  work.part = rest / params.counts.y;
  if (work.part >= params.tiles.z) { return; }
  work.phase = phase(split(work.part, params.phases.xyz).xyz);
  work.columns = params.counts.x * volume(work.phase.pixels);

  var k = 0u;
  var end = params.counts.w * volume(work.phase.taps);
  // Distance of two rows of A.
  var pitch = volume(params.kernel.xyz);
  if (MODE == FORWARD) { pitch *= params.counts.w; }
  if (MODE == WEIGHT) {
    work.columns = params.counts.w * pitch;
    pitch = volume(params.planes.xyz);
    k = work.part * params.tiles.w;
    end = min(k + params.tiles.w, params.counts.x * pitch);
  }
  for (var slot = lane; slot < TN; slot += THREADS) { set_column(slot, n0 + slot, work); }
  if (lane < TERMS) { set_term(lane, k + lane, end, work); }
  workgroupBarrier();

  let tx = lane % 16u;
  let ty = lane / 16u;
  let step = TM / 8u;
  var c00 = vec4f(); var c10 = vec4f(); var c20 = vec4f(); var c30 = vec4f();
  var c01 = vec4f(); var c11 = vec4f(); var c21 = vec4f(); var c31 = vec4f();
  var c40 = vec4f(); var c50 = vec4f(); var c60 = vec4f(); var c70 = vec4f();
  var c41 = vec4f(); var c51 = vec4f(); var c61 = vec4f(); var c71 = vec4f();
  var current = 0u;
  for (; k < end; k += TERMS) {
    stage_a(lane, m0, pitch, k, end, current);
    stage_b(lane, current);
    workgroupBarrier();
    current = TERMS - current;
    if (lane < TERMS) { set_term(current + lane, k + TERMS + lane, end, work); }
    for (var q = 0u; q < QUADS; q++) {
      let at = q * TM + ty;
      let bt = q * TN + tx;
      let b0 = transpose(mat4x4f(tile_b[bt], tile_b[bt + 16u], tile_b[bt + 32u], tile_b[bt + 48u]));
      let b1 = transpose(mat4x4f(tile_b[bt + 64u], tile_b[bt + 80u], tile_b[bt + 96u], tile_b[bt + 112u]));
      let a0 = tile_a[at];
      c00 = plus(c00, a0, b0);
      c01 = plus(c01, a0, b1);
      let a1 = tile_a[at + step];
      c10 = plus(c10, a1, b0);
      c11 = plus(c11, a1, b1);
      let a2 = tile_a[at + 2u * step];
      c20 = plus(c20, a2, b0);
      c21 = plus(c21, a2, b1);
      let a3 = tile_a[at + 3u * step];
      c30 = plus(c30, a3, b0);
      c31 = plus(c31, a3, b1);
      let a4 = tile_a[at + 4u * step];
      c40 = plus(c40, a4, b0);
      c41 = plus(c41, a4, b1);
      let a5 = tile_a[at + 5u * step];
      c50 = plus(c50, a5, b0);
      c51 = plus(c51, a5, b1);
      let a6 = tile_a[at + 6u * step];
      c60 = plus(c60, a6, b0);
      c61 = plus(c61, a6, b1);
      let a7 = tile_a[at + 7u * step];
      c70 = plus(c70, a7, b0);
      c71 = plus(c71, a7, b1);
    }
    workgroupBarrier();
  }

  let row = m0 + ty;
  write_row(work, row, tx, c00, c01);
  write_row(work, row + step, tx, c10, c11);
  write_row(work, row + 2u * step, tx, c20, c21);
  write_row(work, row + 3u * step, tx, c30, c31);
  write_row(work, row + 4u * step, tx, c40, c41);
  write_row(work, row + 5u * step, tx, c50, c51);
  write_row(work, row + 6u * step, tx, c60, c61);
  write_row(work, row + 7u * step, tx, c70, c71);
}
