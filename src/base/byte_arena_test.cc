#include "base/byte_arena.h"

#include <gtest/gtest.h>

#include <vector>

namespace pentafold {
namespace {

TEST(ByteArena, CutsAreDisjointAlignedAndRounded) {
  ByteArena arena(3 * kArenaAlign);
  std::pmr::vector<std::int32_t> a(5, 1, &arena);
  std::pmr::vector<char> b(1, 'x', &arena);
  EXPECT_EQ(arena.used(), 2 * kArenaAlign);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data()) % kArenaAlign, 0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data()),
            reinterpret_cast<std::uintptr_t>(a.data()) + kArenaAlign);
}

TEST(ByteArena, RewindGivesBackAndThePeakStays) {
  ByteArena arena(100);
  EXPECT_EQ(arena.capacity(), 2 * kArenaAlign);
  const std::pmr::vector<char> kept(1, 'k', &arena);
  const std::int64_t mark = arena.used();
  for (int i = 0; i < 100; ++i) {
    const std::pmr::vector<char> passing(static_cast<std::size_t>(kArenaAlign), 'p', &arena);
    EXPECT_EQ(arena.used(), 2 * kArenaAlign);
    arena.rewind(mark);
  }
  EXPECT_EQ(arena.used(), kArenaAlign);
  EXPECT_EQ(arena.most_used(), 2 * kArenaAlign);
  EXPECT_EQ(kept[0], 'k');
}

TEST(ByteArenaDeathTest, NeverGrows) {
  ByteArena arena(kArenaAlign);
  EXPECT_DEATH(std::pmr::vector<char>(static_cast<std::size_t>(kArenaAlign) + 1, 'x', &arena),
               "more working memory than the plan counted");
}

TEST(ByteCount, KeepsThePeak) {
  ByteCount count;
  count.add(5);
  count.remove(3);
  count.add(2);
  EXPECT_EQ(count.now, 4);
  EXPECT_EQ(count.peak, 5);
}

}  // namespace
}  // namespace pentafold
