// From d(loss)/dP back to the operands of lib/tiny.wgsl, which the including file includes too. Nothing was kept by the forward pass: the
// divisors of `kept` iterations at a time are computed again, from the start, and then walked backwards, the last ones first.
// The including file declares
//   var<storage, read_write> dlogits: array<f32>, parameters: array<f32>;
// and in `Params` iterations, kept, history (place of the divisors in `words`), logits_gradient, scale_gradient and bias_gradient (u32).

// d(loss)/dx, in step with x.
var<private> g: Tile;
var<private> softmax: Tile;

fn place_of(slot: u32, k: u32, lane: u32) -> u32 { return params.history + (slot * TILE + k) * HOLDERS + lane; }

fn keep(slot: u32, divisors: Strip, lane: u32) {
  for (var k = 0u; k < TILE; k++) { words[place_of(slot, k, lane)] = divisors[k / 4u][k % 4u]; }
}

fn recall(slot: u32, lane: u32) -> Strip {
  var divisors = Strip();
  for (var k = 0u; k < TILE; k++) { divisors[k / 4u][k % 4u] = words[place_of(slot, k, lane)]; }
  return divisors;
}

// y = x / divisor:  g = (g − Σ g ∘ y) / divisor, and x = y · divisor. Numbers of g outside of the matrix meet only zeros of x, and do not grow.
fn rows_back(divisors: Strip) {
  for (var i = 0u; i < TILE; i++) {
    let divisor = divisors[i / 4u][i % 4u];
    let factor = inside(i) / divisor;
    var total = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) { total += dot(g[i * (TILE / 4u) + h], x[i * (TILE / 4u) + h]); }
    for (var h = 0u; h < TILE / 4u; h++) {
      let at = i * (TILE / 4u) + h;
      g[at] = (g[at] - total) * factor;
      x[at] *= divisor;
    }
  }
}

fn columns_back(divisors: Strip) {
  for (var h = 0u; h < TILE / 4u; h++) {
    let factor = columns[h] / divisors[h];
    var total = vec4f(0.0);
    for (var i = 0u; i < TILE; i++) { total += g[i * (TILE / 4u) + h] * x[i * (TILE / 4u) + h]; }
    for (var i = 0u; i < TILE; i++) {
      let at = i * (TILE / 4u) + h;
      g[at] = (g[at] - total) * factor;
      x[at] *= divisors[h];
    }
  }
}

// g = d(loss)/dP on the way in, d(loss)/d(what the softmax saw) on the way out; x = the softmax on the way in.
fn walk_back(lane: u32) {
  softmax = x;
  for (var end = params.iterations; end > 0u; end -= min(end, params.kept)) {
    let begin = end - min(end, params.kept);
    x = softmax;
    add_eps();
    for (var t = 0u; t < end; t++) {
      if (t > 0u) {
        let divisors = divide_rows();
        if (t >= begin) { keep(2u * (t - begin), divisors, lane); }
      }
      let divisors = divide_columns();
      if (t >= begin) { keep(2u * (t - begin) + 1u, divisors, lane); }
    }
    for (var t = end; t > begin; t--) {
      columns_back(recall(2u * (t - 1u - begin) + 1u, lane));
      if (t > 1u) { rows_back(recall(2u * (t - 1u - begin), lane)); }
    }
  }
  for (var i = 0u; i < TILE; i++) {
    var total = 0.0;
    for (var h = 0u; h < TILE / 4u; h++) { total += dot(g[i * (TILE / 4u) + h], softmax[i * (TILE / 4u) + h]); }
    for (var h = 0u; h < TILE / 4u; h++) {
      let at = i * (TILE / 4u) + h;
      g[at] = softmax[at] * (g[at] - total);
    }
  }
}

// Numbers of this thread to its place in `words`, element (i, j) at i · m + j.
fn stage_gradient(slot: u32, factor: f32) {
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      if (i < rows && j < params.m) { words[slot * stride() + i * params.m + j] = factor * g[(i * TILE + j) / 4u][j % 4u]; }
    }
  }
}

fn times_logits(slot: u32) -> f32 {
  var total = 0.0;
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      if (i < rows && j < params.m) { total += words[slot * stride() + i * params.m + j] * g[(i * TILE + j) / 4u][j % 4u]; }
    }
  }
  return total;
}

// By all threads of the workgroup, of which the first `here` hold a gradient in g.
fn write_gradients(first: u32, here: u32, lane: u32) {
  let size = params.n * params.m;
  let holds = lane < here;
  let share = 1.0 / params.temperature;
  if (params.logits_gradient == 1u) {
    workgroupBarrier();
    if (holds) { stage_gradient(lane, factor_of(first + lane) * share); }
    workgroupBarrier();
    for (var k = lane; k < here * size; k += THREADS) { dlogits[first * size + k] = words[k / size * stride() + k % size]; }
  }
  if (params.scale_gradient + params.bias_gradient > 0u) {
    workgroupBarrier();
    var along_logits = 0.0;
    if (params.scale_gradient == 1u) {
      for (var k = lane; k < here * size; k += THREADS) { words[k / size * stride() + k % size] = checked(logits[first * size + k]); }
      workgroupBarrier();
      if (holds) { along_logits = times_logits(lane) * share; }
    }
    let numbers = params.bias_gradient * size + params.scale_gradient;
    if (holds) {
      if (params.bias_gradient == 1u) { stage_gradient(lane, share); }
      if (params.scale_gradient == 1u) { words[lane * stride() + numbers - 1u] = along_logits; }
    }
    workgroupBarrier();
    for (var k = lane; k < here * numbers; k += THREADS) { parameters[first * numbers + k] = words[k / numbers * stride() + k % numbers]; }
  }
}
