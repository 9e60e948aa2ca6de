// Attention of a tile of many queries: queries lie side by side in lanes, keys and values are
// broadcast, so scores, softmax and output of 16 queries advance together and nothing is ever added
// across lanes. Included once per instruction set (no #pragma once).
#if defined(PENTAFOLD_KERNELS_CPU_ATTENTION_MANY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_ATTENTION_MANY_INL_H_
#undef PENTAFOLD_KERNELS_CPU_ATTENTION_MANY_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_ATTENTION_MANY_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/attention_rows-inl.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/kv_layout.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Chains of one query vector that advance together, as many as the registers hold.
constexpr int kTogether = kVectors == 1 ? 16 : 4;
// Blocks whose values are added in one pass over the output.
constexpr int kManyBlocks = 4;

// `count` numbers of a tile as floats.
template <KvType kType>
HWY_NOINLINE void widen_tile_of(const std::byte* tile, std::int64_t count, float* to) {
  for_lanes(count, [&](auto d, std::int64_t i)
                       HWY_ATTR { hn::StoreU(load_stored<kType>(d, tile, i), d, to + i); });
}

// The numbers of a tile as floats: where they lie, or in `room`.
HWY_INLINE const float* widened_tile(const KvLayer& cache, const std::byte* tile, float* room) {
  const std::int64_t count = kKvBlockTokens * cache.head_dim;
  switch (cache.type) {
    case KvType::F32:
      return reinterpret_cast<const float*>(tile);
    case KvType::BF16:
      widen_tile_of<KvType::BF16>(tile, count, room);
      break;
    case KvType::F16:
      widen_tile_of<KvType::F16>(tile, count, room);
      break;
    case KvType::I8:
      widen_tile_of<KvType::I8>(tile, count, room);
      break;
  }
  return room;
}

// p[j] = p[j] * scales[j] of all queries.
HWY_INLINE void scale_slots(const float* scales, float* HWY_RESTRICT p) {
  const Lanes16 d;
  for (int j = 0; j < static_cast<int>(kKvBlockTokens); ++j) {
    const auto scale = hn::Set(d, scales[j]);
    for (int v = 0; v < kVectors; ++v) {
      float* at = p + j * kQueries + v * kLanes;
      hn::Store(hn::Mul(hn::Load(d, at), scale), d, at);
    }
  }
}

// What the sixteen queries carry from one block to the next; `output` is (head_dim, 16).
struct ManyQueries {
  const float* q = nullptr;  // (head_dim, 16)
  float* output = nullptr;
  HWY_ALIGN float max[kQueries];
  HWY_ALIGN float sum[kQueries];
};

// One block's part for all queries; slots [from, to) are the keys a query sees.
struct ManyBlock {
  const float* v = nullptr;  // (16, head_dim)
  const float* v_scales = nullptr;
  HWY_ALIGN float p[kKvBlockTokens * kQueries];
  HWY_ALIGN float c[kQueries];
  HWY_ALIGN std::int32_t from[kQueries];
  HWY_ALIGN std::int32_t to[kQueries];
};

using Slots = hn::RebindToSigned<Lanes16>;

HWY_INLINE hn::Mask<Lanes16> sees(const ManyBlock& block, int v, int slot) {
  const Slots s;
  const auto at = hn::Set(s, slot);
  const auto seen = hn::AndNot(hn::Lt(at, hn::Load(s, block.from + v * kLanes)),
                               hn::Lt(at, hn::Load(s, block.to + v * kLanes)));
  return hn::RebindMask(Lanes16(), seen);
}

// p[j] = scale * (q . key j), one chain over head_dim each.
HWY_INLINE void score_keys(const float* HWY_RESTRICT q, const float* HWY_RESTRICT k,
                           std::int64_t head_dim, float scale, float* HWY_RESTRICT p) {
  const Lanes16 d;
  const auto factor = hn::Set(d, scale);
  for (int first = 0; first < static_cast<int>(kKvBlockTokens); first += kTogether) {
    hn::Vec<Lanes16> acc[kTogether * kVectors];
    PF_UNROLL
    for (int i = 0; i < kTogether * kVectors; ++i) acc[i] = hn::Zero(d);
    for (std::int64_t e = 0; e < head_dim; ++e) {
      hn::Vec<Lanes16> x[kVectors];
      PF_UNROLL
      for (int v = 0; v < kVectors; ++v) x[v] = hn::Load(d, q + e * kQueries + v * kLanes);
      const float* key = k + e * kKvBlockTokens + first;
      PF_UNROLL
      for (int i = 0; i < kTogether * kVectors; ++i) {
        acc[i] = fused(d, x[i % kVectors], hn::Set(d, key[i / kVectors]), acc[i]);
      }
    }
    PF_UNROLL
    for (int i = 0; i < kTogether * kVectors; ++i) {
      hn::Store(hn::Mul(factor, acc[i]), d, p + first * kQueries + i * kLanes);
    }
  }
}

