// What the tests without Node share: one check, and running a kernel through a queue.
#pragma once

#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels.h"
#include "queue.h"

namespace birkhoff::test {

// Ends the program at the first thing that does not hold.
inline void check(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

inline Tensor tensor(std::vector<int64_t> shape, DType dtype = DType::float32) {
  Tensor result;
  result.dtype = dtype;
  result.shape = std::move(shape);
  result.size = 1;
  for (const int64_t size : result.shape) result.size *= size;
  return result;
}

// One device, as the addon has one: a pool of memory and a queue.
struct Device {
  explicit Device(int threads, size_t limit = size_t{1} << 30) : memory(limit), queue(threads, memory) {}

  Outcome synchronize() {
    return wait([&](Queue::Done done) { queue.synchronize(std::move(done)); });
  }

  Outcome read(const std::shared_ptr<Block>& block, void* target, size_t bytes) {
    return wait([&](Queue::Done done) { queue.read(block, target, bytes, std::move(done)); });
  }

  MemoryPool memory;
  Queue queue;

 private:
  template <class Ask>
  static Outcome wait(Ask ask) {
    // Shared, since the queue's thread may still be notifying when this one has gone on.
    struct Shared {
      std::mutex mutex;
      std::condition_variable ready;
      std::optional<Outcome> outcome;
    };
    auto shared = std::make_shared<Shared>();
    ask([shared](Outcome outcome) {
      const std::lock_guard lock(shared->mutex);
      shared->outcome = std::move(outcome);
      shared->ready.notify_one();
    });
    std::unique_lock lock(shared->mutex);
    shared->ready.wait(lock, [&] { return shared->outcome.has_value(); });
    return *shared->outcome;
  }
};

inline std::shared_ptr<Prepared> prepare(const Level& level, const std::string& op, std::vector<Tensor> inputs,
                                         std::vector<Tensor> outputs) {
  auto prepared = std::make_shared<Prepared>();
  prepared->op = op;
  prepared->kernel = level.find(op);
  check(prepared->kernel != nullptr, std::string(level.name) + " has a kernel " + op);
  prepared->call.inputs = std::move(inputs);
  prepared->call.outputs = std::move(outputs);
  return prepared;
}

// math.cc
void testMath(const Level& level, uint32_t step);
// replay.cc
void testRecorded(const Level& level, const std::string& path);

}  // namespace birkhoff::test
