#include "memory.h"

#include <algorithm>
#include <bit>
#include <new>

#include "platform.h"

namespace birkhoff {

// What the pool may keep even when little was ever in use.
static constexpr size_t keptAlways = size_t{64} << 20;

bool Budget::take(size_t bytes) {
  size_t used = used_.load();
  do {
    if (bytes > limit_ || used > limit_ - bytes) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes));
  return true;
}

std::shared_ptr<Block> Block::allocate(std::shared_ptr<Budget> budget, size_t bytes) {
  if (!budget->take(bytes)) return nullptr;
  void* data = alignedAllocate(bytes);
  if (!data) {
    budget->give(bytes);
    return nullptr;
  }
  return std::make_shared<Block>(std::move(budget), data, bytes);
}

Block::~Block() {
  alignedFree(data_);
  budget_->give(bytes_);
}

size_t MemoryPool::sizeClass(size_t bytes) {
  if (exactSizes) return std::max<size_t>(bytes, 1);
  if (bytes <= 4 * alignment) return std::max(alignment, (bytes + alignment - 1) / alignment * alignment);
  const size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

std::shared_ptr<Block> MemoryPool::take(size_t bytes) {
  if (bytes > budget_->limit()) return nullptr;
  const size_t size = sizeClass(bytes);
  std::shared_ptr<Block> block;
  uses_++;
  {
    std::lock_guard lock(mutex_);
    if (auto found = free_.find(size); found != free_.end() && !found->second.blocks.empty()) {
      Shelf& shelf = found->second;
      block = std::move(shelf.blocks.back());
      shelf.blocks.pop_back();
      shelf.lastUse = uses_;
      pooledBytes_ -= size;
    }
  }
  if (!block) {
    block = allocate(size);
    if (!block) return nullptr;
    allocations_++;
  }
  liveBytes_ += size;
  mostBytes_ = std::max(mostBytes_, liveBytes_);
  return block;
}

void MemoryPool::put(std::shared_ptr<Block> block) {
  const size_t size = block->bytes();
  liveBytes_ -= size;
  uses_++;
  std::lock_guard lock(mutex_);
  if (!makeRoom(size)) return;
  pooledBytes_ += size;
  Shelf& shelf = free_[size];
  shelf.blocks.push_back(std::move(block));
  shelf.lastUse = uses_;
}

bool MemoryPool::makeRoom(size_t size) {
  const size_t most = std::max(keptAlways, 2 * mostBytes_);
  while (pooledBytes_ + size > most && !free_.empty()) {
    const auto stalest = std::min_element(
        free_.begin(), free_.end(), [](const auto& a, const auto& b) { return a.second.lastUse < b.second.lastUse; });
    const auto& [bytes, shelf] = *stalest;
    if (uses_ - shelf.lastUse < staleAfter) return false;
    pooledBytes_ -= bytes * shelf.blocks.size();
    free_.erase(stalest);
  }
  return pooledBytes_ + size <= most;
}

std::shared_ptr<Block> MemoryPool::allocate(size_t bytes) {
  std::shared_ptr<Block> block = Block::allocate(budget_, bytes);
  if (!block) {
    trim();
    block = Block::allocate(budget_, bytes);
  }
  return block;
}

void MemoryPool::trim() {
  std::lock_guard lock(mutex_);
  free_.clear();
  pooledBytes_ = 0;
}

void* Scratch::take(size_t bytes) {
  bytes =
      exactSizes ? std::max<size_t>(bytes, 1) : std::max(alignment, (bytes + alignment - 1) / alignment * alignment);
  wanted_ += bytes;
  if (exactSizes || blocks_.empty() || blocks_.back()->bytes() - filled_ < bytes) {
    std::shared_ptr<Block> block = pool_.allocate(bytes);
    if (!block) throw std::bad_alloc();
    blocks_.push_back(std::move(block));
    filled_ = 0;
  }
  void* area = static_cast<char*>(blocks_.back()->data()) + filled_;
  filled_ += bytes;
  return area;
}

void Scratch::reset() {
  if (exactSizes) {
    blocks_.clear();
  } else if (blocks_.size() > 1) {
    blocks_.clear();
    if (std::shared_ptr<Block> whole = Block::allocate(pool_.budget(), wanted_)) blocks_.push_back(std::move(whole));
  }
  filled_ = wanted_ = 0;
}

}  // namespace birkhoff
