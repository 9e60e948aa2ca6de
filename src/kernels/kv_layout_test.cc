#include "kernels/kv_layout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace pentafold {
namespace {

TEST(KvLayout, AHeadWithoutANumberStaysWithoutOne) {
  // Integers cannot say NaN or infinity: the scale does, for that head of that token alone.
  std::vector<float> x(8, 1.0F);
  x[1] = std::numeric_limits<float>::infinity();
  x[6] = 0.0F;
  std::vector<std::byte> k(2 * 16 * (4 + 4));
  std::vector<std::byte> v = k;
  const KvLayer cache{k.data(), v.data(), 2, 4, KvType::I8};
  const std::int32_t table = 0;
  const std::int32_t* tables[] = {&table};
  const std::int64_t positions[] = {0};
  make_device("cpu")->kv_append({.rows = 1,
                                 .k = {x.data(), 8},
                                 .v = {x.data(), 8},
                                 .positions = positions,
                                 .block_tables = tables,
                                 .cache = cache});
  for (std::byte* pool : {cache.k, cache.v}) {
    EXPECT_TRUE(std::isnan(kv_scales(cache, pool)[0]));
    EXPECT_EQ(kv_scales(cache, pool + kv_tile_offset(cache, 0, 1))[0], 1.0F / 127.0F);
  }
}

TEST(KvLayout, WindowCountsTheRowItself) {
  EXPECT_EQ(visible_keys(10, 0), (Range{0, 11}));
  EXPECT_EQ(visible_keys(10, 1), (Range{10, 11}));
  EXPECT_EQ(visible_keys(10, 11), (Range{0, 11}));
  EXPECT_EQ(visible_keys(10, 10), (Range{1, 11}));
  EXPECT_EQ(visible_keys(10, 99), (Range{0, 11}));
}

}  // namespace
}  // namespace pentafold
