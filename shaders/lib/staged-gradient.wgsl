// Cotangents of a workgroup's matrices on their way to lib/staging.wgsl, which the including file includes. It declares
//   var<storage, read> gradient: array<u32>
fn gradient_at(at: vec4u) -> vec4u { return vec4u(gradient[at.x], gradient[at.y], gradient[at.z], gradient[at.w]); }

// Those of `here` matrices from `first` on, to `words`. By all threads, in the order of memory.
fn stage_gradient(first: u32, here: u32, lane: u32) {
  let size = params.n * params.m;
  let total = here * size;
  for (var k = lane; k < total; k += TOGETHER * THREADS) {
    let some = gradient_at(first * size + min(near(k), vec4u(total - 1u)));
    let more = gradient_at(first * size + min(far(k), vec4u(total - 1u)));
    put_words(near(k), some);
    put_words(far(k), more);
  }
}
