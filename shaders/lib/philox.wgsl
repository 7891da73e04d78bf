// Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011, doi:10.1145/2063384.2063405): four random words from a counter and a key.

// A 64-bit product as (low, high), by halves of 16 bits.
fn multiply_wide(a: u32, b: u32) -> vec2u {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let carry = (middle & 0xffffu) + a0 * b1;
  return vec2u(a * b, a1 * b1 + (middle >> 16u) + (carry >> 16u));
}

fn philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let first = multiply_wide(0xd2511f53u, c.x);
    let second = multiply_wide(0xcd9e8d57u, c.z);
    c = vec4u(second.y ^ c.y ^ key.x, second.x, first.y ^ c.w ^ key.y, first.x);
    key += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}
