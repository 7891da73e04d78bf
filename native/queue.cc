#include "queue.h"

#include <cstring>
#include <exception>
#include <future>
#include <new>
#include <utility>

#include "platform.h"

namespace birkhoff {

namespace {
// About 20 microseconds: what JavaScript needs to enqueue the next call.
constexpr int spins = 1000;
}  // namespace

Queue::Queue(int threads, MemoryPool& memory) : threads_(threads), memory_(memory), scratch_(memory) {
  thread_ = std::thread([this] { loop(threads_); });
}

Queue::~Queue() { stop(); }

void Queue::run(std::shared_ptr<Prepared> prepared, std::vector<std::shared_ptr<Block>> blocks,
                std::vector<double> scalars) {
  enqueue({[this, prepared = std::move(prepared), blocks = std::move(blocks), scalars = std::move(scalars)]() mutable {
             execute(*prepared, blocks, scalars);
           },
           nullptr});
}

void Queue::write(std::shared_ptr<Block> block, const void* data, size_t bytes) {
  if (bytes == 0) return;
  // With nothing pending nobody else touches the block: only this thread enqueues.
  if (pending_.load() == 0) {
    std::memcpy(block->data(), data, bytes);
    return;
  }
  std::shared_ptr<Block> copy = memory_.allocate(bytes);
  if (!copy) {
    drain();
    std::memcpy(block->data(), data, bytes);
    return;
  }
  std::memcpy(copy->data(), data, bytes);
  enqueue(
      {[block = std::move(block), copy = std::move(copy), bytes] { std::memcpy(block->data(), copy->data(), bytes); },
       nullptr});
}

void Queue::read(std::shared_ptr<Block> block, void* target, size_t bytes, Done done) {
  enqueue({[block = std::move(block), target, bytes] {
             if (bytes > 0) std::memcpy(target, block->data(), bytes);
           },
           std::move(done)});
}

void Queue::synchronize(Done done) {
  enqueue({[] {}, std::move(done)});
}

void Queue::drain() {
  std::promise<void> reached;
  enqueue({[this, &reached] {
             scratch_.release();
             reached.set_value();
           },
           nullptr});
  reached.get_future().wait();
}

void Queue::enqueue(Command command) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    if (command.done) answers_++;
    commands_.push_back(std::move(command));
    wake = sleeping_;
  }
  // Behind the lock, which the queue's thread takes as soon as it sees this.
  pending_.fetch_add(1);
  if (wake) wake_.notify_one();
}

void Queue::close(std::function<void()> done) {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    closed_ = std::move(done);
  }
  wake_.notify_one();
}

void Queue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Queue::loop(int threads) {
  // Made here so that thread 0 of the pool is this thread.
  pool_ = std::make_unique<Pool>(threads);
  const auto news = [this] { return stopping_ || closing_ || !commands_.empty(); };
  std::deque<Command> left;
  for (;;) {
    for (int i = 0; i < spins && pending_.load() == 0; i++) relax();
    Command command;
    {
      std::unique_lock lock(mutex_);
      sleeping_ = true;
      wake_.wait(lock, news);
      sleeping_ = false;
      if (stopping_ || (closing_ && answers_ == 0)) {
        left.swap(commands_);
        break;
      }
      if (commands_.empty()) continue;
      command = std::move(commands_.front());
      commands_.pop_front();
    }
    command.execute();
    command.execute = nullptr;
    if (command.done) {
      command.done(std::exchange(outcome_, {}));
      std::lock_guard lock(mutex_);
      answers_--;
    }
    pending_.fetch_sub(1);
  }
  for (Command& command : left) {
    if (command.done) command.done({Outcome::Kind::dropped, "", 0});
  }
  left.clear();
  pool_.reset();
  std::function<void()> closed;
  {
    std::lock_guard lock(mutex_);
    closed = std::exchange(closed_, nullptr);
  }
  if (closed) closed();
}

void Queue::execute(Prepared& prepared, const std::vector<std::shared_ptr<Block>>& blocks,
                    std::vector<double>& scalars) {
  Call& call = prepared.call;
  size_t next = 0;
  for (Tensor& tensor : call.inputs) tensor.data = blocks[next++]->data();
  for (Tensor& tensor : call.outputs) tensor.data = blocks[next++]->data();
  call.scalars.swap(scalars);
  Context context(*pool_, scratch_);
  Outcome outcome;
  try {
    if (prepared.foreign) {
      runForeign(prepared.foreign, call, context);
    } else {
      prepared.kernel(call, context);
    }
    if (context.faulted()) outcome = {Outcome::Kind::fault, prepared.faultMessage, context.faultValue()};
  } catch (const std::bad_alloc&) {
    outcome = {Outcome::Kind::outOfMemory, prepared.op, 0};
  } catch (const std::exception& error) {
    outcome = {Outcome::Kind::failed, prepared.op + ": " + error.what(), 0};
  }
  scratch_.reset();
  if (outcome_.kind == Outcome::Kind::ok && outcome.kind != Outcome::Kind::ok) outcome_ = std::move(outcome);
}

}  // namespace birkhoff
