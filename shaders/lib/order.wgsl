// Float32 words as whole numbers in the same order: exact for every value, with NaN above everything and -0 equal to 0.
// No number has key 0, so 0 stands for "nothing yet".
const NAN_KEY: u32 = 0xffffffffu;

fn key_of(word: u32) -> u32 {
  if ((word & 0x7fffffffu) > 0x7f800000u) { return NAN_KEY; }
  let plain = select(word, 0u, word == 0x80000000u);
  return plain ^ select(0x80000000u, 0xffffffffu, plain >= 0x80000000u);
}

fn word_of(key: u32) -> u32 {
  if (key == NAN_KEY) { return 0x7fc00000u; }
  return key ^ select(0xffffffffu, 0x80000000u, key >= 0x80000000u);
}
