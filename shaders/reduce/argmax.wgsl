//#include "lib/grid.wgsl"
//#include "lib/order.wgsl"
//#include "lib/reduction.wgsl"

// Number of the largest term of every output, the first of equals; threads, rows and overrides as in lib/reduction.wgsl.
//   y: [outputs]
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

struct State {
  key: u32,
  term: u32,
}

fn empty() -> State { return State(0u, 0xffffffffu); }

fn merge(a: State, b: State) -> State {
  if (a.key > b.key || (a.key == b.key && a.term <= b.term)) { return a; }
  return b;
}

fn with_term(state: State, word: u32, term: u32) -> State { return merge(state, State(key_of(word), term)); }
fn pack(state: State) -> vec2u { return vec2u(state.key, state.term); }
fn unpack(words: vec2u) -> State { return State(words.x, words.y); }

fn finish(output: u32, state: State) { y[output] = state.term; }
