//#include "lib/grid.wgsl"
//#include "lib/order.wgsl"
//#include "lib/reduction.wgsl"

// Largest (smallest when LEAST) term of every output and how many terms attain it; threads, rows and overrides as in lib/reduction.wgsl.
//   y, ties: [outputs]
override LEAST: u32;

@group(0) @binding(3) var<storage, read_write> y: array<u32>;
@group(0) @binding(4) var<storage, read_write> ties: array<u32>;

struct State {
  key: u32,
  count: u32,
}

// Turns the order of everything but NaN round; its own inverse.
fn turned(key: u32) -> u32 { return select(key, ~key, LEAST == 1u && key != NAN_KEY); }

fn empty() -> State { return State(0u, 0u); }
fn merge(a: State, b: State) -> State { return State(max(a.key, b.key), select(0u, a.count, a.key >= b.key) + select(0u, b.count, b.key >= a.key)); }
fn with_term(state: State, word: u32, term: u32) -> State { return merge(state, State(turned(key_of(word)), 1u)); }
fn pack(state: State) -> vec2u { return vec2u(state.key, state.count); }
fn unpack(words: vec2u) -> State { return State(words.x, words.y); }

fn finish(output: u32, state: State) {
  y[output] = word_of(turned(state.key));
  ties[output] = state.count;
}
