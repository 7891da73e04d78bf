// Which taps of a convolution's kernel reach which pixels, along three axes. Shapes are vec3u: depth, height, width.
override MODE: u32;

const FORWARD: u32 = 0u;
const DATA: u32 = 1u;
const WEIGHT: u32 = 2u;

struct Params {
  // Batch, groups, rows of the product per group, channels of the image per group. Rows are channels of the result, or features (WEIGHT).
  counts: vec4u,
  // Of the image; of the planes of the result (WEIGHT: of dy); of the kernel. As all vectors below: xyz.
  size: vec4u,
  planes: vec4u,
  kernel: vec4u,
  stride: vec4u,
  dilation: vec4u,
  // Padding before the image.
  start: vec4u,
  // Distance between the taps that one phase of DATA uses, and the number of phases: 1 otherwise.
  tap_step: vec4u,
  phases: vec4u,
  // Workgroups along the rows and columns of the product; then phases in all (DATA), or splits and terms per split (WEIGHT).
  tiles: vec4u,
  // Whether a and the image are read four at a time, and whether there is a bias.
  quads: vec4u,
}

fn volume(size: vec3u) -> u32 { return size.x * size.y * size.z; }
fn flat(at: vec3u, size: vec3u) -> u32 { return (at.x * size.y + at.y) * size.z + at.z; }
// Undoes flat(), w being what lies beyond the first axis. An axis of size 0 has no positions: any answer will do.
fn split(index: u32, shape: vec3u) -> vec4u {
  let size = max(shape, vec3u(1u));
  let row = index / size.z;
  let plane = row / size.y;
  return vec4u(plane % size.x, row % size.y, index % size.z, plane / size.x);
}

// Result pixel `index + i·spacing` reads image pixel `origin + i·step + t·delta` through kernel tap `first + t·tap_step`, for i < pixels and
// t < taps. DATA with a stride has stride × stride phases, the result pixels of one remainder: they share the taps that reach them, so that no
// term is a structural zero.
struct Phase {
  index: vec3u,
  pixels: vec3u,
  spacing: vec3u,
  origin: vec3i,
  step: vec3i,
  taps: vec3u,
  first: vec3u,
  delta: vec3i,
}

// The first tap whose distance from the pixels of a phase the stride divides, or the kernel's size.
fn first_tap(remainder: i32, kernel: u32, stride: u32, dilation: u32) -> u32 {
  var first = 0u;
  while (first < kernel && (remainder - i32(first * dilation)) % i32(stride) != 0) { first++; }
  return first;
}

fn phase(index: vec3u) -> Phase {
  let stride = params.stride.xyz;
  let dilation = params.dilation.xyz;
  let start = vec3i(params.start.xyz);
  let kernel = params.kernel.xyz;
  let planes = params.planes.xyz;
  if (MODE != DATA) { return Phase(vec3u(), planes, vec3u(1u), -start, vec3i(stride), kernel, vec3u(), vec3i(dilation)); }
  let remainder = vec3i(index) + start;
  let first = vec3u(
    first_tap(remainder.x, kernel.x, stride.x, dilation.x),
    first_tap(remainder.y, kernel.y, stride.y, dilation.y),
    first_tap(remainder.z, kernel.z, stride.z, dilation.z));
  let step = params.tap_step.xyz;
  let pixels = (planes - min(index, planes) + stride - 1u) / stride;
  let origin = (remainder - vec3i(first * dilation)) / vec3i(stride);
  return Phase(index, pixels, stride, origin, vec3i(1), (kernel - first + step - 1u) / step, first, -vec3i(step * dilation / stride));
}
