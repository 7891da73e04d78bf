#include "parallel.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "platform.h"

namespace birkhoff {

namespace {

constexpr uint64_t closed = 0xffffffff;
// About 20 microseconds: longer than the gap between two kernels, shorter than anybody notices.
constexpr int spins = 1000;
// More pieces than threads, so that a thread that the system holds up does not hold up the loop.
constexpr int64_t piecesPerThread = 4;

// Which thread of its pool this one is while it runs a body, else -1.
thread_local int insideThread = -1;

template <class Done>
bool spinUntil(Done done) {
  for (int i = 0; i < spins; i++) {
    if (done()) return true;
    relax();
  }
  return false;
}

}  // namespace

Pool::Pool(int threads) : ticket_(closed) {
  try {
    for (int thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { loop(thread); });
  } catch (const std::system_error&) {
    // The system gives no more threads: fewer do the same work.
  }
}

Pool::~Pool() {
  {
    std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::split(int64_t count, int64_t grain, Body body, const void* closure) {
  if (count <= 0) return;
  const int64_t most = std::min<int64_t>(count / std::max<int64_t>(grain, 1), threads() * piecesPerThread);
  if (insideThread >= 0 || most <= 1 || threads() == 1) {
    body(closure, 0, count, std::max(insideThread, 0));
    return;
  }
  spread();
  const uint64_t job = (ticket_.load() >> 32) + 1;
  ticket_.store(job << 32 | closed);
  body_.store(body);
  closure_.store(closure);
  count_.store(count);
  pieces_.store(most);
  remaining_.store(most);
  ticket_.store(job << 32);
  if (sleepers_.load() > 0) {
    { std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  work(0);
  const auto finished = [this] { return remaining_.load() == 0; };
  if (!spinUntil(finished)) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, finished);
  }
  std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// A system may wake the workers on the processor of the thread that woke them, and leave them there for tens of
// milliseconds while others idle: they take turns, and the loop is no faster than one thread.
void Pool::spread() {
  const int here = currentProcessor();
  if (here == std::exchange(avoided_, here)) return;
  for (std::thread& worker : workers_) keepOff(worker, here, threads() - 1);
}

void Pool::loop(int thread) {
  uint64_t seen = 0;
  uint64_t ticket = 0;
  const auto news = [&] {
    ticket = ticket_.load();
    return stopping_.load() || ((ticket & closed) != closed && ticket >> 32 != seen);
  };
  for (;;) {
    if (!spinUntil(news)) {
      std::unique_lock lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, news);
      sleepers_.fetch_sub(1);
    }
    if (stopping_.load()) return;
    seen = ticket >> 32;
    work(thread);
  }
}

void Pool::work(int thread) {
  for (;;) {
    uint64_t ticket = ticket_.load();
    const int64_t piece = static_cast<int64_t>(ticket & closed);
    const int64_t pieces = pieces_.load(), count = count_.load();
    const Body body = body_.load();
    const void* closure = closure_.load();
    if (piece == static_cast<int64_t>(closed) || piece >= pieces) return;
    if (!ticket_.compare_exchange_strong(ticket, ticket + 1)) continue;
    runPiece(body, closure, count * piece / pieces, count * (piece + 1) / pieces, thread);
    if (remaining_.fetch_sub(1) == 1) {
      { std::lock_guard lock(mutex_); }
      done_.notify_one();
    }
  }
}

void Pool::runPiece(Body body, const void* closure, int64_t begin, int64_t end, int thread) {
  insideThread = thread;
  try {
    body(closure, begin, end, thread);
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
  insideThread = -1;
}

}  // namespace birkhoff
