// Half precision as float16 tensors are stored: two numbers in a word, the first in its lower half. In whole numbers, so that every device gives the
// same bits: core WGSL's own conversions may round to either side and take numbers below 2^-14 for 0.

// The bits of float32 numbers from those of half precision, in the lower halves of the words.
fn widened(halves: vec4u) -> vec4u {
  let size = (halves & vec4u(0x7fffu)) << vec4u(13u);
  // Exponents are 112 further down; those of infinity and NaN go to the top. Below 2^-14 the fraction counts 2^-24.
  let moved = size + select(vec4u(112u << 23u), vec4u(224u << 23u), size >= vec4u(31u << 23u));
  let small = bitcast<vec4u>(vec4f(halves & vec4u(0x3ffu)) * exp2(-24.0));
  return select(moved, small, size < vec4u(1u << 23u)) | ((halves & vec4u(0x8000u)) << vec4u(16u));
}

// The half of a word where element `at` is.
fn half_of(word: u32, at: u32) -> u32 { return word >> (16u * (at & 1u)); }

// Bits of the nearest number of half precision, at a tie of the one whose last bit is 0.
fn halved(word: u32) -> u32 {
  let sign = (word >> 16u) & 0x8000u;
  let size = word & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0x7e00u; }
  // From 65520 on.
  if (size >= 0x477ff000u) { return sign | 0x7c00u; }
  if (size >= 0x38800000u) { return sign | ((size - (112u << 23u) + 0xfffu + ((size >> 13u) & 1u)) >> 13u); }
  // Below 2^-14: the leading bit of the fraction, moved down to where 2^-24 is the unit.
  if (size < 0x33000000u) { return sign; }
  let down = 126u - (size >> 23u);
  let fraction = (size & 0x7fffffu) | 0x800000u;
  let half = fraction >> down;
  let rest = fraction & ((1u << down) - 1u);
  let tie = 1u << (down - 1u);
  return sign | (half + select(0u, 1u, rest > tie || (rest == tie && (half & 1u) == 1u)));
}
