// Tests of the native code without Node, so that they run under the thread sanitizer and on other processors.
//   driver [--quick] [recorded calls, see replay.cc]
#include <atomic>
#include <cmath>
#include <memory>
#include <numeric>
#include <thread>

#include "check.h"
#include "numbered.h"
#include "platform.h"

namespace birkhoff::test {

namespace {

void testPool() {
  for (const int threads : {1, 2, 3, 8}) {
    Pool pool(threads);
    std::vector<int> visits(5000);
    for (int round = 0; round < 300; round++) {
      const int64_t count = round * 17 % 5000;
      struct Closure {
        std::vector<int>& visits;
        std::atomic<bool> ok{true};
        int threads;
      } closure{visits, {}, threads};
      closure.ok = true;
      pool.split(
          count, 1 + round % 40,
          [](const void* data, int64_t begin, int64_t end, int thread) {
            auto& self = *static_cast<Closure*>(const_cast<void*>(data));
            if (begin >= end || thread < 0 || thread >= self.threads) self.ok = false;
            for (int64_t i = begin; i < end; i++) self.visits[static_cast<size_t>(i)]++;
          },
          &closure);
      for (int64_t i = 0; i < 5000; i++)
        check(visits[static_cast<size_t>(i)] == (i < count ? 1 : 0), "every index is visited once");
      check(closure.ok, "pieces are not empty and threads are numbered");
      std::fill(visits.begin(), visits.end(), 0);
      // Lets the workers fall asleep now and then.
      if (round % 100 == 99) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
}

void testNumbered() {
  Numbered<std::shared_ptr<int>> things;
  const auto shared = std::make_shared<int>(7);
  const double first = things.add(shared), second = things.add(shared);
  check(first != second && things.count() == 2 && **things.find(second) == 7, "things have numbers of their own");
  for (const double number : {-1.0, 2.0, 1e300, std::nan("")})
    check(things.find(number) == nullptr, "what is no number of anything finds nothing");
  things.remove(first);
  check(things.find(first) == nullptr && shared.use_count() == 2, "what is removed is let go of, once");
  check(things.add(shared) == first, "numbers are given again");
  int visited = 0;
  things.remove(second);
  things.clear([&](const auto&) { visited++; });
  check(visited == 1 && things.count() == 0 && shared.use_count() == 1, "clearing visits what is there");
}

void testMemory() {
  for (size_t bytes = 1; bytes < 1 << 20; bytes += 1 + bytes / 7) {
    const size_t size = MemoryPool::sizeClass(bytes);
    check(
        size >= bytes && (exactSizes || size % 64 == 0) && size <= std::max<size_t>(bytes + bytes / 4 + 1, bytes + 64),
        "size classes");
    check(MemoryPool::sizeClass(size) == size, "a size class is its own");
  }
  MemoryPool pool(1 << 20);
  std::shared_ptr<Block> first = pool.take(1000);
  void* where = first->data();
  check(reinterpret_cast<uintptr_t>(where) % 64 == 0, "blocks are aligned");
  pool.put(std::move(first));
  check(pool.take(1000)->data() == where && pool.allocations() == 1, "a block is used again");
  check(pool.take(2 << 20) == nullptr, "nothing beyond the limit");
  std::shared_ptr<Block> large = pool.take(1 << 19);
  pool.put(std::move(large));
  check(pool.take((1 << 20) - (1 << 17)) != nullptr, "what is pooled makes room for what is wanted");
  check(pool.take(0) != nullptr, "a block of no bytes");

  // After a large phase, smaller steps of other sizes find their memory in the pool.
  constexpr size_t mebibyte = 1 << 20;
  MemoryPool after(size_t{1} << 30);
  std::shared_ptr<Block> one = after.take(80 * mebibyte), other = after.take(48 * mebibyte);
  after.put(std::move(one));
  after.put(std::move(other));
  const auto steps = [&](uint64_t count) {
    const size_t before = after.allocations();
    for (uint64_t i = 0; i < count; i++)
      for (const size_t size : {40, 56, 64}) after.put(after.take(size * mebibyte));
    return after.allocations() - before;
  };
  constexpr uint64_t few = MemoryPool::staleAfter / 12;
  check(steps(few) == few + 2, "what was used lately stays, and a third size finds no room");
  steps(MemoryPool::staleAfter);
  check(steps(10) == 0, "what is stale makes room");
  check(after.pooledBytes() <= 256 * mebibyte, "no more is kept than twice what was ever in use at once");
}

std::shared_ptr<Prepared> filling(const Level& level, int64_t size, int64_t grain) {
  auto prepared = prepare(level, "test.fill", {}, {tensor({size})});
  prepared->call.scalarNames = {"value"};
  prepared->call.attrs = {{"grain", static_cast<double>(grain)}};
  return prepared;
}

// A chain of calls in place gives the same as plain arithmetic, blocks being freed and taken again while calls are
// queued.
void testQueue(const Level& level, int threads) {
  Device device(threads);
  constexpr int64_t size = 1003;
  auto update = prepare(level, "test.update", {tensor({size})}, {});
  update->call.scalarNames = {"factor", "term"};
  const auto fill = filling(level, size, 8);
  std::vector<float> got(size);
  for (int round = 0; round < 30; round++) {
    std::shared_ptr<Block> x = device.memory.take(size * 4);
    std::vector<float> start(size);
    std::iota(start.begin(), start.end(), static_cast<float>(round));
    device.queue.write(x, start.data(), size * 4);
    for (int step = 0; step < 10; step++) device.queue.run(update, {x}, {0.5, static_cast<double>(step)});
    std::vector<float> want = start;
    for (int step = 0; step < 10; step++) {
      for (float& value : want) value = value * 0.5f + static_cast<float>(step);
    }
    // Nothing was waited for: the calls above still need what is freed and overwritten here.
    std::vector<float> snapshot(size, -1);
    std::atomic<bool> answered{false};
    device.queue.read(x, snapshot.data(), size * 4, [&](Outcome) { answered = true; });
    device.memory.put(std::move(x));
    std::shared_ptr<Block> y = device.memory.take(size * 4);
    device.queue.run(fill, {y}, {7.0 + round});
    check(device.read(y, got.data(), size * 4).kind == Outcome::Kind::ok, "read ends well");
    check(answered, "reads are answered in order");
    for (int64_t i = 0; i < size; i++) {
      check(std::fabs(snapshot[i] - want[i]) <= 1e-5f * std::fabs(want[i]),
            "calls run in order, and a read sees what was before it");
      check(got[i] == 7.0f + static_cast<float>(round), "a block that is used again holds its new contents");
    }
    device.memory.put(std::move(y));
  }
}

void testFailures(const Level& level, int threads) {
  Device device(threads, 1 << 20);
  const int64_t size = 100;
  std::shared_ptr<Block> x = device.memory.take(size * 4), y = device.memory.take(size * 4);
  std::vector<float> values(size, 1.0f);
  values[40] = -2.5f;
  device.queue.write(x, values.data(), size * 4);
  auto positive = prepare(level, "test.positive", {tensor({size})}, {tensor({size})});
  positive->faultMessage = "positive: expected";
  device.queue.run(positive, {x, y}, {});
  device.queue.run(filling(level, size, 1), {y}, {3.0});
  const Outcome fault = device.synchronize();
  check(fault.kind == Outcome::Kind::fault && fault.value == -2.5 && fault.message == "positive: expected",
        "a fault is reported");
  check(device.synchronize().kind == Outcome::Kind::ok, "a fault is reported once");
  auto areas = prepare(level, "test.areas", {}, {tensor({3})});
  for (const int64_t floats : {10, 5000, 100000, 5000}) {
    areas->call.attrs = {{"floats", static_cast<double>(floats)}};
    device.queue.run(areas, {y}, {});
    const Outcome outcome = device.read(y, values.data(), 12);
    check(outcome.kind == (floats == 100000 ? Outcome::Kind::outOfMemory : Outcome::Kind::ok),
          "work areas are limited");
    if (floats != 100000) check(values[0] == 0 && values[1] == 0 && values[2] == 0, "work areas are aligned");
  }
  device.queue.run(prepare(level, "test.broken", {}, {}), {}, {});
  check(device.synchronize().kind == Outcome::Kind::failed, "what a kernel throws is reported");
  auto nested = prepare(level, "test.nested", {}, {tensor({5, 20})});
  device.queue.run(nested, {y}, {});
  check(device.read(y, values.data(), size * 4).kind == Outcome::Kind::ok, "loops within loops run");
  for (const float visits : values) check(visits == 1, "loops within loops visit everything once");
}

// What is pooled, queued or kept for work areas makes room before anything is refused.
void testRoom(const Level& level, int threads) {
  constexpr size_t limit = 1 << 20;
  Device device(threads, limit);
  std::shared_ptr<Block> y = device.memory.take(64);
  auto areas = prepare(level, "test.areas", {}, {tensor({3})});
  areas->call.attrs = {{"floats", 50000.0}};
  device.memory.put(device.memory.take(limit / 2));
  device.memory.put(device.memory.take(limit / 4));
  device.queue.run(areas, {y}, {});
  check(device.synchronize().kind == Outcome::Kind::ok, "what is pooled makes room for work areas");
  // Under the address sanitizer they end with the call, so that it sees who comes back to them.
  check(exactSizes || device.memory.take(limit / 2) == nullptr, "work areas are kept");
  device.queue.drain();
  std::shared_ptr<Block> x = device.memory.take(limit / 2);
  check(x != nullptr, "work areas are given back");
  auto slow = prepare(level, "test.slow", {tensor({16})}, {tensor({16})});
  slow->call.attrs = {{"milliseconds", 5.0}};
  device.queue.run(slow, {x, y}, {});
  const std::vector<char> values(limit / 2, 1);
  for (int i = 0; i < 3; i++) device.queue.write(x, values.data(), values.size());
  std::vector<char> got(limit / 2);
  device.read(x, got.data(), got.size());
  check(got == values, "writes wait where there is no memory to keep them in");
  check(device.memory.budget()->used() <= limit, "the limit holds");
}

// Ends a device in every state that it can be in.
void testEnd(const Level& level, int threads) {
  for (int way = 0; way < 4; way++) {
    std::atomic<int> answers{0}, closings{0};
    {
      Device device(threads);
      std::shared_ptr<Block> x = device.memory.take(64), y = device.memory.take(64);
      auto slow = prepare(level, "test.slow", {tensor({16})}, {tensor({16})});
      slow->call.attrs = {{"milliseconds", 1.0}};
      float target[16];
      for (int i = 0; i < 5; i++) device.queue.run(slow, {x, y}, {});
      for (int i = 0; i < 3; i++) device.queue.read(y, target, 64, [&](Outcome) { answers++; });
      for (int i = 0; i < 5; i++) device.queue.run(slow, {x, y}, {});
      if (way >= 2) device.queue.close([&] { closings++; });
      if (way == 3) {
        while (closings == 0) std::this_thread::yield();
      }
      if (way % 2 == 1) device.queue.stop();
      if (way != 3) device.queue.stop();
    }
    check(answers == 3, "every read is answered or dropped");
    check(closings == (way >= 2 ? 1 : 0), "closing is reported once");
  }
}

// Several devices at once, each with an enqueuing thread of its own.
void testDevices(const Level& level) {
  std::vector<std::thread> users;
  for (int i = 0; i < 4; i++) {
    users.emplace_back([&level, i] {
      testQueue(level, 1 + i % 3);
      testRoom(level, 1 + i % 3);
      testFailures(level, 1 + i % 3);
      testEnd(level, 1 + i % 3);
    });
  }
  for (std::thread& user : users) user.join();
}

}  // namespace

}  // namespace birkhoff::test

int main(int count, char** arguments) {
  using namespace birkhoff::test;
  bool quick = false;
  std::string recorded;
  for (int i = 1; i < count; i++) {
    if (std::string(arguments[i]) == "--quick") {
      quick = true;
    } else {
      recorded = arguments[i];
    }
  }
  testNumbered();
  testMemory();
  testPool();
  for (const birkhoff::Level& level : birkhoff::availableLevels()) {
    testDevices(level);
    testMath(level, quick ? 1 << 16 : 1 << 12);
    if (!recorded.empty()) testRecorded(level, recorded);
  }
  std::printf("driver: all tests passed\n");
  return 0;
}
