//#include "lib/grid.wgsl"

// A convolution, its data gradient and its weight gradient as one matrix product C = A·B per group, whose operand B is
// gathered from the image while it is staged: no im2col buffer. MODE says what the rows, columns and terms are:
//
//            rows of C     columns of C               terms of the sum             A     image
//   FORWARD  features      batch × output pixels      channels × kernel            w     x
//   DATA     channels      batch × input pixels       features × kernel            w     dy
//   WEIGHT   features      channels × kernel          batch × output pixels        dy    x
//
// Every element of B is image[base + channel plane, row + row', column + column'] or 0 outside of the image: unprimed
// numbers belong to its column, primed ones to its term. DATA with a stride is cut into stride × stride phases, the result
// pixels of one remainder: they share the taps that hit them, so no term is a structural zero.
//
// `tiled`: a workgroup computes TM × 64 elements of C, a thread 4 × 4 of them; WEIGHT may split the terms, each split
// writes its own copy of C. `direct`: a thread computes one element of the result (FORWARD and DATA), for few rows.
//   a, image, bias, result: [elements of the tensors named above]
// TM must be a multiple of 4, at most 64, and THREADS = 4·TM.
override MODE: u32;
override TM: u32 = 64u;
override THREADS: u32 = 256u;
override BIAS: bool = false;

const FORWARD: u32 = 0u;
const DATA: u32 = 1u;
const WEIGHT: u32 = 2u;

const TN: u32 = 64u;
const TERMS: u32 = 16u;
// Far outside of any image, whatever is added.
const OUTSIDE: i32 = -536870912;

