// The command queue: a thread of its own that runs what was enqueued, in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "foreign.h"
#include "kernel.h"
#include "memory.h"

namespace birkhoff {

// An op call ready to run: made once, run many times. `call` is written by the queue thread alone.
struct Prepared {
  Kernel kernel = nullptr;
  // In place of `kernel`, when it is the user's own.
  birkhoff_kernel foreign = nullptr;
  Call call;
  std::string op;
  // What the error for a fault says; the value that came is added by whoever reports it.
  std::string faultMessage;
};

// What went wrong since the last read or synchronize.
struct Outcome {
  enum class Kind { ok, fault, outOfMemory, failed, dropped };
  Kind kind = Kind::ok;
  std::string message;
  double value = 0;
};

class Queue {
 public:
  // Called on the queue's thread. Must not touch the queue.
  using Done = std::function<void(Outcome)>;

  // The pool, which must outlive the queue, gives work areas and makes room for them.
  Queue(int threads, MemoryPool& memory);
  // See stop().
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  int threads() const { return threads_; }

  // One block per operand, inputs first; scalars in the order of `call.scalarNames`.
  void run(std::shared_ptr<Prepared> prepared, std::vector<std::shared_ptr<Block>> blocks, std::vector<double> scalars);
  // Copies `bytes` bytes before it returns; waits for the queue when there is no memory to keep them in meanwhile.
  void write(std::shared_ptr<Block> block, const void* data, size_t bytes);
  // Copies into `target`, which must live until `done` was called.
  void read(std::shared_ptr<Block> block, void* target, size_t bytes, Done done);
  void synchronize(Done done);
  // Waits until everything enqueued so far has run and let go of its memory, that of work areas too. From the thread
  // that enqueues, before close().
  void drain();

  // Answers reads that were asked for, drops the rest, and then calls `done` (once); nothing may be enqueued any more.
  void close(std::function<void()> done);
  // Waits for the running call only, drops everything else (their `done` gets `dropped`) and ends the threads.
  // Safe to call twice, from the thread that enqueues.
  void stop();

 private:
  struct Command {
    std::function<void()> execute;
    Done done;  // set for reads and synchronize
  };

  void enqueue(Command command);
  void loop(int threads);
  void execute(Prepared& prepared, const std::vector<std::shared_ptr<Block>>& blocks, std::vector<double>& scalars);

  const int threads_;
  MemoryPool& memory_;
  Scratch scratch_;
  std::unique_ptr<Pool> pool_;
  Outcome outcome_;  // queue thread only

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Command> commands_;
  // Commands enqueued and not yet finished; `answers_` of them are reads.
  std::atomic<int64_t> pending_{0};
  int64_t answers_ = 0;
  bool closing_ = false, stopping_ = false, sleeping_ = false;
  std::function<void()> closed_;
  std::thread thread_;
};

}  // namespace birkhoff
