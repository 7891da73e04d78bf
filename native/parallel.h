// A pool of threads for one parallel loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace birkhoff {

// The thread that calls `split` is thread 0 and works too, so a pool of n threads starts n - 1.
// Waiting threads spin for some microseconds, since kernels follow each other closely, and then sleep.
class Pool {
 public:
  using Body = void (*)(const void* closure, int64_t begin, int64_t end, int thread);

  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // See Context::parallel. One caller at a time; called from within a body, it runs inline on that thread.
  // What a body throws is thrown here once all pieces are done.
  void split(int64_t count, int64_t grain, Body body, const void* closure);

 private:
  void spread();
  void loop(int thread);
  void work(int thread);
  void runPiece(Body body, const void* closure, int64_t begin, int64_t end, int thread);

  // High half: the job's number. Low half: the next piece to claim, or `closed` while a job is being written.
  // A claim is a compare-and-swap of both, so a thread that read an older job can never claim a piece of a newer one.
  std::atomic<uint64_t> ticket_;
  std::atomic<Body> body_{nullptr};
  std::atomic<const void*> closure_{nullptr};
  std::atomic<int64_t> count_{0};
  std::atomic<int64_t> pieces_{0};
  std::atomic<int64_t> remaining_{0};

  // The processor that the workers keep off: that of thread 0. Written by thread 0 alone.
  int avoided_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::exception_ptr error_;
  std::vector<std::thread> workers_;
};

}  // namespace birkhoff
