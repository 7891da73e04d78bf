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
  if (auto found = free_.find(size); found != free_.end() && !found->second.empty()) {
    block = std::move(found->second.back());
    found->second.pop_back();
    pooledBytes_ -= size;
  } else {
    block = Block::allocate(budget_, size);
    if (!block) {
      trim();
      block = Block::allocate(budget_, size);
    }
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
  if (pooledBytes_ + size > std::max(keptAlways, mostBytes_)) return;
  pooledBytes_ += size;
  free_[size].push_back(std::move(block));
}

void MemoryPool::trim() {
  free_.clear();
  pooledBytes_ = 0;
}

void* Scratch::take(size_t bytes) {
  bytes =
      exactSizes ? std::max<size_t>(bytes, 1) : std::max(alignment, (bytes + alignment - 1) / alignment * alignment);
  wanted_ += bytes;
  if (exactSizes || blocks_.empty() || blocks_.back()->bytes() - filled_ < bytes) {
    std::shared_ptr<Block> block = Block::allocate(budget_, bytes);
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
    if (std::shared_ptr<Block> whole = Block::allocate(budget_, wanted_)) blocks_.push_back(std::move(whole));
  }
  filled_ = wanted_ = 0;
}

}  // namespace birkhoff
