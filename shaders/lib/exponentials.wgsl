// log Σ exp over a stream of float32 words, looking at each once; whatever comes, no infinity or NaN is computed on the way.
struct Exponentials {
  most: f32,   // the largest finite number so far
  total: f32,  // Σ exp(x - most) over the finite ones; 0 before the first
  broken: u32, // 0, or the word that decides the result: +inf, or a NaN, which is larger as a word
}

const INFINITY_WORD: u32 = 0x7f800000u;
const NAN_WORD: u32 = 0x7fc00000u;

fn no_exponentials() -> Exponentials { return Exponentials(0.0, 0.0, 0u); }

fn is_finite_word(word: u32) -> bool { return (word & INFINITY_WORD) != INFINITY_WORD; }

// exp(-|a - b|) for finite a and b, whose difference may be larger than any float.
fn decay(a: f32, b: f32) -> f32 {
  let half = abs(0.5 * a - 0.5 * b);
  return select(exp(-2.0 * min(half, 43.5)), 0.0, half > 43.5);
}

fn with_word(e: Exponentials, word: u32) -> Exponentials {
  if (!is_finite_word(word)) {
    // -inf adds nothing.
    return Exponentials(e.most, e.total, max(e.broken, select(word & 0x7fffffffu, 0u, word == 0xff800000u)));
  }
  let number = bitcast<f32>(word);
  if (e.total == 0.0) { return Exponentials(number, 1.0, e.broken); }
  let d = decay(number, e.most);
  if (number > e.most) { return Exponentials(number, e.total * d + 1.0, e.broken); }
  return Exponentials(e.most, e.total + d, e.broken);
}

fn with_exponentials(a: Exponentials, b: Exponentials) -> Exponentials {
  let broken = max(a.broken, b.broken);
  if (b.total == 0.0) { return Exponentials(a.most, a.total, broken); }
  if (a.total == 0.0) { return Exponentials(b.most, b.total, broken); }
  let d = decay(a.most, b.most);
  if (b.most > a.most) { return Exponentials(b.most, a.total * d + b.total, broken); }
  return Exponentials(a.most, a.total + b.total * d, broken);
}
