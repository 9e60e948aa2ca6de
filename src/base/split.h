// How a range of n things is cut over parts: the one rule every shard follows.
//
// split(n, parts, i) = [n*i/parts, n*(i+1)/parts): contiguous, in order, sizes differ by at most 1,
// and cutting a part again never leaves the part (nested splits stay nested).
// Held by base/base_test.cc.
#pragma once

#include <cstdint>

namespace pentafold {

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  constexpr std::int64_t size() const { return end - begin; }
  constexpr bool empty() const { return end <= begin; }
  constexpr bool contains(std::int64_t i) const { return i >= begin && i < end; }
  friend constexpr bool operator==(const Range&, const Range&) = default;
};

constexpr Range split(Range whole, std::int64_t parts, std::int64_t index) {
  return {whole.begin + whole.size() * index / parts,
          whole.begin + whole.size() * (index + 1) / parts};
}
constexpr Range split(std::int64_t n, std::int64_t parts, std::int64_t index) {
  return split(Range{0, n}, parts, index);
}

constexpr Range hull(Range a, Range b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {a.begin < b.begin ? a.begin : b.begin, a.end > b.end ? a.end : b.end};
}

}  // namespace pentafold