// The largest of `max` and the scores of a block; of those a query sees, if kEdge. Order does not
// matter to a maximum, so four run side by side.
template <bool kEdge>
HWY_INLINE hn::Vec<Lanes16> max_of_block(const ManyBlock& block, int v, hn::Vec<Lanes16> max) {
  const Lanes16 d;
  constexpr int kChains = 4;
  hn::Vec<Lanes16> largest[kChains] = {max, max, max, max};
  PF_UNROLL
  for (int j = 0; j < static_cast<int>(kKvBlockTokens); ++j) {
    auto& most = largest[j % kChains];
    const auto larger = hn::Max(most, hn::Load(d, block.p + j * kQueries + v * kLanes));
    most = kEdge ? hn::IfThenElse(sees(block, v, j), larger, most) : larger;
  }
  return hn::Max(hn::Max(largest[0], largest[1]), hn::Max(largest[2], largest[3]));
}

// The factor of what came before a block. A query that sees nothing of it keeps all it has, even if
// that is none.
template <bool kEdge>
HWY_INLINE hn::Vec<Lanes16> factor_of_block(const ManyBlock& block, int v, hn::Vec<Lanes16> fall) {
  const Lanes16 d;
  const auto c = exp_bounded_lanes(d, fall);
  if constexpr (!kEdge) return c;
  const Slots s;
  const auto some =
      hn::Lt(hn::Load(s, block.from + v * kLanes), hn::Load(s, block.to + v * kLanes));
  return hn::IfThenElse(hn::RebindMask(d, some), c, hn::Set(d, 1.0F));
}

// Turns the scores of `count` blocks into weights p and factors c. Where all queries see the whole
// of each (kEdge false) no slot needs a mask. Maxima first, so that exponentials need not wait for
// each other.
template <bool kEdge>
HWY_NOINLINE void weigh_keys(ManyBlock* blocks, int count, ManyQueries& state) {
  const Lanes16 d;
  for (int v = 0; v < kVectors; ++v) {
    hn::Vec<Lanes16> max[kManyBlocks];
    auto last = hn::Load(d, state.max + v * kLanes);
    for (int b = 0; b < count; ++b) {
      max[b] = max_of_block<kEdge>(blocks[b], v, last);
      const auto c = factor_of_block<kEdge>(blocks[b], v, hn::Sub(last, max[b]));
      hn::Store(c, d, blocks[b].c + v * kLanes);
      last = max[b];
    }
    hn::Store(last, d, state.max + v * kLanes);
    auto sum = hn::Load(d, state.sum + v * kLanes);
    for (int b = 0; b < count; ++b) {
      float* p = blocks[b].p + v * kLanes;
      sum = hn::Mul(sum, hn::Load(d, blocks[b].c + v * kLanes));
      for (int j = 0; j < static_cast<int>(kKvBlockTokens); ++j) {
        const auto weight = exp_bounded_lanes(d, hn::Sub(hn::Load(d, p + j * kQueries), max[b]));
        const auto more = hn::Add(sum, weight);
        sum = kEdge ? hn::IfThenElse(sees(blocks[b], v, j), more, sum) : more;
        hn::Store(weight, d, p + j * kQueries);
      }
    }
    hn::Store(sum, d, state.sum + v * kLanes);
  }
  for (int b = 0; b < count; ++b) {
    if (blocks[b].v_scales != nullptr) scale_slots(blocks[b].v_scales, blocks[b].p);
  }
}

// output[e] = output[e] * c, then the chain over keys, for kCount elements and each block in turn.
template <int kCount, bool kEdge>
HWY_INLINE void add_block_values(const ManyBlock* blocks, int count, std::int64_t head_dim,
                                 std::int64_t e, float* HWY_RESTRICT output) {
  const Lanes16 d;
  hn::Vec<Lanes16> acc[kCount * kVectors];
  PF_UNROLL
  for (int i = 0; i < kCount * kVectors; ++i) {
    acc[i] = hn::Load(d, output + e * kQueries + i * kLanes);
  }
  for (int b = 0; b < count; ++b) {
    const ManyBlock& block = blocks[b];
    PF_UNROLL
    for (int i = 0; i < kCount * kVectors; ++i) {
      acc[i] = hn::Mul(acc[i], hn::Load(d, block.c + (i % kVectors) * kLanes));
    }
    for (int j = 0; j < static_cast<int>(kKvBlockTokens); ++j) {
      const float* value = block.v + j * head_dim + e;
      hn::Vec<Lanes16> p[kVectors];
      PF_UNROLL
      for (int v = 0; v < kVectors; ++v) p[v] = hn::Load(d, block.p + j * kQueries + v * kLanes);
      PF_UNROLL
      for (int i = 0; i < kCount * kVectors; ++i) {
        const auto more = fused(d, p[i % kVectors], hn::Set(d, value[i / kVectors]), acc[i]);
        acc[i] = kEdge ? hn::IfThenElse(sees(block, i % kVectors, j), more, acc[i]) : more;
      }
    }
  }
  PF_UNROLL
  for (int i = 0; i < kCount * kVectors; ++i) {
    hn::Store(acc[i], d, output + e * kQueries + i * kLanes);
  }
}

