#include "policy/kv_blocks.h"

#include <limits>
#include <numeric>

#include "base/check.h"

namespace pentafold {

KvBlockPool::KvBlockPool(std::int64_t blocks) {
  CHECK(blocks >= 0 && blocks <= std::numeric_limits<std::int32_t>::max());
  blocks_.resize(static_cast<std::size_t>(blocks));
  free_.resize(static_cast<std::size_t>(blocks));
  std::iota(free_.rbegin(), free_.rend(), 0);  // block 0 first
}

std::int32_t KvBlockPool::find(std::uint64_t hash) const {
  const auto found = by_hash_.find(hash);
  return found == by_hash_.end() ? kNone : found->second;
}

bool KvBlockPool::allocate(std::int64_t count, std::vector<std::int32_t>& blocks) {
  if (count > available()) return false;
  for (std::int64_t i = 0; i < count; ++i) blocks.push_back(take());
  return true;
}

std::int32_t KvBlockPool::take() {
  std::int32_t block = oldest_;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else {
    leave_cached(block);
    by_hash_.erase(at(block).hash);
    at(block).published = false;
  }
  at(block).references = 1;
  return block;
}

void KvBlockPool::share(std::int32_t block) {
  CHECK(at(block).published);
  if (at(block).references++ == 0) leave_cached(block);
}

void KvBlockPool::publish(std::int32_t block, std::uint64_t hash) {
  Block& mine = at(block);
  CHECK(mine.references > 0);
  if (mine.published || !by_hash_.try_emplace(hash, block).second) return;
  mine.published = true;
  mine.hash = hash;
}

void KvBlockPool::release(std::span<const std::int32_t> blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    Block& mine = at(*block);
    CHECK(mine.references > 0, "released more often than taken");
    if (--mine.references > 0) continue;
    if (mine.published) {
      enter_cached(*block);
    } else {
      free_.push_back(*block);
    }
  }
}

void KvBlockPool::enter_cached(std::int32_t block) {
  at(block).older = newest_;
  at(block).newer = kNone;
  (newest_ == kNone ? oldest_ : at(newest_).newer) = block;
  newest_ = block;
  ++cached_;
}

void KvBlockPool::leave_cached(std::int32_t block) {
  const Block& mine = at(block);
  (mine.older == kNone ? oldest_ : at(mine.older).newer) = mine.newer;
  (mine.newer == kNone ? newest_ : at(mine.newer).older) = mine.older;
  --cached_;
}

}  // namespace pentafold
