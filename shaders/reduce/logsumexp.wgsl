//#include "lib/grid.wgsl"
//#include "lib/reduction.wgsl"
//#include "lib/exponentials.wgsl"

// log Σ exp over the terms of every output; threads, rows and overrides as in lib/reduction.wgsl.
//   y: [outputs]
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

struct State {
  sums: Exponentials,
}

fn empty() -> State { return State(no_exponentials()); }
fn with_term(state: State, word: u32, term: u32) -> State { return State(with_word(state.sums, word)); }
fn merge(a: State, b: State) -> State { return State(with_exponentials(a.sums, b.sums)); }

fn pack(state: State) -> vec2u {
  return vec2u(select(bitcast<u32>(state.sums.most), state.sums.broken, state.sums.broken != 0u), bitcast<u32>(state.sums.total));
}

fn unpack(words: vec2u) -> State {
  if (is_finite_word(words.x)) { return State(Exponentials(bitcast<f32>(words.x), bitcast<f32>(words.y), 0u)); }
  return State(Exponentials(0.0, 0.0, words.x));
}

fn finish(output: u32, state: State) {
  var word = select(state.sums.broken, 0xff800000u, state.sums.broken == 0u);
  if (state.sums.broken == 0u && state.sums.total > 0.0) { word = bitcast<u32>(state.sums.most + log(state.sums.total)); }
  y[output] = word;
}
