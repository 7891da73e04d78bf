// log, cos and sin to a few units in the last place: WGSL's own may be off by 2^-21 and 2^-11.

// Natural logarithms of normal positive numbers.
fn accurate_logs(x: vec4f) -> vec4f {
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)), found by moving the boundary 1 to sqrt(1/2) in the bit pattern.
  let shifted = bitcast<vec4i>(x) - vec4i(0x3f3504f3);
  let e = vec4f(shifted >> vec4u(23u));
  let m = bitcast<vec4f>((shifted & vec4i(0x007fffff)) + vec4i(0x3f3504f3));
  // log m = 2 atanh(s) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f / (2 + f).
  let f = m - 1.0;
  let s = f / (f + 2.0);
  let z = s * s;
  let series = z * (0.66666662693 + z * (0.40000972152 + z * (0.28498786688 + z * 0.24279078841)));
  let square = 0.5 * f * f;
  return e * 0.69313812256 + (f - (square - (s * (square + series) + e * 9.0580006145e-6)));
}
fn accurate_log(x: f32) -> f32 { return accurate_logs(vec4f(x)).x; }

// cos and sin of a turn of turn · 2^-24: the quadrant is taken off exactly.
fn cos_sin_of_turn(turn: u32) -> vec2f {
  let quadrant = (turn + 0x200000u) >> 22u;
  let t = f32(i32(turn) - i32(quadrant << 22u)) * 3.7450704e-7;
  let z = t * t;
  let s = t + t * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4));
  let c = 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
  switch quadrant & 3u {
    case 0u: { return vec2f(c, s); }
    case 1u: { return vec2f(-s, c); }
    case 2u: { return vec2f(-c, -s); }
    default: { return vec2f(s, -c); }
  }
}
