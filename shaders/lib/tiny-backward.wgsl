// From d(loss)/dP back to the operands of lib/tiny.wgsl, which the including file includes too. Nothing was kept by the forward pass: the
// divisors of `kept` iterations at a time are computed again, from the start, and then walked backwards, the last ones first.
// The including file declares
//   var<storage, read_write> dlogits: array<u32>, parameters: array<u32>;
// and in `Params` iterations, kept, history (place of the divisors in `words`), logits_gradient, scale_gradient and bias_gradient (u32).

// d(loss)/dx, in step with x.
var<private> g: Tile;
var<private> softmax: Tile;

// In workgroup memory: private arrays of all threads that a processor holds exceed its caches.
fn place_of(slot: u32, k: u32, lane: u32) -> u32 { return params.history + (slot * TILE + k) * (THREADS / SHARE) + lane; }
fn keep_quad(slot: u32, k: u32, values: vec4f, lane: u32) {
  words[place_of(slot, k, lane)] = bitcast<u32>(values.x);
  words[place_of(slot, k + 1u, lane)] = bitcast<u32>(values.y);
  words[place_of(slot, k + 2u, lane)] = bitcast<u32>(values.z);
  words[place_of(slot, k + 3u, lane)] = bitcast<u32>(values.w);
}
fn kept_quad(slot: u32, k: u32, lane: u32) -> vec4f {
  return bitcast<vec4f>(vec4u(
    words[place_of(slot, k, lane)], words[place_of(slot, k + 1u, lane)],
    words[place_of(slot, k + 2u, lane)], words[place_of(slot, k + 3u, lane)]));
}
fn keep(slot: u32, divisors: Strip, lane: u32) {
  keep_quad(slot, 0u, divisors[0], lane);
  if (TILE > 4u) { keep_quad(slot, 4u, divisors[1], lane); }
}
fn recall(slot: u32, lane: u32) -> Strip {
  var divisors = filled(1.0);
  divisors[0] = kept_quad(slot, 0u, lane);
  if (TILE > 4u) { divisors[1] = kept_quad(slot, 4u, lane); }
  return divisors;
}

// y = x / divisor:  g = (g − Σ g ∘ y) / divisor, and x = y · divisor. Numbers of g outside of the matrix meet only zeros of x, and do not grow.
fn rows_back(divisors: Strip) {
  subtract_by_rows(&g, common_of_rows(&g, &x));
  multiply_rows(&g, reciprocals(rows, divisors));
  multiply_rows(&x, divisors);
}
fn columns_back(divisors: Strip) {
  subtract_by_columns(&g, common_of_columns(&g, &x));
  multiply_columns(&g, reciprocals(columns, divisors));
  multiply_columns(&x, divisors);
}

// g = d(loss)/dP on the way in, d(loss)/d(what the softmax saw) on the way out; x = the softmax on the way in.
fn walk_back(lane: u32) {
  softmax = x;
  for (var end = params.iterations; end > 0u; end -= min(end, params.kept)) {
    let begin = end - min(end, params.kept);
    x = softmax;
    add_eps();
    if (begin == 0u) {
      keep(1u, divide_columns(), lane);
    } else {
      _ = divide_columns();
    }
    for (var t = 1u; t < begin; t++) {
      _ = divide_rows();
      _ = divide_columns();
    }
    for (var t = max(begin, 1u); t < end; t++) {
      keep(2u * (t - begin), divide_rows(), lane);
      keep(2u * (t - begin) + 1u, divide_columns(), lane);
    }
    for (var t = end; t > begin; t--) {
      columns_back(recall(2u * (t - 1u - begin) + 1u, lane));
      if (t > 1u) { rows_back(recall(2u * (t - 1u - begin), lane)); }
    }
  }
  subtract_by_rows(&g, common_of_rows(&g, &softmax));
  g[0] = hadamard(softmax[0], g[0]);
  if (TILE > 4u) {
    g[1] = hadamard(softmax[1], g[1]);
    g[2] = hadamard(softmax[2], g[2]);
    g[3] = hadamard(softmax[3], g[3]);
  }
}

// To `words` from `base` on: factor · g, which x is used for.
fn put_gradient(base: u32, factor: f32) {
  x = g;
  multiply_rows(&x, filled(factor));
  put_tile_at(base, &x);
}

// By all threads of the workgroup, of which the first `here` hold a gradient in g.
fn write_gradients(first: u32, here: u32, lane: u32) {
  let size = params.n * params.m;
  let holds = lane < here;
  let share = 1.0 / params.temperature;
  if (params.logits_gradient == 1u) {
    workgroupBarrier();
    if (holds) { put_gradient(lane * size, factor_of(first + lane) * share); }
    workgroupBarrier();
    for (var k = lane; k < here * size; k += THREADS) { dlogits[first * size + k] = word_at(k); }
  }
  if (params.scale_gradient + params.bias_gradient == 0u) { return; }
  var along_logits = 0.0;
  if (params.scale_gradient == 1u) {
    workgroupBarrier();
    stage_logits(first, here, lane);
    workgroupBarrier();
    if (holds) {
      load_tile(lane, &x);
      let sums = common_of_rows(&x, &g);
      along_logits = share * dot(sums[0] + sums[1], ONES);
    }
  }
  workgroupBarrier();
  let numbers = params.bias_gradient * size + params.scale_gradient;
  if (holds) {
    if (params.bias_gradient == 1u) { put_gradient(lane * numbers, share); }
    if (params.scale_gradient == 1u) { put_word(lane * numbers + numbers - 1u, bitcast<u32>(along_logits)); }
  }
  workgroupBarrier();
  for (var k = lane; k < here * numbers; k += THREADS) { parameters[first * numbers + k] = word_at(k); }
}
