// Rows in standard units, and the similarities of src/ops/relativeProjection/reference.ts with their derivatives.
// The including file declares
//   var<storage, read> statistics: array<f32>;   [2, d]: means, then deviations
// and in `Params` d, standardised (u32), factor and p (f32): what inner products are multiplied by, and the power of lp.
override KIND: u32;

const COSINE: u32 = 0u;
const ANGULAR: u32 = 1u;
const INNER: u32 = 2u;
const SCALED_INNER: u32 = 3u;
const L1: u32 = 4u;
const L2: u32 = 5u;
const LINF: u32 = 6u;
const LP: u32 = 7u;

// 1 / deviation; 0 for a feature without any.
fn inverse_deviation(column: u32) -> f32 {
  if (params.standardised == 0u) { return 1.0; }
  let deviation = statistics[params.d + column];
  return select(0.0, 1.0 / select(1.0, deviation, deviation != 0.0), deviation != 0.0);
}
fn mean_of(column: u32) -> f32 {
  if (params.standardised == 0u) { return 0.0; }
  return statistics[column];
}

// t^q for t >= 0; 0 where t is.
fn powers(t: vec4f, q: f32) -> vec4f { return select(vec4f(), pow(max(t, vec4f(1.2e-38)), vec4f(q)), t > vec4f()); }
fn power(t: f32, q: f32) -> f32 { return powers(vec4f(t), q).x; }

// sin(πt) and cos(πt) for |t| <= 1/4.
fn sine(t: f32) -> f32 {
  let z = t * t;
  return t * (3.1415927410 + z * (-5.1677079201 + z * (2.5497610569 - z * 0.5890122056)));
}
fn cosine(t: f32) -> f32 {
  let z = t * t;
  return 1.0 + z * (-4.9348020554 + z * (4.0587067604 + z * (-1.3350359201 + z * 0.2312609255)));
}

// 1 - arccos(c) / π: WGSL's own acos may be off by 7e-5.
fn angle(c: f32) -> f32 {
  let size = abs(c);
  let far = size > 0.5;
  let z = select(c * c, 0.5 * (1.0 - size), far);
  let x = select(c, sqrt(z), far);
  let arc = x * (0.3183099031 + z * (0.0530467592 + z * (0.0240233224 + z * (0.0126299467 + z * 0.0161037873))));
  return select(0.5 + arc, select(2.0 * arc, 1.0 - 2.0 * arc, c > 0.0), far);
}
// Back from 1 - arccos(c) / π to c and √(1 - c²).
fn cos_sin(y: f32) -> vec2f {
  let t = y - 0.5;
  let rest = 0.5 - abs(t);
  if (abs(t) <= 0.25) { return vec2f(sine(t), cosine(t)); }
  return vec2f(sign(t) * cosine(rest), sine(rest));
}

// What a sum becomes with one more feature: the row's, and those of four anchors.
fn with_feature(sum: vec4f, row: f32, columns: vec4f) -> vec4f {
  switch KIND {
    case L1: { return sum + abs(row - columns); }
    case L2: { return sum + (row - columns) * (row - columns); }
    case LINF: { return max(sum, abs(row - columns)); }
    case LP: { return sum + powers(abs(row - columns), params.p); }
    default: { return sum + row * columns; }
  }
}

// A similarity from its sum, and the inverse norms of both rows.
fn similarity(sum: f32, row: f32, column: f32) -> f32 {
  switch KIND {
    case COSINE: { return clamp(sum * row * column, -1.0, 1.0); }
    case ANGULAR: { return angle(clamp(sum * row * column, -1.0, 1.0)); }
    case L1, LINF: { return -sum; }
    case L2: { return -sqrt(sum); }
    case LP: { return -power(sum, 1.0 / params.p); }
    default: { return sum * params.factor; }
  }
}

// The derivative of a similarity, apart from what `features` gives.
fn slope(y: f32) -> f32 {
  switch KIND {
    case ANGULAR: { return select(0.0, 1.0 / (3.1415926536 * max(cos_sin(y).y, 1.0e-8)), y > 0.0 && y < 1.0); }
    case L2: { return select(0.0, 1.0 / min(y, -1.2e-38), y < 0.0); }
    case LP: { return -power(-y, 1.0 - params.p); }
    case L1, LINF: { return -1.0; }
    default: { return params.factor; }
  }
}
fn cosine_from(y: f32) -> f32 {
  if (KIND == ANGULAR) { return cos_sin(y).x; }
  return y;
}

// What four features bring to a gradient: those of the other row, or how a distance moves with their differences.
fn features(own: vec4f, other: vec4f, reach: f32) -> vec4f {
  switch KIND {
    case L1: { return sign(own - other); }
    case L2: { return own - other; }
    case LINF: { return select(vec4f(), sign(own - other), abs(own - other) >= vec4f(reach)); }
    case LP: { return sign(own - other) * powers(abs(own - other), params.p - 1.0); }
    default: { return other; }
  }
}
