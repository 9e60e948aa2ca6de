#include "kernels/kv_layout.h"

#include <vector>

#include "base/quantise.h"

namespace pentafold {
namespace {

// A token's slot in the tile of one head.
struct Slot {
  const float* key = nullptr;    // (head_dim)
  const float* value = nullptr;  // (head_dim)
  std::byte* k = nullptr;        // the tiles
  std::byte* v = nullptr;
  std::int64_t at = 0;
};

template <DType kType>
void store_floats(std::int64_t head_dim, const Slot& slot) {
  constexpr auto kSize = static_cast<std::int64_t>(size_of(kType));
  for (std::int64_t d = 0; d < head_dim; ++d) {
    store_f32(slot.key[d], kType, slot.k + (d * kKvBlockTokens + slot.at) * kSize);
    store_f32(slot.value[d], kType, slot.v + (slot.at * head_dim + d) * kSize);
  }
}

// `key` is room for head_dim integers.
void store_integers(const KvLayer& cache, const Slot& slot, std::int8_t* key) {
  auto* k = reinterpret_cast<std::int8_t*>(slot.k);
  auto* v = reinterpret_cast<std::int8_t*>(slot.v);
  const std::int64_t head_dim = cache.head_dim;
  kv_scales(cache, slot.k)[slot.at] = quantise_group(slot.key, head_dim, kActivationLimit, key);
  for (std::int64_t d = 0; d < head_dim; ++d) k[d * kKvBlockTokens + slot.at] = key[d];
  kv_scales(cache, slot.v)[slot.at] =
      quantise_group(slot.value, head_dim, kActivationLimit, v + slot.at * head_dim);
}

}  // namespace

void append_keys_and_values(const KvAppendArgs& a, Range rows) {
  const std::int64_t head_dim = a.cache.head_dim;
  std::vector<std::int8_t> key(a.cache.type == KvType::I8 ? static_cast<std::size_t>(head_dim) : 0);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const std::int64_t position = a.positions[static_cast<std::size_t>(r)];
    const std::int64_t block =
        a.block_tables[static_cast<std::size_t>(r)][position / kKvBlockTokens];
    for (std::int64_t h = 0; h < a.cache.kv_heads; ++h) {
      const std::int64_t tile = kv_tile_offset(a.cache, block, h);
      const Slot slot{a.k.row(r) + h * head_dim, a.v.row(r) + h * head_dim, a.cache.k + tile,
                      a.cache.v + tile, position % kKvBlockTokens};
      switch (a.cache.type) {
        case KvType::F32:
          store_floats<DType::F32>(head_dim, slot);
          break;
        case KvType::BF16:
          store_floats<DType::BF16>(head_dim, slot);
          break;
        case KvType::F16:
          store_floats<DType::F16>(head_dim, slot);
          break;
        case KvType::I8:
          store_integers(a.cache, slot, key.data());
          break;
      }
    }
  }
}

}  // namespace pentafold
