// The canonical reduction tree: why a sharded contraction gives the same bits under every plan.
//
// A contraction that a plan may shard is cut into G leaves (G follows from the model alone). Each
// leaf is one fp32 chain; leaves meet in one fixed binary tree over [0, G): node [b, e) splits at
// b + (largest power of two below e - b). A rank that holds leaves [b, e) sums the maximal subtrees
// inside its range (cover) and ships those partial sums; whoever completes the reduction adds
// the rest of the tree above them (finish). For G a power of two and aligned ranges the cover is
// one node; any other divisor works too, at the price of a few more partials.
// Source: DESIGN rule 2; pairwise summation (Higham 1993) bounds the error by O(log G).
// Cost: integer arithmetic, O(G). Held by base/reduction_tree_test.cc (every split of every G <= 64
// gives the bits of the whole tree).
#pragma once

#include <cstdint>
#include <vector>

#include "base/split.h"

namespace pentafold {

// Where node [range) with more than one leaf splits.
std::int64_t tree_split(Range node);

// The maximal subtrees of the tree over [0, leaves) that tile `mine`, in ascending order.
std::vector<Range> tree_cover(std::int64_t leaves, Range mine);

// The additions that complete a tree whose nodes `have` (in ascending order, tiling [0, leaves))
// are known: slot[dst] += slot[src], in this order, leaves the root in slot 0.
struct TreeAdd {
  int dst = 0;
  int src = 0;
  friend bool operator==(const TreeAdd&, const TreeAdd&) = default;
};
std::vector<TreeAdd> tree_finish(std::int64_t leaves, const std::vector<Range>& have);

// Cover of every part when [0, leaves) is split over `parts`, in part order.
std::vector<Range> tree_cover_all(std::int64_t leaves, std::int64_t parts);

}  // namespace pentafold
