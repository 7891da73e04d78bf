//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/exponentials.wgsl"

// loss = log Σ exp(row) - row[label] for every row of logits; LANES threads share a row, so a workgroup takes 256 / LANES rows at a time.
//   logits: [batch, classes] as words   labels: [batch]   statistics: [batch, 2], the largest logit and Σ exp(logit - largest)
//   row_loss: [batch]   loss: []
// `rows` writes row_loss, and `total` reduces that with one workgroup; for little work one workgroup of `whole` does both.
// A row with NaN, +inf or nothing but -inf has loss NaN, and a NaN sum, which tells the backward pass.
override LANES: u32; // a power of two up to 256
override SMOOTH: u32;

struct Params {
  batch: u32,
  classes: u32,
  scale: f32, // of the sum over the batch
  smoothing: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<u32>;
@group(0) @binding(4) var<storage, read_write> row_loss: array<u32>;
@group(0) @binding(5) var<storage, read_write> loss: array<u32>;
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>, 2>;

var<workgroup> sums: array<Exponentials, 256>;
var<workgroup> plain_sums: array<f32, 256>;

// The loss of one row as a word, right for the row's first thread.
fn row_word(row: u32, thread: u32) -> u32 {
  let lane = thread % LANES;
  var own = no_exponentials();
  var plain = 0.0;
  if (row < params.batch) {
    for (var c = lane; c < params.classes; c += LANES) {
      let word = logits[row * params.classes + c];
      own = with_word(own, word);
      if (SMOOTH == 1u) { plain += bitcast<f32>(word); }
    }
  }
  workgroupBarrier();
  sums[thread] = own;
  plain_sums[thread] = plain;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      sums[thread] = with_exponentials(sums[thread], sums[thread + half]);
      plain_sums[thread] += plain_sums[thread + half];
    }
  }
  if (lane != 0u || row >= params.batch) { return 0u; }
  let all = sums[thread];
  let broken = all.broken != 0u || all.total == 0.0;
  statistics[2u * row] = bitcast<u32>(all.most);
  statistics[2u * row + 1u] = select(bitcast<u32>(all.total), NAN_WORD, broken);
  let label = labels[row];
  if (label < 0 || label >= i32(params.classes)) {
    report_fault_i32(params.fault, label);
    return NAN_WORD;
  }
  if (broken) { return NAN_WORD; }
  let logs = log(all.total);
  var result = (all.most - bitcast<f32>(logits[row * params.classes + u32(label)])) + logs;
  if (SMOOTH == 1u) {
    let even = (all.most - plain_sums[thread] / f32(params.classes)) + logs;
    result = (1.0 - params.smoothing) * result + params.smoothing * even;
  }
  return bitcast<u32>(result);
}

@compute @workgroup_size(256)
fn rows(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = linear_workgroup(group, groups) * (256u / LANES) + thread / LANES;
  let word = row_word(row, thread);
  if (thread % LANES == 0u && row < params.batch) { row_loss[row] = word; }
}

// A sum over rows, apart from whether one of them was NaN.
struct Total {
  sum: f32,
  broken: u32,
}

var<workgroup> totals: array<Total, 256>;

fn with_loss(total: Total, word: u32) -> Total {
  if ((word & 0x7fffffffu) > INFINITY_WORD) { return Total(total.sum, 1u); }
  return Total(total.sum + bitcast<f32>(word), total.broken);
}

fn write_total(own: Total, thread: u32) {
  totals[thread] = own;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      totals[thread] = Total(totals[thread].sum + totals[thread + half].sum, totals[thread].broken | totals[thread + half].broken);
    }
  }
  if (thread == 0u) { loss[0] = select(bitcast<u32>(totals[0].sum * params.scale), NAN_WORD, totals[0].broken != 0u); }
}

@compute @workgroup_size(256)
fn total(@builtin(local_invocation_index) thread: u32) {
  var own = Total(0.0, 0u);
  for (var row = thread; row < params.batch; row += 256u) { own = with_loss(own, row_loss[row]); }
  // The scale of an empty mean is 0; the mean itself is NaN.
  if (params.batch == 0u && params.scale == 0.0) { own.broken = 1u; }
  write_total(own, thread);
}

@compute @workgroup_size(256)
fn whole(@builtin(local_invocation_index) thread: u32) {
  var own = Total(0.0, 0u);
  for (var first = 0u; first < params.batch; first += 256u / LANES) { own = with_loss(own, row_word(first + thread / LANES, thread)); }
  if (params.batch == 0u && params.scale == 0.0) { own.broken = 1u; }
  write_total(own, thread);
}
