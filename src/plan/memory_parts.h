// What memory.cc and memory_buffers.cc share. Internal to plan/memory*.cc.
// Held by tests/property/memory_test.cc.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "base/byte_arena.h"
#include "plan/memory.h"

namespace pentafold {

// Counts stop here instead of overflowing; sums of a few of them still fit 64 bits.
inline constexpr std::int64_t kTooMany = std::int64_t{1} << 60;

constexpr std::int64_t capped_product(std::initializer_list<std::int64_t> factors) {
  std::int64_t product = 1;
  for (const std::int64_t factor : factors) {
    if (factor == 0) return 0;
    if (product > kTooMany / factor) {
      product = kTooMany;
    } else {
      product *= factor;
    }
  }
  return product;
}
// What `count` things of `size` bytes take when they are cut from an arena.
constexpr std::int64_t cut_bytes(std::int64_t count, std::int64_t size) {
  return arena_bytes(capped_product({count, size}));
}
constexpr std::int64_t capped_sum(std::initializer_list<std::int64_t> terms) {
  std::int64_t sum = 0;
  for (const std::int64_t term : terms) sum = std::min(sum + term, kTooMany);
  return sum;
}

}  // namespace pentafold
