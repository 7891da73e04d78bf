// Runs the calls that scripts/record-native.ts recorded from every room's cases on the reference device, and compares;
// then with other numbers of threads, which must not change a bit.
//
// One line per item, the numbers of a tensor at an offset in the file of the same name with .bin:
//   call <op> <relative tolerance> <absolute tolerance> <name of the case>
//   attr <name> number|flag|text|integers <value...>          scalar <name> <value>
//   input|output <dtype> <compared> <offset of values> <offset of expected values> <rank> <sizes...>
//   end
#include <algorithm>
#include <fstream>
#include <iomanip>
#include <limits>
#include <sstream>

#include "check.h"
#include "platform.h"

namespace birkhoff::test {

namespace {

// The address sanitizer watches the end itself.
constexpr size_t guards = exactSizes ? 0 : 128;
// Of every byte: NaN as float32 and as float16.
constexpr uint8_t poison = 0xff;

struct Operand {
  Tensor tensor;
  bool compared = false;
  size_t values = 0, expected = 0;
};

struct Recorded {
  std::shared_ptr<Prepared> prepared;
  std::vector<double> scalars;
  std::vector<Operand> operands;
  double relative = 0, absolute = 0;
  std::string name;
};

double parseNumber(std::istream& line) {
  std::string text;
  line >> text;
  return std::strtod(text.c_str(), nullptr);  // knows NaN and Infinity, which >> does not
}

Attr parseAttr(std::istream& line) {
  std::string kind;
  line >> kind;
  if (kind == "number") return parseNumber(line);
  if (kind == "flag") return parseNumber(line) != 0;
  if (kind == "text") {
    std::string text;
    line >> std::quoted(text);
    return text;
  }
  std::vector<int64_t> integers(static_cast<size_t>(parseNumber(line)));
  for (int64_t& item : integers) item = static_cast<int64_t>(parseNumber(line));
  return integers;
}

Operand parseOperand(std::istream& line) {
  Operand operand;
  std::string dtype;
  size_t rank = 0;
  line >> dtype >> operand.compared >> operand.values >> operand.expected >> rank;
  std::vector<int64_t> shape(rank);
  for (int64_t& size : shape) line >> size;
  operand.tensor = tensor(std::move(shape), dtype == "float32"   ? DType::float32
                                            : dtype == "float16" ? DType::float16
                                            : dtype == "int32"   ? DType::int32
                                                                 : DType::uint32);
  return operand;
}

std::vector<uint32_t> readWords(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  check(file.good(), path + " can be read");
  std::vector<uint32_t> words(static_cast<size_t>(file.tellg()) / 4);
  file.seekg(0);
  file.read(reinterpret_cast<char*>(words.data()), static_cast<std::streamsize>(words.size() * 4));
  return words;
}

double element(DType dtype, uint32_t word) {
  if (dtype == DType::uint32) return word;
  if (dtype == DType::int32) return static_cast<int32_t>(word);
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// The largest error in units of what the tolerance allows, as src/testing/conformance.ts reckons it.
double errorRatio(const Recorded& recorded, DType dtype, const uint32_t* got, const uint32_t* want, size_t size) {
  double scale = 0, worst = 0;
  for (size_t i = 0; i < size; i++) {
    const double value = std::fabs(element(dtype, want[i]));
    if (std::isfinite(value)) scale = std::max(scale, value);
  }
  const double allowed = recorded.absolute + recorded.relative * scale;
  for (size_t i = 0; i < size; i++) {
    const double a = element(dtype, got[i]), b = element(dtype, want[i]);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double error = std::fabs(a - b);
    worst =
        std::max(worst, std::isnan(error) || allowed == 0 ? std::numeric_limits<double>::infinity() : error / allowed);
  }
  return worst;
}

// float16 is recorded as float32, of which it takes these bits; for numbers that float16 has.
uint16_t halved(uint32_t word) {
  const uint32_t sign = word >> 16 & 0x8000, size = word & 0x7fffffff;
  if (size >= 0x7f800000) return static_cast<uint16_t>(sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00));
  float value;
  std::memcpy(&value, &size, sizeof value);
  if (size < 0x38800000) return static_cast<uint16_t>(sign | static_cast<uint32_t>(value * 0x1p24f));
  return static_cast<uint16_t>(sign | (size - 0x38000000) >> 13);
}

uint32_t widened(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
  if (exponent == 31) return sign | 0x7f800000 | fraction << 13;
  const float value = std::ldexp(static_cast<float>(exponent == 0 ? fraction : fraction + 1024),
                                 static_cast<int>(std::max(exponent, 1u)) - 25);
  uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  return sign | word;
}

// A tensor's bytes from recorded words, and back.
std::vector<uint8_t> packed(DType dtype, const uint32_t* words, size_t size) {
  std::vector<uint8_t> bytes(size * static_cast<size_t>(bytesOf(dtype)));
  for (size_t i = 0; i < size; i++) {
    const uint16_t half = halved(words[i]);
    if (dtype == DType::float16) std::memcpy(bytes.data() + 2 * i, &half, 2);
    if (dtype != DType::float16) std::memcpy(bytes.data() + 4 * i, words + i, 4);
  }
  return bytes;
}

std::vector<uint32_t> unpacked(DType dtype, const uint8_t* bytes, size_t size) {
  std::vector<uint32_t> words(size);
  for (size_t i = 0; i < size; i++) {
    uint16_t half;
    if (dtype == DType::float16) {
      std::memcpy(&half, bytes + 2 * i, 2);
      words[i] = widened(half);
    } else {
      std::memcpy(&words[i], bytes + 4 * i, 4);
    }
  }
  return words;
}

// Appends everything that is compared to `results`.
void runRecorded(Device& device, const Level& level, const Recorded& recorded, const std::vector<uint32_t>& data,
                 std::vector<uint32_t>& results) {
  const std::string name = std::string(level.name) + " " + recorded.prepared->op + " (" + recorded.name + ")";
  const size_t inputs = recorded.prepared->call.inputs.size();
  std::vector<std::shared_ptr<Block>> blocks;
  for (size_t i = 0; i < recorded.operands.size(); i++) {
    const Operand& operand = recorded.operands[i];
    const auto size = static_cast<size_t>(operand.tensor.size);
    std::vector<uint8_t> bytes(static_cast<size_t>(operand.tensor.bytes()), poison);
    if (i < inputs) bytes = packed(operand.tensor.dtype, data.data() + operand.values, size);
    bytes.resize(bytes.size() + guards, poison);
    blocks.push_back(device.memory.take(bytes.size()));
    check(blocks.back() != nullptr, "there is memory");
    device.queue.write(blocks.back(), bytes.data(), bytes.size());
  }
  device.queue.run(recorded.prepared, blocks, recorded.scalars);
  for (size_t i = 0; i < recorded.operands.size(); i++) {
    const Operand& operand = recorded.operands[i];
    const auto size = static_cast<size_t>(operand.tensor.size);
    const auto end = static_cast<size_t>(operand.tensor.bytes());
    std::vector<uint8_t> bytes(end + guards);
    const Outcome outcome = device.read(blocks[i], bytes.data(), bytes.size());
    // Cases with bad data on purpose raise faults; the tests of the rooms look at those.
    check(outcome.kind == Outcome::Kind::ok || outcome.kind == Outcome::Kind::fault, name + ": " + outcome.message);
    check(std::all_of(bytes.begin() + static_cast<ptrdiff_t>(end), bytes.end(),
                      [](uint8_t byte) { return byte == poison; }),
          name + " writes nothing past the end");
    const std::vector<uint32_t> words = unpacked(operand.tensor.dtype, bytes.data(), size);
    if (operand.compared && outcome.kind == Outcome::Kind::ok) {
      const double ratio =
          errorRatio(recorded, operand.tensor.dtype, words.data(), data.data() + operand.expected, size);
      check(ratio <= 1,
            name + ": error of operand " + std::to_string(i) + " is " + std::to_string(ratio) + " of what is allowed");
      results.insert(results.end(), words.begin(), words.end());
    }
    device.memory.put(std::move(blocks[i]));
  }
}

}  // namespace

void testRecorded(const Level& level, const std::string& path) {
  const std::vector<uint32_t> data = readWords(path + ".bin");
  std::vector<uint32_t> expected;
  for (const int threads : {1, 3}) {
    Device device(threads);
    std::vector<uint32_t> results;
    std::ifstream file(path);
    check(file.good(), path + " can be read");
    Recorded recorded;
    std::vector<std::string> ops;
    size_t calls = 0;
    for (std::string text; std::getline(file, text);) {
      std::istringstream line(text);
      std::string item, name;
      line >> item;
      if (item == "call") {
        line >> name >> recorded.relative >> recorded.absolute >> std::quoted(recorded.name);
        recorded.prepared = prepare(level, name, {}, {});
        recorded.scalars.clear();
        recorded.operands.clear();
        ops.push_back(name);
      } else if (item == "attr") {
        line >> name;
        recorded.prepared->call.attrs.emplace_back(name, parseAttr(line));
      } else if (item == "scalar") {
        line >> name;
        recorded.prepared->call.scalarNames.push_back(name);
        recorded.scalars.push_back(parseNumber(line));
      } else if (item == "input" || item == "output") {
        recorded.operands.push_back(parseOperand(line));
        Call& call = recorded.prepared->call;
        (item == "input" ? call.inputs : call.outputs).push_back(recorded.operands.back().tensor);
      } else {
        check(item == "end", path + " is a recording");
        const size_t before = results.size();
        runRecorded(device, level, recorded, data, results);
        const auto same = [&] {
          return results.size() <= expected.size() &&
                 std::equal(results.begin() + static_cast<ptrdiff_t>(before), results.end(),
                            expected.begin() + static_cast<ptrdiff_t>(before));
        };
        check(threads == 1 || same(), std::string(level.name) + " " + recorded.prepared->op + ": call " +
                                          std::to_string(calls) + " gives other bits with " + std::to_string(threads) +
                                          " threads than with 1");
        calls++;
      }
    }
    std::sort(ops.begin(), ops.end());
    ops.erase(std::unique(ops.begin(), ops.end()), ops.end());
    // A kernel that no case reaches is one that nobody tests.
    for (const KernelEntry& entry : level.tables[0]()) {
      check(std::binary_search(ops.begin(), ops.end(), entry.op), "a case reaches " + std::string(entry.op));
    }
    check(calls > 0, path + " holds calls");
    if (threads == 1) expected = std::move(results);
    std::printf("%-8s %zu recorded calls of %zu ops, %d threads\n", level.name, calls, ops.size(), threads);
  }
}

}  // namespace birkhoff::test
