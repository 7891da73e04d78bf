//#include "lib/grid.wgsl"
//#include "lib/reduction.wgsl"

// Sum of the terms of every output, divided by their number when MEAN; threads, rows and overrides as in lib/reduction.wgsl.
//   y: [outputs]
override MEAN: u32;

@group(0) @binding(3) var<storage, read_write> y: array<u32>;

struct State {
  total: f32,
}

fn empty() -> State { return State(0.0); }
fn with_term(state: State, word: u32, term: u32) -> State { return State(state.total + bitcast<f32>(word)); }
fn merge(a: State, b: State) -> State { return State(a.total + b.total); }
fn pack(state: State) -> vec2u { return vec2u(bitcast<u32>(state.total), 0u); }
fn unpack(words: vec2u) -> State { return State(bitcast<f32>(words.x)); }

fn finish(output: u32, state: State) {
  var word = bitcast<u32>(state.total);
  if (MEAN == 1u) { word = select(bitcast<u32>(state.total / f32(max(params.terms, 1u))), 0x7fc00000u, params.terms == 0u); }
  y[output] = word;
}
