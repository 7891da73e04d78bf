//#include "lib/grid.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/tiny.wgsl"
//#include "lib/tiny-backward.wgsl"

// Gradients through y = P · streams, with the division of work of streams.wgsl. First threads compute P; then all threads walk along the
// features, which gives d streams = Pᵀ · gradient and, added up over a team, dP = gradient · streamsᵀ; then the first threads walk back from dP.
//   gradient: [count, n, width]   streams, dstreams: [count, m, width]   dlogits: [count, n, m]   parameters: [count, numbers]
struct Params {
  count: u32,
  n: u32,
  m: u32,
  iterations: u32,
  has_scale: u32,
  scale_step: u32,
  has_bias: u32,
  bias_step: u32,
  width: u32,
  matrices: u32,
  team: u32,
  streams_gradient: u32,
  logits_gradient: u32,
  scale_gradient: u32,
  bias_gradient: u32,
  kept: u32,
  history: u32,
  temperature: f32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read> streams: array<f32>;
@group(0) @binding(5) var<storage, read> gradient: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(7) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(8) var<storage, read_write> dstreams: array<f32>;

// Matrices from 0 on; from `history` on what the threads of a team add up, and later the divisors.
const WORDS: u32 = 4096u;
var<workgroup> words: array<f32, WORDS>;

// dP of one matrix, as one thread saw it.
var<private> partial: Tile;

fn on_broken(word: u32) {}

// Adds up 16 numbers of `partial`, from quad `quad` on, over the team's threads, and puts them where P was.
fn add_up(quad: u32, slot: u32, live: bool, lane: u32) {
  let member = lane % params.team;
  let mine = params.history + lane;
  for (var e = 0u; e < 16u; e++) { words[mine + e * THREADS] = partial[quad + e / 4u][e % 4u]; }
  for (var half = params.team / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (member < half) {
      for (var e = 0u; e < 16u; e++) { words[mine + e * THREADS] += words[mine + e * THREADS + half]; }
    }
  }
  workgroupBarrier();
  if (live) {
    for (var e = member; e < 16u; e += params.team) { words[slot * stride() + 4u * quad + e] = words[mine - member + e * THREADS]; }
  }
  workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = linear_workgroup(group, groups) * params.matrices;
  let here = min(params.matrices, params.count - min(first, params.count));
  let through_p = params.logits_gradient + params.scale_gradient + params.bias_gradient > 0u;
  if (params.streams_gradient == 1u) {
    stage_logits(first, here, lane);
    workgroupBarrier();
    if (lane < here) {
      load_softmax(lane, here);
      normalise(params.iterations);
      share_matrix(lane);
    }
    workgroupBarrier();
  }

  let teams = THREADS / params.team;
  for (var turn = 0u; turn < params.matrices; turn += teams) {
    let slot = turn + lane / params.team;
    let live = slot < here;
    partial = Tile();
    if (live) {
      let weights = shared_matrix(slot);
      for (var k = lane % params.team; k < params.width; k += params.team) {
        var v = Strip();
        for (var j = 0u; j < TILE; j++) {
          if (j < params.m && through_p) { v[j / 4u][j % 4u] = streams[((first + slot) * params.m + j) * params.width + k]; }
        }
        var dv = Strip();
        for (var i = 0u; i < TILE; i++) {
          if (i < params.n) {
            let dy = gradient[((first + slot) * params.n + i) * params.width + k];
            for (var h = 0u; h < TILE / 4u; h++) {
              partial[i * (TILE / 4u) + h] += dy * v[h];
              dv[h] += dy * weights[i * (TILE / 4u) + h];
            }
          }
        }
        for (var j = 0u; j < TILE; j++) {
          if (j < params.m && params.streams_gradient == 1u) {
            dstreams[((first + slot) * params.m + j) * params.width + k] = dv[j / 4u][j % 4u];
          }
        }
      }
    }
    if (through_p) {
      for (var quad = 0u; quad < TILE * TILE / 4u; quad += 4u) { add_up(quad, slot, live, lane); }
    }
  }
  if (!through_p) { return; }

  if (lane < here) { g = shared_matrix(lane); }
  workgroupBarrier();
  stage_logits(first, here, lane);
  workgroupBarrier();
  if (lane < here) {
    load_softmax(lane, here);
    walk_back(lane);
  }
  write_gradients(first, here, lane);
}
