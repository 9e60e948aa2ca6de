#include "kernels/kv_layout.h"

#include <algorithm>

namespace pentafold {

void append_keys_and_values(const KvAppendArgs& a, Range rows) {
  const std::int64_t head_dim = a.cache.head_dim;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const std::int64_t position = a.positions[r];
    const std::int64_t slot = position % kKvBlockTokens;
    const std::int64_t block = a.block_tables[r][position / kKvBlockTokens];
    for (std::int64_t h = 0; h < a.cache.kv_heads; ++h) {
      const std::int64_t tile = kv_tile_offset(a.cache, block, h);
      const float* key = a.k.row(r) + h * head_dim;
      const float* value = a.v.row(r) + h * head_dim;
      for (std::int64_t d = 0; d < head_dim; ++d)
        a.cache.k[tile + d * kKvBlockTokens + slot] = key[d];
      std::copy_n(value, head_dim, a.cache.v + tile + slot * head_dim);
    }
  }
}

}  // namespace pentafold
