//#include "lib/grid.wgsl"
//#include "lib/ballot.wgsl"

// dpoints: every edge of a tree pulls its two ends apart along the gradient of its length. `lanes` threads share a point, a coordinate each; a workgroup
// looks through the edges of its points' clouds, 256 at a time, and adds up in the order of the edges.
//   g, deaths, partners, coordinates: one place per point when labelled, else per point but the first of each cloud
//   points, dpoints: [count, width]

struct Params {
  count: u32,
  size: u32,
  width: u32,
  lanes: u32,  // a power of two up to 256
  blocks: u32, // of `lanes` coordinates
  labelled: u32,
  metric: u32, // 0: l1, 1: l2, 2: linf
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> points: array<f32>;
@group(0) @binding(3) var<storage, read> deaths: array<f32>;
@group(0) @binding(4) var<storage, read> partners: array<i32>;
@group(0) @binding(5) var<storage, read> coordinates: array<i32>;
@group(0) @binding(6) var<storage, read_write> dpoints: array<f32>;

// An edge: the point whose death time it is, the one it hangs on, its cotangent (over its length for "l2"), and the coordinate for "linf".
struct Edge {
  child: u32,
  parent: u32,
  weight: f32,
  coordinate: u32,
}

var<workgroup> edges: array<Edge, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let work = linear_workgroup(group, groups);
  let points_here = 256u / params.lanes;
  let stretch = work % params.blocks;
  let first = work / params.blocks * points_here;
  if (first >= params.count) { return; }
  let last = min(first + points_here, params.count) - 1u;
  let point = first + lane / params.lanes;
  let k = stretch * params.lanes + lane % params.lanes;
  let used = point < params.count && k < params.width;
  var own = 0.0;
  if (used) { own = points[point * params.width + k]; }

  let begin = select(first / params.size * params.size, 0u, params.labelled == 1u);
  let end = select((last / params.size + 1u) * params.size, params.count, params.labelled == 1u);
  var sum = 0.0;
  for (var base = begin; base < end; base += 256u) {
    // The edges before have been looked at by all.
    workgroupBarrier();
    let child = base + lane;
    let cloud = child / params.size;
    var touches = false;
    if (child < end && (params.labelled == 1u || child != cloud * params.size)) {
      let place = select(child - cloud - 1u, child, params.labelled == 1u);
      let partner = partners[place];
      if (partner >= 0 && u32(partner) < params.size) {
        let parent = u32(partner) + select(cloud * params.size, 0u, params.labelled == 1u);
        touches = (child >= first && child <= last) || (parent >= first && parent <= last);
        var weight = g[place];
        if (params.metric == 1u) { weight = select(weight / deaths[place], 0.0, deaths[place] == 0.0); }
        var coordinate = 0u;
        if (params.metric == 2u) { coordinate = u32(coordinates[place]); }
        edges[lane] = Edge(child, parent, weight, coordinate);
      }
    }
    vote(lane, touches);
    if (used) {
      for (var word = 0u; word < 8u; word++) {
        var bits = atomicLoad(&ballot[word]);
        while (bits != 0u) {
          let edge = edges[32u * word + firstTrailingBit(bits)];
          bits &= bits - 1u;
          if (point != edge.child && point != edge.parent) { continue; }
          let other = select(edge.child, edge.parent, point == edge.child);
          var slope = own - points[other * params.width + k];
          if (params.metric != 1u) { slope = sign(slope); }
          if (params.metric == 2u && k != edge.coordinate) { slope = 0.0; }
          sum += edge.weight * slope;
        }
      }
    }
  }
  if (used) { dpoints[point * params.width + k] = sum; }
}
