// Device memory: blocks, the pool that recycles them, and the scratch area of running kernels.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace birkhoff {

// How many bytes are taken from the system, against a limit. Shared by all blocks of a device, from any thread.
class Budget {
 public:
  explicit Budget(size_t limit) : limit_(limit) {}

  bool take(size_t bytes);
  void give(size_t bytes) { used_.fetch_sub(bytes); }
  size_t limit() const { return limit_; }
  size_t used() const { return used_.load(); }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

// An aligned piece of memory from the system; gone when the last holder lets go.
class Block {
 public:
  // Null when the budget or the system has no more.
  static std::shared_ptr<Block> allocate(std::shared_ptr<Budget> budget, size_t bytes);
  Block(std::shared_ptr<Budget> budget, void* data, size_t bytes)
      : budget_(std::move(budget)), data_(data), bytes_(bytes) {}
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Budget> budget_;
  void* data_;
  size_t bytes_;
};

// Recycles blocks. Calls run in the order given, so a block may be handed out again while calls on its former contents
// are still queued: whatever is enqueued on it from now on runs after them. One thread takes and puts; work areas come
// from the queue's thread, and what is pooled makes room for them.
class MemoryPool {
 public:
  explicit MemoryPool(size_t limit) : budget_(std::make_shared<Budget>(limit)) {}

  // At least `bytes`, contents undefined; null when there is no memory, even after everything pooled was given back.
  std::shared_ptr<Block> take(size_t bytes);
  // The pool keeps at most twice what was ever in use at once: both halves of a training step may want most of that, in
  // sizes of their own. Beyond it, sizes that nobody has used for a while go back to the system, and if there are none,
  // what comes.
  void put(std::shared_ptr<Block> block);
  // A block that the pool does not keep afterwards, after everything pooled was given back if it must be. Any thread.
  std::shared_ptr<Block> allocate(size_t bytes);
  // Gives everything pooled back to the system (as soon as no queued call holds it). Any thread.
  void trim();

  const std::shared_ptr<Budget>& budget() const { return budget_; }
  size_t allocations() const { return allocations_; }
  size_t liveBytes() const { return liveBytes_; }
  size_t pooledBytes() const {
    std::lock_guard lock(mutex_);
    return pooledBytes_;
  }

  // Sizes in between are rounded up: at most a quarter more than asked for.
  static size_t sizeClass(size_t bytes);
  // Takes and puts after which a size is stale: many more than most training steps make, so that the sizes of a step do
  // not drive out each other.
  static constexpr uint64_t staleAfter = 1024;

 private:
  struct Shelf {
    std::vector<std::shared_ptr<Block>> blocks;
    uint64_t lastUse = 0;
  };
  // Whether a block of `size` bytes may be kept, after stale ones have made room.
  bool makeRoom(size_t size);

  std::shared_ptr<Budget> budget_;
  mutable std::mutex mutex_;  // for free_ and pooledBytes_
  std::map<size_t, Shelf> free_;
  size_t pooledBytes_ = 0;
  uint64_t uses_ = 0;
  size_t allocations_ = 0, liveBytes_ = 0, mostBytes_ = 0;
};

// Work areas of the running kernel. They are laid one behind the other in one block, which grows to the most that was
// ever wanted. One thread only.
class Scratch {
 public:
  // The pool must outlive it.
  explicit Scratch(MemoryPool& pool) : pool_(pool) {}

  // Throws std::bad_alloc.
  void* take(size_t bytes);
  // Ends the life of everything taken.
  void reset();
  // Gives the block back to the system. Between calls only.
  void release() { blocks_.clear(); }

 private:
  MemoryPool& pool_;
  std::vector<std::shared_ptr<Block>> blocks_;  // the last one is being filled
  size_t filled_ = 0, wanted_ = 0;
};

}  // namespace birkhoff
