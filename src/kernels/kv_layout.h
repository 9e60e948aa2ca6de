// Where a token's key and value lie in a layer's KV pool, and which keys a row sees.
//
// A tile is one block of one KV head. K is stored transposed in it, (head_dim, 16), so that 16 keys
// advance along head_dim with one contiguous load a step; V is (16, head_dim), so that an output's
// head_dim is contiguous. With KvType::I8 the 16 scales follow. Pure addressing, conversion and
// copies, the same on every CPU device. Cost: O(rows kv_heads head_dim) to append. Held by
// kernels/attention_test.cc.
#pragma once

#include <cstdint>

#include "base/split.h"
#include "kernels/device.h"

namespace pentafold {

// Offset, in bytes, of the (block, kv head) tile; the same in K and in V.
inline std::int64_t kv_tile_offset(const KvLayer& cache, std::int64_t block, std::int64_t kv_head) {
  return (block * cache.kv_heads + kv_head) *
         kv_tile_bytes(cache.type, kKvBlockTokens, cache.head_dim);
}

// The scales of a tile's 16 tokens; null where numbers need none.
inline float* kv_scales(const KvLayer& cache, std::byte* tile) {
  if (cache.type != KvType::I8) return nullptr;
  return reinterpret_cast<float*>(tile + kKvBlockTokens * cache.head_dim);
}

// Absolute positions of the keys that the row at `position` sees; window 0: all.
inline Range visible_keys(std::int64_t position, std::int64_t window) {
  const std::int64_t end = position + 1;
  return {window > 0 && window < end ? end - window : 0, end};
}

// Writes the key and value of each of `rows` into its slot (Device::kv_append).
void append_keys_and_values(const KvAppendArgs& args, Range rows);

}  // namespace pentafold
