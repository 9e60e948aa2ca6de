#include "base/large_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <thread>

namespace pentafold {
namespace {

// Blocks of all sizes, taken and given in any order by several threads: none overlaps another.
TEST(LargePages, BlocksKeepWhatIsWritten) {
  const auto work = [](unsigned seed) {
    std::mt19937 draw(seed);
    std::vector<std::pair<LargeBytes, std::byte>> held;
    for (int i = 0; i < 200; ++i) {
      const std::size_t size = std::size_t{1} << draw() % 24;
      LargeBytes& block = held.emplace_back(LargeBytes(size), static_cast<std::byte>(draw())).first;
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 64, 0U);
      std::memset(block.data(), std::to_integer<int>(held.back().second), size);
      if (held.size() < 8) continue;
      std::swap(held[draw() % held.size()], held.back());
      for (const std::byte value : held.back().first) ASSERT_EQ(value, held.back().second);
      held.pop_back();
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back(work, seed);
}

TEST(LargePages, AVectorOfThemBehavesAsOne) {
  LargeBytes a(300'000, std::byte{7});
  LargeBytes b = a;
  EXPECT_EQ(a, b);
  b.push_back(std::byte{1});
  EXPECT_NE(a, b);
  a = std::move(b);
  EXPECT_EQ(a.size(), 300'001U);
  EXPECT_EQ(a.back(), std::byte{1});
  EXPECT_EQ(a.front(), std::byte{7});
}

TEST(LargePages, MoreThanThereIsIsRefused) {
  EXPECT_THROW(take_large(std::size_t{1} << 60), std::bad_alloc);
  EXPECT_THROW(LargePages<double>().allocate(static_cast<std::size_t>(-1)), std::bad_alloc);
}

}  // namespace
}  // namespace pentafold
