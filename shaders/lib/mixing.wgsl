// Products of the matrices of lib/tiny.wgsl with streams. A matrix passes through workgroup memory to a team of neighbouring threads, which walk along
// the features, four at a time: numbers of a vector are features that lie `team` apart, so that neighbours read and write neighbouring words.
// The including file declares
//   var<storage, read> streams: array<f32>;       [count, m, width]
//   fn write_feature(at: u32, value: f32)         writes a number of the result
// and in `Params` width and team (u32).

// The matrix of this thread's team.
var<private> weights: Tile;

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

fn write_stream(start: u32, features: vec4u, values: vec4f) {
  if (features.x < params.width) { write_feature(start + features.x, values.x); }
  if (features.y < params.width) { write_feature(start + features.y, values.y); }
  if (features.z < params.width) { write_feature(start + features.z, values.z); }
  if (features.w < params.width) { write_feature(start + features.w, values.w); }
}
// Streams i … i + 3 of a matrix that has `count`.
fn write_streams(matrix: u32, count: u32, i: u32, features: vec4u, values: mat4x4f) {
  let start = streams_from(matrix, count, i);
  if (i < count) { write_stream(start.x, features, values[0]); }
  if (i + 1u < count) { write_stream(start.y, features, values[1]); }
  if (i + 2u < count) { write_stream(start.z, features, values[2]); }
  if (i + 3u < count) { write_stream(start.w, features, values[3]); }
}
