// The logits of a workgroup's matrices on their way to lib/staging.wgsl, which the including file includes beside lib/logits.wgsl and
// lib/stored-logits.wgsl. They stay words, so that a NaN is recognised before any arithmetic. It declares
//   fn on_broken(word: u32)                  what happens to a word that is no number, besides counting as 0
fn cleaned(some: vec4u) -> vec4u {
  let broken = are_broken(some);
  if (any(broken)) {
    let culprits = select(vec4u(), some, broken);
    on_broken(max(max(culprits.x, culprits.y), max(culprits.z, culprits.w)));
  }
  return select(some, vec4u(), broken);
}

// Those of `here` matrices from `first` on, to `words`. By all threads, in the order of memory.
fn stage_logits(first: u32, here: u32, lane: u32) {
  let size = params.n * params.m;
  let total = here * size;
  for (var k = lane; k < total; k += TOGETHER * THREADS) {
    let some = logits_at(first * size + min(near(k), vec4u(total - 1u)));
    let more = logits_at(first * size + min(far(k), vec4u(total - 1u)));
    put_words(near(k), cleaned(some));
    put_words(far(k), cleaned(more));
  }
}
