// Where a token's key and value lie in a layer's KV pool, and which keys a row sees.
//
// K is stored transposed inside a block, (head_dim, 16), so that 16 keys advance along head_dim
// with one contiguous load a step; V is (16, head_dim), so that an output's head_dim is contiguous.
// Pure addressing and copies, the same on every CPU device. Cost: O(rows kv_heads head_dim) to
// append. Held by kernels/attention_test.cc.
#pragma once

#include <cstdint>

#include "base/split.h"
#include "kernels/device.h"

namespace pentafold {

// Offset, in floats, of the (block, kv head) tile; the same in K and in V.
inline std::int64_t kv_tile_offset(const KvLayer& cache, std::int64_t block, std::int64_t kv_head) {
  return (block * cache.kv_heads + kv_head) * cache.head_dim * kKvBlockTokens;
}

// Absolute positions of the keys that the row at `position` sees; window 0: all.
inline Range visible_keys(std::int64_t position, std::int64_t window) {
  const std::int64_t end = position + 1;
  return {window > 0 && window < end ? end - window : 0, end};
}

// Writes the key and value of each of `rows` into its slot (Device::kv_append).
void append_keys_and_values(const KvAppendArgs& args, Range rows);

}  // namespace pentafold
