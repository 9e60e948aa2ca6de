#include "base/slab.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>

#include "base/random.h"

namespace pentafold {
namespace {

struct Piece {
  std::size_t bytes = 0;
  unsigned char mark = 0;
};

bool holds(const void* at, const Piece& piece) {
  const auto* bytes = static_cast<const unsigned char*>(at);
  for (std::size_t i = 0; i < piece.bytes; i += 61) {
    if (bytes[i] != piece.mark) return false;
  }
  return piece.bytes == 0 || bytes[piece.bytes - 1] == piece.mark;
}

// Sizes from nothing to several slabs, freed in another order: nobody's bytes change, all is given
// back.
TEST(Slab, PiecesDoNotTouch) {
  const std::int64_t before = slab_bytes_in_use();
  std::map<void*, Piece> held;
  std::int64_t bytes = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const std::uint64_t draw = mix64(i);
    if (draw % 3 == 0 && !held.empty()) {
      const auto at = std::next(held.begin(), static_cast<std::ptrdiff_t>(draw / 3 % held.size()));
      ASSERT_TRUE(holds(at->first, at->second));
      bytes -= static_cast<std::int64_t>(at->second.bytes);
      slab_free(at->first, at->second.bytes);
      held.erase(at);
      continue;
    }
    const std::size_t size = draw % 7 == 0 ? draw % (20U << 20) : draw % (1U << 19);
    void* const at = slab_allocate(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 64, 0);
    const Piece piece{size, static_cast<unsigned char>(i)};
    std::memset(at, piece.mark, size);
    EXPECT_TRUE(held.emplace(at, piece).second);
    bytes += static_cast<std::int64_t>(size);
    EXPECT_EQ(slab_bytes_in_use() - before, bytes);
  }
  for (const auto& [at, piece] : held) {
    ASSERT_TRUE(holds(at, piece));
    slab_free(at, piece.bytes);
  }
  EXPECT_EQ(slab_bytes_in_use(), before);
}

TEST(Slab, ThreadsShareSlabs) {
  const std::int64_t before = slab_bytes_in_use();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        std::vector<SlabVector<int>> mine;
        for (int i = 0; i < 200; ++i) mine.emplace_back(static_cast<std::size_t>(1000 + i), t);
        for (const SlabVector<int>& values : mine) {
          for (const int value : values) ASSERT_EQ(value, t);
        }
      });
    }
  }
  EXPECT_EQ(slab_bytes_in_use(), before);
}

TEST(Slab, MoreThanThereIsIsRefused) {
  EXPECT_THROW(slab_allocate(SIZE_MAX - 5), std::bad_alloc);
  EXPECT_THROW(slab_allocate(SIZE_MAX / 2), std::bad_alloc);
}

}  // namespace
}  // namespace pentafold
