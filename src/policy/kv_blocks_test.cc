#include "policy/kv_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <random>
#include <set>

namespace pentafold {
namespace {

// The same rules over plain containers, with every count taken anew.
class PlainPool {
 public:
  explicit PlainPool(std::int64_t blocks) : references_(static_cast<std::size_t>(blocks), 0) {}

  std::int64_t used() const {
    return std::count_if(references_.begin(), references_.end(), [](int n) { return n > 0; });
  }
  std::int64_t available() const { return std::ssize(references_) - used(); }
  std::int64_t cached() const { return std::ssize(idle_); }
  bool knows(std::uint64_t hash) const { return block_of_.contains(hash); }
  std::int32_t block_of(std::uint64_t hash) const { return block_of_.at(hash); }

  // Which block may come next: any that is neither referenced nor cached; else the oldest cached.
  void take(std::int32_t block) {
    ASSERT_EQ(references_[static_cast<std::size_t>(block)], 0) << "taken twice";
    const bool any_free = available() > cached();
    const auto at = std::find(idle_.begin(), idle_.end(), block);
    ASSERT_EQ(at == idle_.end(), any_free) << "a cached block goes only if none is free";
    if (at != idle_.end()) {
      ASSERT_EQ(at, idle_.begin()) << "not the one needed longest ago";
      idle_.erase(at);
      std::erase_if(block_of_, [&](const auto& entry) { return entry.second == block; });
    }
    references_[static_cast<std::size_t>(block)] = 1;
  }
  void share(std::uint64_t hash) {
    const std::int32_t block = block_of_.at(hash);
    idle_.remove(block);
    ++references_[static_cast<std::size_t>(block)];
  }
  void publish(std::int32_t block, std::uint64_t hash) {
    for (const auto& [known, holder] : block_of_) {
      if (known == hash || holder == block) return;
    }
    block_of_[hash] = block;
  }
  void release(const std::vector<std::int32_t>& blocks) {
    for (auto b = blocks.rbegin(); b != blocks.rend(); ++b) {
      if (--references_[static_cast<std::size_t>(*b)] > 0) continue;
      const bool named = std::any_of(block_of_.begin(), block_of_.end(),
                                     [&](const auto& entry) { return entry.second == *b; });
      if (named) idle_.push_back(*b);
    }
  }

 private:
  std::vector<int> references_;
  std::list<std::int32_t> idle_;  // cached, oldest first
  std::map<std::uint64_t, std::int32_t> block_of_;
};

std::vector<std::uint64_t> prefix_of(std::uint32_t family, std::int64_t length) {
  std::vector<std::uint64_t> hashes;
  for (std::int64_t i = 0; i < length; ++i) {
    hashes.push_back(family * 100 + static_cast<std::uint64_t>(i));
  }
  return hashes;
}

TEST(KvBlockPool, AgreesWithAPlainPool) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    const std::int64_t size = 1 + random() % 24;
    KvBlockPool pool(size);
    PlainPool plain(size);
    std::vector<std::vector<std::int32_t>> held;
    for (int move = 0; move < 300; ++move) {
      if (random() % 2 == 0) {
        const auto hashes = prefix_of(random() % 3, random() % 6);
        std::int64_t here = 0;
        while (here < std::ssize(hashes) && plain.knows(hashes[static_cast<std::size_t>(here)])) {
          ++here;
        }
        std::vector<std::int32_t> mine;
        for (std::int64_t i = 0; i < std::ssize(hashes); ++i) {
          const std::uint64_t hash = hashes[static_cast<std::size_t>(i)];
          ASSERT_EQ(pool.find(hash), plain.knows(hash) ? plain.block_of(hash) : KvBlockPool::kNone);
        }
        for (std::int64_t i = 0; i < here; ++i) {
          const std::uint64_t hash = hashes[static_cast<std::size_t>(i)];
          mine.push_back(pool.find(hash));
          pool.share(mine.back());
          plain.share(hash);
        }
        const std::int64_t fresh = random() % 6;
        const bool room = fresh <= plain.available();
        const auto before = mine;
        ASSERT_EQ(pool.allocate(fresh, mine), room);
        if (!room) {
          ASSERT_EQ(mine, before);
        }
        for (auto i = before.size(); i < mine.size(); ++i) plain.take(mine[i]);
        for (std::size_t i = before.size(); i < std::min(mine.size(), hashes.size()); ++i) {
          pool.publish(mine[i], hashes[i]);
          plain.publish(mine[i], hashes[i]);
        }
        held.push_back(mine);
      } else if (!held.empty()) {
        const std::size_t which = random() % held.size();
        pool.release(held[which]);
        plain.release(held[which]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
      }
      ASSERT_EQ(pool.used(), plain.used()) << "seed " << seed;
      ASSERT_EQ(pool.available(), plain.available()) << "seed " << seed;
    }
    for (const auto& blocks : held) pool.release(blocks);
    EXPECT_EQ(pool.used(), 0) << "leaked";
    std::vector<std::int32_t> all;
    EXPECT_TRUE(pool.allocate(size, all));
    EXPECT_EQ(std::set<std::int32_t>(all.begin(), all.end()).size(),
              static_cast<std::size_t>(size));
  }
}

TEST(KvBlockPool, OnlySharingIdleBlocksTakesFromTheAvailable) {
  KvBlockPool pool(8);
  std::vector<std::int32_t> blocks;
  ASSERT_TRUE(pool.allocate(1, blocks));
  pool.publish(blocks[0], 7);
  EXPECT_FALSE(pool.idle(blocks[0]));
  pool.share(blocks[0]);
  EXPECT_EQ(pool.available(), 7);
  pool.release(blocks);
  pool.release(blocks);
  EXPECT_TRUE(pool.idle(blocks[0]));
  EXPECT_EQ(pool.available(), 8);
  pool.share(pool.find(7));
  EXPECT_EQ(pool.available(), 7);
}

}  // namespace
}  // namespace pentafold
