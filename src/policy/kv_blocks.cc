#include "policy/kv_blocks.h"

#include <bit>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/random.h"

namespace pentafold {

KvBlockPool::KvBlockPool(std::int64_t blocks) {
  CHECK(blocks >= 0 && blocks <= std::numeric_limits<std::int32_t>::max());
  blocks_.resize(static_cast<std::size_t>(blocks));
  free_.resize(static_cast<std::size_t>(blocks));
  std::iota(free_.rbegin(), free_.rend(), 0);  // block 0 first
}

std::size_t KvBlockPool::home(std::uint64_t hash) const {
  return static_cast<std::size_t>(mix64(hash)) & (by_hash_.size() - 1);
}

// Where the hash is, or would be put.
std::size_t KvBlockPool::place_of(std::uint64_t hash) const {
  std::size_t place = home(hash);
  while (by_hash_[place] != kNone && at(by_hash_[place]).hash != hash) {
    place = (place + 1) & (by_hash_.size() - 1);
  }
  return place;
}

std::int32_t KvBlockPool::find(std::uint64_t hash) const {
  return by_hash_.empty() ? kNone : by_hash_[place_of(hash)];
}

// Leaves a hole, and moves into it whoever could not be reached over it (Knuth, volume 3, 6.4 R).
void KvBlockPool::forget(std::uint64_t hash) {
  const std::size_t mask = by_hash_.size() - 1;
  std::size_t hole = place_of(hash);
  for (std::size_t next = (hole + 1) & mask; by_hash_[next] != kNone; next = (next + 1) & mask) {
    const std::size_t wanted = home(at(by_hash_[next]).hash);
    if (((next - wanted) & mask) < ((next - hole) & mask)) continue;
    by_hash_[hole] = by_hash_[next];
    hole = next;
  }
  by_hash_[hole] = kNone;
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
    forget(at(block).hash);
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
  if (by_hash_.empty()) by_hash_.assign(std::bit_ceil(2 * blocks_.size()), kNone);
  std::int32_t& place = by_hash_[place_of(hash)];
  if (mine.published || place != kNone) return;
  place = block;
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
