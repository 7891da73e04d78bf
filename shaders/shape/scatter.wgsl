//#include "lib/grid.wgsl"

// Adds g into the elements of d that an index picks, in a fixed order: the gradient of an indexed read.
// A line is what one coordinate off the indexed axis selects: `terms` elements of g and of the index, `size` elements of d.
// Two ways, chosen by the plan:
//   lines   one thread adds a whole line, term after term; d holds zeros before
//   lists   fill, link and collect: every element of d gets the list of its terms, and one thread adds them up
// `sizes` and the strides belong to the walk of the entry point that runs; picks out of range were reported by the forward pass.
struct Params {
  // Threads of this entry point.
  count: u32,
  axes: u32,
  terms: u32,
  size: u32,
  // Distance of neighbouring terms in g and in the index, and of neighbouring elements of a line in d.
  g_step: u32,
  index_step: u32,
  d_step: u32,
  sizes: array<vec4<u32>, 2>,
  g_strides: array<vec4<u32>, 2>,
  index_strides: array<vec4<u32>, 2>,
  d_strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> d: array<f32>;
// First term of each element's list, [lists, size], and the term after each term, [lists, terms]; `terms` ends a list.
@group(0) @binding(4) var<storage, read_write> heads: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> nexts: array<u32>;

// Offsets into g, the index and d.
fn offsets(number: u32) -> vec3u {
  var rest = number;
  var result = vec3u(0u);
  for (var k = params.axes; k > 0u; k--) {
    let axis = k - 1u;
    let size = params.sizes[axis / 4u][axis % 4u];
    let step = rest % size;
    rest = rest / size;
    result += step * vec3u(params.g_strides[axis / 4u][axis % 4u], params.index_strides[axis / 4u][axis % 4u], params.d_strides[axis / 4u][axis % 4u]);
  }
  return result;
}

// One thread, one line.
@compute @workgroup_size(64)
fn lines(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let at = offsets(i);
  for (var term = 0u; term < params.terms; term++) {
    let picked = index[at.y + term * params.index_step];
    if (picked < params.size) { d[at.z + picked * params.d_step] += g[at.x + term * params.g_step]; }
  }
}

// One thread empties one list.
@compute @workgroup_size(256)
fn fill(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i < params.count) { atomicStore(&heads[i], params.terms); }
}

// One thread puts one term in its list: it finds the next term with the same pick. Threads are numbered [lists, terms].
// The least term wins the head, so the lists do not depend on which thread comes first.
@compute @workgroup_size(64)
fn link(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let list = i / params.terms;
  let term = i % params.terms;
  let at = offsets(list).y;
  let picked = index[at + term * params.index_step];
  if (picked >= params.size) { return; }
  atomicMin(&heads[list * params.size + picked], term);
  var next = term + 1u;
  while (next < params.terms && index[at + next * params.index_step] != picked) { next++; }
  nexts[i] = next;
}

// One thread adds up the list of one element of d. The walk goes over the elements; its index strides lead into `heads`.
@compute @workgroup_size(256)
fn collect(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let at = offsets(i);
  let first = at.y / params.size * params.terms;
  var term = atomicLoad(&heads[at.y]);
  var total = 0.0;
  while (term < params.terms) {
    total += g[at.x + term * params.g_step];
    term = nexts[first + term];
  }
  d[at.z] = total;
}
