// Random numbers from a counter: Philox 4x32-10, one block of four numbers per vector lane.
#include <algorithm>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Blocks per piece of work.
constexpr int64_t grain = 1 << 11;
constexpr float unit = 0x1p-24f;

typedef uint32_t vu __attribute__((vector_size(lanes * 4)));
typedef uint64_t vw __attribute__((vector_size(lanes * 4)));

// The lower halves of 64-bit lanes times a 32-bit number, in full.
BIRKHOFF_INLINE vw multiplyLow(vw a, uint32_t b) {
#if defined(__AVX512F__)
  return (vw)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi32(static_cast<int32_t>(b)));
#elif defined(__AVX2__)
  return (vw)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi32(static_cast<int32_t>(b)));
#elif defined(__SSE2__)
  return (vw)_mm_mul_epu32((__m128i)a, _mm_set1_epi32(static_cast<int32_t>(b)));
#elif defined(__aarch64__)
  return (vw)vmull_u32(vmovn_u64((uint64x2_t)a), vdup_n_u32(b));
#else
  return (a & 0xffffffff) * b;
#endif
}

struct Product {
  vu low, high;
};

// Even and odd lanes apart, since products are twice as wide.
BIRKHOFF_INLINE Product multiply(vu a, uint32_t b) {
  const vw even = multiplyLow((vw)a, b), odd = multiplyLow((vw)a >> 32, b);
  return {(vu)((even & 0xffffffff) | (odd << 32)), (vu)((even >> 32) | (odd & 0xffffffff00000000))};
}

struct Source {
  uint32_t seed[2], stream[2];
};

// The words of blocks first, first + 1, ... by place in the block.
BIRKHOFF_INLINE void philox(uint32_t first, const Source& source, vu (&words)[4]) {
  vu c0 = first + vu{}, c1{}, c2 = source.stream[0] + vu{}, c3 = source.stream[1] + vu{};
  for (int i = 0; i < lanes; i++) c0[i] += static_cast<uint32_t>(i);
  uint32_t k0 = source.seed[0], k1 = source.seed[1];
  for (int round = 0; round < 10; round++) {
    const Product p = multiply(c0, 0xd2511f53), q = multiply(c2, 0xcd9e8d57);
    c0 = q.high ^ c1 ^ k0;
    c1 = q.low;
    c2 = p.high ^ c3 ^ k1;
    c3 = p.low;
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

// Of the 24 upper bits: [0, 1).
BIRKHOFF_INLINE vf fraction(vu word) { return toFloat((vi)(word >> 8)) * unit; }

// cos and sin of a turn of turn · 2^-24; the quadrant is taken off exactly.
BIRKHOFF_INLINE void cosSin(vu turn, vf& c, vf& s) {
  const vu quadrant = (turn + 0x200000) >> 22;
  const vf t = toFloat((vi)(turn - (quadrant << 22))) * 3.7450704e-7f;
  const vf z = t * t;
  vf p = fma(broadcast(-1.9515295891e-4f), z, broadcast(8.3321608736e-3f));
  p = fma(p, z, broadcast(-1.6666654611e-1f));
  const vf sine = fma(p * z, t, t);
  p = fma(broadcast(2.443315711809948e-5f), z, broadcast(-1.388731625493765e-3f));
  p = fma(p, z, broadcast(4.166664568298827e-2f));
  const vf cosine = fma(p * z, z, fma(broadcast(-0.5f), z, broadcast(1.0f)));
  const vi odd = (vi)(quadrant & 1) == 1;
  c = select(odd, -sine, cosine);
  s = select(odd, cosine, sine);
  const vi back = (vi)(quadrant & 2) == 2;
  c = select(back, -c, c);
  s = select(back, -s, s);
}

// Two normal numbers from two words; the first is taken into (0, 1].
BIRKHOFF_INLINE void boxMuller(vu first, vu second, vf& a, vf& b) {
  const vf radius = sqrt(-2.0f * log(fraction(first) + unit));
  vf c, s;
  cosSin(second >> 8, c, s);
  a = radius * c;
  b = radius * s;
}

// The uniform number is an odd multiple of 2^-24: neither logarithm sees 0.
BIRKHOFF_INLINE vf gumbel(vu word) { return -log(-log(toFloat((vi)((word >> 9) * 2 + 1)) * unit)); }

// Calls transform(words, numbers) for `lanes` blocks at a time and writes the numbers in the order of the blocks.
template <class Transform>
void fill(const Call& call, Context& context, Transform transform) {
  const auto word = [&](const char* name) { return static_cast<uint32_t>(call.scalar(name)); };
  const Source source{{word("seed_low"), word("seed_high")}, {word("stream_low"), word("stream_high")}};
  const int64_t count = call.outputs[0].size;
  uint32_t* y = call.outputs[0].u32();
  context.parallel((count + 4 * lanes - 1) / (4 * lanes), grain / lanes, [&](int64_t begin, int64_t end, int) {
    for (int64_t group = begin; group < end; group++) {
      vu words[4];
      philox(static_cast<uint32_t>(group * lanes), source, words);
      transform(words);
      uint32_t columns[4][lanes], block[4 * lanes];
      __builtin_memcpy(columns, words, sizeof columns);
      for (int i = 0; i < lanes; i++) {
        for (int k = 0; k < 4; k++) block[4 * i + k] = columns[k][i];
      }
      const int64_t first = group * 4 * lanes, n = std::min<int64_t>(4 * lanes, count - first);
      __builtin_memcpy(y + first, block, static_cast<size_t>(n) * sizeof(uint32_t));
    }
  });
}

}  // namespace

void random(const Call& call, Context& context) {
  const std::string& kind = call.text("kind");
  const float shift = static_cast<float>(call.scalar("shift")), scale = static_cast<float>(call.scalar("scale"));
  const auto place = [=](vf v) { return (vu)(shift + scale * v); };
  if (kind == "bits") return fill(call, context, [](vu(&)[4]) {});
  if (kind == "uniform") {
    return fill(call, context, [=](vu(&words)[4]) {
      for (vu& word : words) word = place(fraction(word));
    });
  }
  if (kind == "gumbel") {
    return fill(call, context, [=](vu(&words)[4]) {
      for (vu& word : words) word = place(gumbel(word));
    });
  }
  fill(call, context, [=](vu(&words)[4]) {
    vf numbers[4];
    boxMuller(words[0], words[1], numbers[0], numbers[1]);
    boxMuller(words[2], words[3], numbers[2], numbers[3]);
    for (int k = 0; k < 4; k++) words[k] = place(numbers[k]);
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
