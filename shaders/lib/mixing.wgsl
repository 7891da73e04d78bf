// Products of the matrices of lib/tiny.wgsl with streams. A matrix passes through workgroup memory to a team of neighbouring threads, which walk along
// the features, four at a time: numbers of a vector are features that lie `team` apart, so that neighbours read and write neighbouring words.
// The including file declares
//   var<storage, read> streams: array<f32>;       [count, m, width]
// and in `Params` width and team (u32).

// The matrix of this thread's team.
var<private> weights: Tile;

// Element (i, j) in `slot`: matrices to be shared have TILE · TILE words each.
fn shared_places(slot: u32, i: u32, j: u32) -> vec4u { return four((slot * TILE + i) * TILE + j); }
fn share_block(slot: u32, i: u32, j: u32, a: mat4x4f) {
  put_words(shared_places(slot, i, j), bitcast<vec4u>(a[0]));
  put_words(shared_places(slot, i + 1u, j), bitcast<vec4u>(a[1]));
  put_words(shared_places(slot, i + 2u, j), bitcast<vec4u>(a[2]));
  put_words(shared_places(slot, i + 3u, j), bitcast<vec4u>(a[3]));
}
fn share_matrix(slot: u32, tile: ptr<private, Tile>) {
  share_block(slot, 0u, 0u, (*tile)[0]);
  if (TILE > 4u) {
    share_block(slot, 0u, 4u, (*tile)[1]);
    share_block(slot, 4u, 0u, (*tile)[2]);
    share_block(slot, 4u, 4u, (*tile)[3]);
  }
}
fn shared_quad(slot: u32, i: u32, j: u32) -> vec4f {
  return select(vec4f(), bitcast<vec4f>(words_at(shared_places(slot, i, j))), are_inside(i, j));
}
fn shared_block(slot: u32, i: u32, j: u32) -> mat4x4f {
  return mat4x4f(shared_quad(slot, i, j), shared_quad(slot, i + 1u, j), shared_quad(slot, i + 2u, j), shared_quad(slot, i + 3u, j));
}
fn load_shared(slot: u32, tile: ptr<private, Tile>) {
  (*tile)[0] = shared_block(slot, 0u, 0u);
  if (TILE > 4u) {
    (*tile)[1] = shared_block(slot, 0u, 4u);
    (*tile)[2] = shared_block(slot, 4u, 0u);
    (*tile)[3] = shared_block(slot, 4u, 4u);
  }
}

fn features_from(k: u32) -> vec4u { return vec4u(k, k + params.team, k + 2u * params.team, k + 3u * params.team); }
// Where `count` streams of a matrix begin, from its stream i on; those beyond the last are moved to it.
fn streams_from(matrix: u32, count: u32, i: u32) -> vec4u { return (vec4u(matrix * count) + min(four(i), vec4u(count - 1u))) * params.width; }

fn features_at(at: vec4u) -> vec4f { return vec4f(streams[at.x], streams[at.y], streams[at.z], streams[at.w]); }
// Streams j … j + 3; features beyond the last are moved to it.
fn streams_of(matrix: u32, j: u32, features: vec4u) -> mat4x4f {
  let start = streams_from(matrix, params.m, j);
  let at = min(features, vec4u(params.width - 1u));
  return mat4x4f(features_at(start.x + at), features_at(start.y + at), features_at(start.z + at), features_at(start.w + at));
}