template <bool kEdge>
HWY_NOINLINE void add_many_values(const ManyBlock* blocks, int count, std::int64_t head_dim,
                                  float* output) {
  std::int64_t e = 0;
  for (; e + kTogether <= head_dim; e += kTogether) {
    add_block_values<kTogether, kEdge>(blocks, count, head_dim, e, output);
  }
  for (; e + 4 <= head_dim; e += 4) {
    add_block_values<4, kEdge>(blocks, count, head_dim, e, output);
  }
  for (; e < head_dim; ++e) add_block_values<1, kEdge>(blocks, count, head_dim, e, output);
}

// The keys of each query of a tile. Lanes without a query repeat the first and are not written.
struct ManyKeys {
  Range of[kQueries];
  Range some;  // blocks that any query reads
  Range full;  // blocks that all queries see whole
};

HWY_INLINE ManyKeys keys_of_tile(const AttentionArgs& a, const AttentionTile& tile) {
  ManyKeys keys;
  Range all{std::numeric_limits<std::int64_t>::max(), 0};
  Range common{0, std::numeric_limits<std::int64_t>::max()};
  for (std::int64_t l = 0; l < kQueries; ++l) {
    const std::int64_t query = tile.queries.begin + (l < tile.queries.size() ? l : 0);
    const Range mine =
        visible_keys(a.positions[static_cast<std::size_t>(tile.row_of(query))], a.window);
    keys.of[l] = mine;
    all = {std::min(all.begin, mine.begin), std::max(all.end, mine.end)};
    common = {std::max(common.begin, mine.begin), std::min(common.end, mine.end)};
  }
  keys.some = {all.begin / kKvBlockTokens, (all.end - 1) / kKvBlockTokens + 1};
  keys.full = {(common.begin + kKvBlockTokens - 1) / kKvBlockTokens, common.end / kKvBlockTokens};
  return keys;
}

// Folds block `b`, of which some query sees only a part, or nothing.
HWY_INLINE void limit_slots(const ManyKeys& keys, std::int64_t b, ManyBlock& block) {
  const std::int64_t start = b * kKvBlockTokens;
  for (int l = 0; l < kQueries; ++l) {
    const auto slot = [&](std::int64_t key) {
      return static_cast<std::int32_t>(std::clamp<std::int64_t>(key - start, 0, kKvBlockTokens));
    };
    block.from[l] = slot(keys.of[l].begin);
    block.to[l] = slot(keys.of[l].end);
  }
}

// Reads the tile at offset `tile` of the cache: the scores of its keys, and its values.
HWY_INLINE void open_block(const AttentionArgs& a, std::int64_t tile, const ManyQueries& state,
                           float* room, ManyBlock& block) {
  const std::int64_t tile_floats = kKvBlockTokens * a.cache.head_dim;
  std::byte* k = a.cache.k + tile;
  std::byte* v = a.cache.v + tile;
  score_keys(state.q, widened_tile(a.cache, k, room), a.cache.head_dim, a.scale, block.p);
  if (const float* scales = kv_scales(a.cache, k)) scale_slots(scales, block.p);
  block.v = widened_tile(a.cache, v, room + tile_floats);
  block.v_scales = kv_scales(a.cache, v);
}

// Floats that attend_many works in: queries, outputs, and what it widens.
constexpr std::int64_t many_room(const KvLayer& cache) {
  const std::int64_t tiles = cache.type == KvType::F32 ? 2 : 2 + 2 * kManyBlocks;
  return tiles * kTileQueries * cache.head_dim;
}

// `room` holds many_room floats, aligned.
void attend_many(const AttentionArgs& a, const AttentionTile& tile, float* room) {
  const std::int64_t head_dim = a.cache.head_dim;
  const std::int64_t tile_floats = kQueries * head_dim;
  ManyQueries state;
  gather_queries(a, tile, room);
  state.q = room;
  state.output = room + tile_floats;
  std::fill_n(state.output, tile_floats, 0.0F);
  std::fill_n(state.max, kQueries, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, kQueries, 0.0F);
  const ManyKeys keys = keys_of_tile(a, tile);
  const std::int32_t* table = a.block_tables[static_cast<std::size_t>(tile.row)];
  ManyBlock blocks[kManyBlocks];
  int count = 0;
  for (std::int64_t b = keys.some.begin; b < keys.some.end; b += count) {
    const bool full = b >= keys.full.begin && b < keys.full.end;
    count = full ? static_cast<int>(std::min<std::int64_t>(kManyBlocks, keys.full.end - b)) : 1;
    for (int i = 0; i < count; ++i) {
      open_block(a, kv_tile_offset(a.cache, table[b + i], tile.kv_head), state,
                 room + 2 * (1 + i) * tile_floats, blocks[i]);
    }
    if (full) {
      weigh_keys<false>(blocks, count, state);
      add_many_values<false>(blocks, count, head_dim, state.output);
    } else {
      limit_slots(keys, b, blocks[0]);
      weigh_keys<true>(blocks, count, state);
      add_many_values<true>(blocks, count, head_dim, state.output);
    }
  }
  scatter_outputs(a, tile, state.sum, state.output);
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
