#include "base/reduction_tree.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/random.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMostLeaves = 64;

// Values of mixed magnitude, so that another order of additions almost surely rounds otherwise.
std::vector<float> leaf_values(std::int64_t leaves) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < leaves; ++i) {
    const std::uint64_t bits = mix64(static_cast<std::uint64_t>(leaves * 1000 + i));
    const auto exponent = static_cast<std::uint32_t>(117 + bits % 20);
    out.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits >> 40 & 0x7FFFFFU) |
                                       (exponent << 23) |
                                       static_cast<std::uint32_t>(bits >> 63 << 31)));
  }
  return out;
}

float sum_of(Range node, const std::vector<float>& leaf) {
  if (node.size() == 1) return leaf[static_cast<std::size_t>(node.begin)];
  const std::int64_t middle = tree_split(node);
  const float left = sum_of({node.begin, middle}, leaf);
  return left + sum_of({middle, node.end}, leaf);
}

float finish(std::int64_t leaves, const std::vector<Range>& have, const std::vector<float>& leaf) {
  std::vector<float> slot;
  for (const Range& node : have) slot.push_back(sum_of(node, leaf));
  for (const TreeAdd& add : tree_finish(leaves, have)) {
    slot[static_cast<std::size_t>(add.dst)] += slot[static_cast<std::size_t>(add.src)];
  }
  return slot[0];
}

std::uint32_t bits_of(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

TEST(ReductionTree, EverySplitGivesTheBitsOfTheWholeTree) {
  for (std::int64_t leaves = 1; leaves <= kMostLeaves; ++leaves) {
    const std::vector<float> leaf = leaf_values(leaves);
    const std::uint32_t whole = bits_of(sum_of({0, leaves}, leaf));
    for (std::int64_t parts = 1; parts <= leaves; ++parts) {
      ASSERT_EQ(bits_of(finish(leaves, tree_cover_all(leaves, parts), leaf)), whole)
          << leaves << " leaves over " << parts;
    }
  }
}

TEST(ReductionTree, EveryUnequalCutInTwoGivesTheBitsOfTheWholeTree) {
  for (std::int64_t leaves = 2; leaves <= kMostLeaves; ++leaves) {
    const std::vector<float> leaf = leaf_values(leaves);
    for (std::int64_t cut = 1; cut < leaves; ++cut) {
      std::vector<Range> have = tree_cover(leaves, {0, cut});
      for (const Range& node : tree_cover(leaves, {cut, leaves})) have.push_back(node);
      ASSERT_EQ(bits_of(finish(leaves, have, leaf)), bits_of(sum_of({0, leaves}, leaf)));
    }
  }
}

TEST(ReductionTree, AnotherOrderChangesBits) {
  // Shows that the equalities above could fail: summing from left to right differs for most sizes.
  int different = 0;
  for (std::int64_t leaves = 4; leaves <= kMostLeaves; ++leaves) {
    const std::vector<float> leaf = leaf_values(leaves);
    float sum = 0.0F;
    for (const float value : leaf) sum += value;
    if (bits_of(sum) != bits_of(sum_of({0, leaves}, leaf))) ++different;
  }
  EXPECT_GT(different, 30);
}

TEST(ReductionTree, SplitsAtTheLargestPowerOfTwoBelow) {
  EXPECT_EQ(tree_split({0, 2}), 1);
  EXPECT_EQ(tree_split({0, 3}), 2);
  EXPECT_EQ(tree_split({0, 8}), 4);
  EXPECT_EQ(tree_split({0, 9}), 8);
  EXPECT_EQ(tree_split({10, 15}), 14);
}

TEST(ReductionTree, CoverTilesTheRangeWithSubtrees) {
  for (std::int64_t leaves = 1; leaves <= kMostLeaves; ++leaves) {
    for (std::int64_t begin = 0; begin < leaves; ++begin) {
      for (std::int64_t end = begin + 1; end <= leaves; ++end) {
        std::int64_t next = begin;
        for (const Range& node : tree_cover(leaves, {begin, end})) {
          ASSERT_EQ(node.begin, next);
          ASSERT_FALSE(node.empty());
          next = node.end;
        }
        ASSERT_EQ(next, end);
      }
    }
  }
}

TEST(ReductionTree, AlignedPowerOfTwoRangesAreOneNode) {
  for (std::int64_t leaves = 1; leaves <= kMostLeaves; leaves *= 2) {
    for (std::int64_t parts = 1; parts <= leaves; parts *= 2) {
      EXPECT_EQ(tree_cover_all(leaves, parts).size(), static_cast<std::size_t>(parts));
    }
  }
}

TEST(ReductionTree, AnEmptyShareShipsNothing) {
  EXPECT_TRUE(tree_cover(8, {3, 3}).empty());
}

TEST(ReductionTreeDeathTest, NodesThatDoNotTileAreABug) {
  EXPECT_DEATH(tree_finish(4, {{0, 2}}), "do not tile");
  EXPECT_DEATH(tree_finish(4, {{0, 3}, {3, 4}}), "not a subtree");
}

}  // namespace
}  // namespace pentafold
