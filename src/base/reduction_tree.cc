#include "base/reduction_tree.h"

#include <bit>

#include "base/check.h"

namespace pentafold {
namespace {

void collect_cover(Range node, Range mine, std::vector<Range>& out) {
  if (node.end <= mine.begin || node.begin >= mine.end) return;
  if (node.begin >= mine.begin && node.end <= mine.end) {
    out.push_back(node);
    return;
  }
  const std::int64_t middle = tree_split(node);
  collect_cover({node.begin, middle}, mine, out);
  collect_cover({middle, node.end}, mine, out);
}

// Emits the additions below `node`; returns the slot that then holds its sum.
int finish_node(Range node, const std::vector<Range>& have, std::size_t& next,
                std::vector<TreeAdd>& out) {
  CHECK(next < have.size(), "tree_finish: nodes do not tile the tree");
  if (have[next] == node) return static_cast<int>(next++);
  CHECK(node.size() > 1, "tree_finish: a node is not a subtree");
  const std::int64_t middle = tree_split(node);
  const int left = finish_node({node.begin, middle}, have, next, out);
  const int right = finish_node({middle, node.end}, have, next, out);
  out.push_back({left, right});
  return left;
}

}  // namespace

std::int64_t tree_split(Range node) {
  CHECK(node.size() > 1);
  const auto below = std::bit_floor(static_cast<std::uint64_t>(node.size() - 1));
  return node.begin + static_cast<std::int64_t>(below);
}

std::vector<Range> tree_cover(std::int64_t leaves, Range mine) {
  std::vector<Range> out;
  if (!mine.empty()) collect_cover({0, leaves}, mine, out);
  return out;
}

std::vector<TreeAdd> tree_finish(std::int64_t leaves, const std::vector<Range>& have) {
  std::vector<TreeAdd> out;
  std::size_t next = 0;
  finish_node({0, leaves}, have, next, out);
  CHECK(next == have.size(), "tree_finish: more nodes than the tree has");
  return out;
}

std::vector<Range> tree_cover_all(std::int64_t leaves, std::int64_t parts) {
  std::vector<Range> out;
  for (std::int64_t i = 0; i < parts; ++i) {
    for (const Range& node : tree_cover(leaves, split(leaves, parts, i))) out.push_back(node);
  }
  return out;
}

}  // namespace pentafold