struct Params {
  // Batch, groups, rows of C per group, channels of the image per group.
  counts: vec4u,
  // Height and width of the image, then of the planes of the result (WEIGHT: of dy).
  planes: vec4u,
  // Height and width of the kernel, then the distance between the taps that one phase of DATA uses.
  kernel: vec4u,
  // Stride, then dilation.
  steps: vec4u,
  // Padding at the top and at the left.
  start: vec4u,
  // Workgroups along the rows and columns of C; then phases in all and along a row (DATA), or splits and terms per split.
  tiles: vec4u,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> image: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

// One axis of a phase: result pixel `phase + i·spacing` reads image pixel `origin + i·step + t·delta` through kernel tap
// `first + t·tap_step`, for t < taps.
struct Axis {
  pixels: u32,
  spacing: u32,
  origin: i32,
  step: i32,
  taps: u32,
  first: u32,
  tap_step: u32,
  delta: i32,
}

fn axis(k: u32, phase: u32) -> Axis {
  let stride = params.steps[k];
  let dilation = params.steps[k + 2u];
  let start = i32(params.start[k]);
  let kernel = params.kernel[k];
  if (MODE != DATA) { return Axis(params.planes[k + 2u], 1u, -start, i32(stride), kernel, 0u, 1u, i32(dilation)); }
  let step = params.kernel[k + 2u];
  var first = 0u;
  while (first < kernel && (i32(phase) + start - i32(first * dilation)) % i32(stride) != 0) { first++; }
  let taps = (kernel - first + step - 1u) / step;
  let size = params.planes[k + 2u];
  let pixels = select(0u, (size - min(phase, size) + stride - 1u) / stride, size > phase);
  let origin = (i32(phase) + start - i32(first * dilation)) / i32(stride);
  return Axis(pixels, stride, origin, 1, taps, first, step, -i32(step * dilation / stride));
}

fn inside(row: i32, column: i32) -> bool {
  return row >= 0 && column >= 0 && row < i32(params.planes.x) && column < i32(params.planes.y);
}

var<workgroup> tile_a: array<f32, (TM + 1u) * TERMS>;
var<workgroup> tile_b: array<f32, (TN + 1u) * TERMS>;
// Per column of C: base offset into the image, row, column, and offset of the result in its plane stack.
var<workgroup> column_base: array<u32, TN>;
var<workgroup> column_row: array<i32, TN>;
var<workgroup> column_column: array<i32, TN>;
var<workgroup> column_result: array<u32, TN>;
// Per term, for the chunk at hand and the next one: offsets into the image and into A, row and column.
var<workgroup> term_base: array<u32, 2u * TERMS>;
var<workgroup> term_row: array<i32, 2u * TERMS>;
var<workgroup> term_column: array<i32, 2u * TERMS>;
var<workgroup> term_a: array<u32, 2u * TERMS>;

fn set_column(slot: u32, n: u32, group: u32, phase: vec2u, vertical: Axis, horizontal: Axis) {
  let channels = params.counts.w;
  let plane = params.planes.x * params.planes.y;
  column_row[slot] = OUTSIDE;
  column_column[slot] = OUTSIDE;
  column_base[slot] = 0u;
  column_result[slot] = n;
  if (MODE == WEIGHT) {
    let v = n % params.kernel.y;
    let u = n / params.kernel.y % params.kernel.x;
    let c = n / (params.kernel.x * params.kernel.y);
    if (c < channels) {
      column_base[slot] = c * plane;
      column_row[slot] = i32(u * params.steps.z) - i32(params.start.x);
      column_column[slot] = i32(v * params.steps.w) - i32(params.start.y);
    }
    return;
  }
  let area = max(1u, vertical.pixels * horizontal.pixels);
  let b = n / area;
  if (vertical.pixels * horizontal.pixels == 0u || b >= params.counts.x) { return; }
  let i = n % area / horizontal.pixels;
  let j = n % horizontal.pixels;
  column_base[slot] = (b * params.counts.y + group) * channels * plane;
  column_row[slot] = vertical.origin + i32(i) * vertical.step;
  column_column[slot] = horizontal.origin + i32(j) * horizontal.step;
  let row = phase.x + i * vertical.spacing;
  let column = phase.y + j * horizontal.spacing;
  column_result[slot] = (b * params.counts.y + group) * params.counts.z * params.planes.z * params.planes.w + row * params.planes.w + column;
}

fn set_term(slot: u32, k: u32, end: u32, group: u32, vertical: Axis, horizontal: Axis) {
  let plane = params.planes.x * params.planes.y;
  term_row[slot] = OUTSIDE;
  term_column[slot] = OUTSIDE;
  term_base[slot] = 0u;
  term_a[slot] = 0u;
  if (k >= end) { return; }
  if (MODE == WEIGHT) {
    let j = k % params.planes.w;
    let i = k / params.planes.w % params.planes.z;
    let b = k / (params.planes.z * params.planes.w);
    term_base[slot] = (b * params.counts.y + group) * params.counts.w * plane;
    term_row[slot] = i32(i * params.steps.x);
    term_column[slot] = i32(j * params.steps.y);
    term_a[slot] = ((b * params.counts.y + group) * params.counts.z * params.planes.z + i) * params.planes.w + j;
    return;
  }
  let v = k % horizontal.taps;
  let u = k / horizontal.taps % vertical.taps;
  let c = k / (horizontal.taps * vertical.taps);
  term_base[slot] = c * plane;
  term_row[slot] = i32(u) * vertical.delta;
  term_column[slot] = i32(v) * horizontal.delta;
  let tap = (vertical.first + u * vertical.tap_step) * params.kernel.y + horizontal.first + v * horizontal.tap_step;
  let area = params.kernel.x * params.kernel.y;
  if (MODE == FORWARD) {
    term_a[slot] = (group * params.counts.z * params.counts.w + c) * area + tap;
  } else {
    term_a[slot] = (group * params.counts.w + c) * params.counts.z * area + tap;
  }
}

@compute @workgroup_size(THREADS)
fn tiled(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let rows = params.counts.z;
  var rest = linear_workgroup(id, counts);
  let n0 = rest % params.tiles.y * TN;
  rest = rest / params.tiles.y;
  let m0 = rest % params.tiles.x * TM;
  rest = rest / params.tiles.x;
  let group = rest % params.counts.y;
  // Phase of DATA, split of WEIGHT.
  let part = rest / params.counts.y;
  let phase = select(vec2u(0u), vec2u(part / params.tiles.w, part % params.tiles.w), MODE == DATA);
  if (part >= params.tiles.z) { return; }
  let vertical = axis(0u, phase.x);
  let horizontal = axis(1u, phase.y);

  var k = 0u;
  var end = params.counts.w * vertical.taps * horizontal.taps;
  // Distance of two rows of A.
  var pitch = params.kernel.x * params.kernel.y;
  if (MODE == FORWARD) { pitch *= params.counts.w; }
  if (MODE == WEIGHT) {
    pitch = params.planes.z * params.planes.w;
    k = part * params.tiles.w;
    end = min(k + params.tiles.w, params.counts.x * pitch);
  }

  for (var slot = lane; slot < TN; slot += THREADS) { set_column(slot, n0 + slot, group, phase, vertical, horizontal); }
  if (lane < TERMS) { set_term(lane, k + lane, end, group, vertical, horizontal); }
  workgroupBarrier();

  var acc0 = vec4f();
  var acc1 = vec4f();
  var acc2 = vec4f();
  var acc3 = vec4f();
  let tx = lane % 16u;
  let ty = lane / 16u * 4u;
  var current = 0u;
  for (; k < end; k += TERMS) {
    for (var e = lane; e < TM * TERMS; e += THREADS) {
      let t = e % TERMS;
      let m = e / TERMS;
      var value = 0.0;
      if (k + t < end && m0 + m < rows) { value = a[term_a[current + t] + (m0 + m) * pitch]; }
      tile_a[t * (TM + 1u) + m] = value;
    }
    for (var e = lane; e < TN * TERMS; e += THREADS) {
      // Neighbouring threads read neighbouring pixels.
      let t = select(e / TN, e % TERMS, MODE == WEIGHT);
      let n = select(e % TN, e / TERMS, MODE == WEIGHT);
      let row = column_row[n] + term_row[current + t];
      let column = column_column[n] + term_column[current + t];
      var value = 0.0;
      if (inside(row, column)) { value = image[column_base[n] + term_base[current + t] + u32(row) * params.planes.y + u32(column)]; }
      tile_b[t * (TN + 1u) + n] = value;
    }
    workgroupBarrier();
    current = TERMS - current;
    if (lane < TERMS) { set_term(current + lane, k + TERMS + lane, end, group, vertical, horizontal); }
    for (var t = 0u; t < TERMS; t++) {
      let at = t * (TM + 1u) + ty;
      let bt = t * (TN + 1u) + tx;
      let b = vec4f(tile_b[bt], tile_b[bt + 16u], tile_b[bt + 32u], tile_b[bt + 48u]);
      acc0 += tile_a[at] * b;
      acc1 += tile_a[at + 1u] * b;
      acc2 += tile_a[at + 2u] * b;
      acc3 += tile_a[at + 3u] * b;
    }
    workgroupBarrier();
  }

  let acc = array<vec4f, 4>(acc0, acc1, acc2, acc3);
  let columns = params.counts.w * params.kernel.x * params.kernel.y;
  for (var j = 0u; j < 4u; j++) {
    let slot = tx + 16u * j;
    for (var i = 0u; i < 4u; i++) {
      let m = m0 + ty + i;
      if (m >= rows || column_row[slot] == OUTSIDE) { continue; }
      if (MODE == WEIGHT) {
        result[((part * params.counts.y + group) * rows + m) * columns + n0 + slot] = acc[i][j];
      } else {
        var value = acc[i][j];
        if (BIAS) { value += bias[group * rows + m]; }
        result[column_result[slot] + m * params.planes.z * params.planes.w] = value;
      }
    }
  }
}

@compute @workgroup_size(256)
fn direct(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) lane: u32) {
  let area = params.planes.z * params.planes.w;
  let all = params.counts.y * params.counts.z;
  let index = linear_workgroup(id, counts) * 256u + lane;
  if (index >= params.counts.x * all * area) { return; }
  let column = index % params.planes.w;
  let row = index / params.planes.w % params.planes.z;
  let m = index / area % all;
  let group = m / params.counts.z;
  let b = index / area / all;
  let phase = select(vec2u(0u), vec2u(row, column) % params.steps.xy, MODE == DATA);
  let vertical = axis(0u, phase.x);
  let horizontal = axis(1u, phase.y);
  let top = vertical.origin + i32((row - phase.x) / vertical.spacing) * vertical.step;
  let left = horizontal.origin + i32((column - phase.y) / horizontal.spacing) * horizontal.step;
  let kernel = params.kernel.x * params.kernel.y;
  let channels = params.counts.w;
  var sum = 0.0;
  for (var c = 0u; c < channels; c++) {
    let plane = ((b * params.counts.y + group) * channels + c) * params.planes.x * params.planes.y;
    var weights = (m * channels + c) * kernel;
    if (MODE == DATA) { weights = ((group * channels + c) * params.counts.z + m % params.counts.z) * kernel; }
    for (var u = 0u; u < vertical.taps; u++) {
      let y = top + i32(u) * vertical.delta;
      let taps = weights + (vertical.first + u * vertical.tap_step) * params.kernel.y + horizontal.first;
      for (var v = 0u; v < horizontal.taps; v++) {
        let x = left + i32(v) * horizontal.delta;
        if (inside(y, x)) { sum += image[plane + u32(y) * params.planes.y + u32(x)] * a[taps + v * horizontal.tap_step]; }
      }
    }
  }
  if (BIAS) { sum += bias[m]; }
  result[index] = sum;
}
