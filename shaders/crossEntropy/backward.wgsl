//#include "lib/grid.wgsl"
//#include "lib/exponentials.wgsl"

// dlogits = scale · g · (softmax(logits) - target). One thread computes one element.
//   g: [batch] when PER_ROW, else []   logits, dlogits: [batch, classes] as words   labels: [batch]
//   statistics: [batch, 2], the largest logit of a row and Σ exp(logit - largest), NaN for rows without a softmax
override PER_ROW: u32;

struct Params {
  count: u32,
  classes: u32,
  scale: f32,
  smoothing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<storage, read> labels: array<i32>;
@group(0) @binding(4) var<storage, read> statistics: array<u32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let row = i / params.classes;
  let class_index = i - row * params.classes;
  let label = labels[row];
  let total = statistics[2u * row + 1u];
  if (!is_finite_word(total) || label < 0 || label >= i32(params.classes)) {
    dlogits[i] = NAN_WORD;
    return;
  }
  var share = 0.0;
  let word = logits[i];
  if (is_finite_word(word)) { share = decay(bitcast<f32>(word), bitcast<f32>(statistics[2u * row])) / bitcast<f32>(total); }
  let target_share = select(0.0, 1.0 - params.smoothing, class_index == u32(label)) + params.smoothing / f32(params.classes);
  dlogits[i] = bitcast<u32>(params.scale * g[select(0u, row, PER_ROW == 1u)] * (share - target_share));
}
