// Attention of tiles of few queries, as in decode: block by block for neighbouring heads, so that
// keys and values are read in the order in which they lie. Included once per instruction set (no
// #pragma once).
#if defined(PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_
#undef PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <span>

#include "kernels/cpu/attention_pairs-inl.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/kv_layout.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Heads that pass a block in turn, and floats of their outputs: these stay in the nearest cache.
constexpr std::int64_t kMostHeads = 16;
constexpr std::int64_t kNearFloats = 4096;

// The keys of a tile's queries, kCount of them: the last stands in for those it lacks.
template <int kCount>
struct FewKeys {
  Range of[kCount];
  Range some{std::numeric_limits<std::int64_t>::max(), 0};  // blocks that a query reads
  Range full{0, std::numeric_limits<std::int64_t>::max()};  // blocks that all see whole
};

HWY_INLINE std::int64_t query_or_last(const AttentionTile& tile, std::int64_t r) {
  return std::min(tile.queries.begin + r, tile.queries.end - 1);
}

template <int kCount>
HWY_INLINE FewKeys<kCount> keys_of(const AttentionArgs& a, const AttentionTile& tile) {
  FewKeys<kCount> keys;
  for (int r = 0; r < kCount; ++r) {
    const auto row = static_cast<std::size_t>(tile.row_of(query_or_last(tile, r)));
    const Range mine = visible_keys(a.positions[row], a.window);
    keys.of[r] = mine;
    keys.some = {std::min(keys.some.begin, mine.begin / kSlots),
                 std::max(keys.some.end, (mine.end - 1) / kSlots + 1)};
    keys.full = {std::max(keys.full.begin, (mine.begin + kSlots - 1) / kSlots),
                 std::min(keys.full.end, mine.end / kSlots)};
  }
  return keys;
}

template <int kCount>
HWY_INLINE void start_few(const AttentionArgs& a, const AttentionTile& tile, float* output,
                          FewQueries<kCount>& state) {
  state.output = output;
  std::fill_n(output, kCount * a.cache.head_dim, 0.0F);
  for (int r = 0; r < kCount; ++r) {
    const std::int64_t query = query_or_last(tile, r);
    state.q[r] = a.q.row(tile.row_of(query)) + tile.head_of(query) * a.cache.head_dim;
    state.max[r] = -std::numeric_limits<float>::infinity();
  }
}

template <int kCount>
HWY_INLINE void finish_few(const AttentionArgs& a, const AttentionTile& tile,
                           const FewQueries<kCount>& state) {
  const std::int64_t head_dim = a.cache.head_dim;
  for (int r = 0; r < tile.queries.size(); ++r) {
    const std::int64_t query = tile.queries.begin + r;
    float* out = a.out.row(tile.row_of(query)) + tile.head_of(query) * head_dim;
    for_lanes(head_dim, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto sum = hn::Set(d, state.sum[r]);
      hn::StoreU(hn::Div(hn::LoadU(d, state.output + r * head_dim + i), sum), d, out + i);
    });
  }
}

// The blocks that neighbouring heads of a request read, in order.
struct BlockWalk {
  const std::int32_t* table = nullptr;
  std::int64_t kv_head = 0;  // the first
  Range blocks;

  // Of the tile of a head, counted from the first; past the last one: of the last.
  std::int64_t offset(const KvLayer& cache, std::int64_t block, std::int64_t head) const {
    return kv_tile_offset(cache, table[std::min(block, blocks.end - 1)],
                          std::min(kv_head + head, cache.kv_heads - 1));
  }
};

HWY_INLINE BlockWalk walk_of(const AttentionArgs& a, const AttentionTile& tile) {
  const auto row = static_cast<std::size_t>(tile.row_of(tile.queries.begin));
  const Range keys = visible_keys(a.positions[row], a.window);
  return {a.block_tables[row], tile.kv_head, {keys.begin / kSlots, (keys.end - 1) / kSlots + 1}};
}

// Points the group at heads from `head` in `blocks` of a walk, and at those to be fetched
// meanwhile: the same heads in the blocks that follow, then the first of the walk `after`.
template <int kCount, int kHeads>
HWY_INLINE void open_pairs(const AttentionArgs& a, const BlockWalk& walk, Range blocks, int head,
                           const BlockWalk& after, FewPairs<kCount, kHeads>& group) {
  group.blocks = static_cast<int>(blocks.size());
  for (int i = 0; i < group.pairs(); ++i) {
    const int of = head + i % kHeads;
    const std::int64_t at = walk.offset(a.cache, blocks.begin + i / kHeads, of);
    const std::int64_t coming = blocks.end + i / kHeads;
    const std::int64_t next =
        coming < walk.blocks.end
            ? walk.offset(a.cache, coming, of)
            : after.offset(a.cache, after.blocks.begin + coming - walk.blocks.end, of);
    group.k[i] = a.cache.k + at;
    group.v[i] = a.cache.v + at;
    group.next_k[i] = a.cache.k + next;
    group.next_v[i] = a.cache.v + next;
    group.k_scales[i] = kv_scales(a.cache, a.cache.k + at);
    group.v_scales[i] = kv_scales(a.cache, a.cache.v + at);
  }
}

// One tile, or kHeads at a time of tiles that differ in their head only: block by block, so that
// keys and values are read in the order in which they lie.
template <KvType kType, int kCount, int kHeads>
void attend_few_of(const AttentionArgs& a, std::span<const AttentionTile> tiles,
                   const AttentionTile& after, float* room) {
  FewQueries<kCount> state[kHeads == 1 ? 1 : kMostHeads];
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    start_few(a, tiles[t], room, state[t]);
    room += kCount * a.cache.head_dim;
  }
  const AttentionTile& tile = tiles.front();
  const FewKeys keys = keys_of<kCount>(a, tile);
  const BlockWalk walk{a.block_tables[static_cast<std::size_t>(tile.row)], tile.kv_head, keys.some};
  const BlockWalk then = walk_of(a, after);
  FewPairs<kCount, kHeads> group;
  group.head_dim = a.cache.head_dim;
  std::int64_t end = 0;
  for (std::int64_t b = keys.some.begin; b < keys.some.end; b = end) {
    const bool full = b >= keys.full.begin && b < keys.full.end;
    end = full ? std::min<std::int64_t>(b + kFewPairs / kHeads, keys.full.end) : b + 1;
    for (int head = 0; head < std::ssize(tiles); head += kHeads) {
      group.head = state + head;
      open_pairs(a, walk, {b, end}, head, then, group);
      score_group<kType>(a.scale, group);
      if (full) {
        for (int r = 0; r < kCount; ++r) weigh_few(r, {0, kSlots}, group);
        add_few_values<kType, kCount>(group, {0, kSlots}, 0);
        continue;
      }
      for (int r = 0; r < kCount; ++r) {
        const Range seen{std::max<std::int64_t>(keys.of[r].begin - b * kSlots, 0),
                         std::min<std::int64_t>(keys.of[r].end - b * kSlots, kSlots)};
        if (seen.begin >= seen.end) continue;
        weigh_few(r, seen, group);
        add_few_values<kType, 1>(group, seen, r);
      }
    }
  }
  for (std::size_t t = 0; t < tiles.size(); ++t) finish_few(a, tiles[t], state[t]);
}

template <KvType kType, int kCount>
void attend_few_queries(const AttentionArgs& a, std::span<const AttentionTile> tiles,
                        const AttentionTile& after, float* room) {
  if (tiles.size() == 1) return attend_few_of<kType, kCount, 1>(a, tiles, after, room);
  attend_few_of<kType, kCount, kFewPairs>(a, tiles, after, room);
}

template <KvType kType>
void attend_few_in(const AttentionArgs& a, std::span<const AttentionTile> tiles,
                   const AttentionTile& after, float* room) {
  const std::int64_t queries = tiles.front().queries.size();
  if (queries == 1) return attend_few_queries<kType, 1>(a, tiles, after, room);
  if (queries == 2) return attend_few_queries<kType, 2>(a, tiles, after, room);
  if (queries <= 4) return attend_few_queries<kType, 4>(a, tiles, after, room);
  attend_few_queries<kType, 8>(a, tiles, after, room);
}

// The first tiles that attend_few takes together: one, or a multiple of kFewPairs neighbouring
// heads of the same queries.
HWY_INLINE std::size_t few_together(const AttentionArgs& a, std::span<const AttentionTile> tiles) {
  const AttentionTile& first = tiles.front();
  const auto queries = std::bit_ceil(static_cast<std::uint64_t>(first.queries.size()));
  const std::int64_t floats = static_cast<std::int64_t>(queries) * a.cache.head_dim;
  const auto most = std::min<std::size_t>(
      tiles.size(), static_cast<std::size_t>(std::min(kMostHeads, kNearFloats / floats)));
  std::size_t count = 1;
  while (count < most && tiles[count].row == first.row && tiles[count].heads == first.heads &&
         tiles[count].queries == first.queries &&
         tiles[count].kv_head == first.kv_head + static_cast<std::int32_t>(count)) {
    ++count;
  }
  return count < kFewPairs ? 1 : count - count % kFewPairs;
}

// Floats that attend_few needs for its outputs.
constexpr std::int64_t few_room(const KvLayer& cache) {
  return std::max(kNearFloats, kFewQueries * cache.head_dim);
}

// `tiles`: as many as few_together says. `room` holds few_room floats; `after` is the tile whose
// turn is next.
void attend_few(const AttentionArgs& a, std::span<const AttentionTile> tiles,
                const AttentionTile& after, float* room) {
  switch (a.cache.type) {
    case KvType::F32:
      return attend_few_in<KvType::F32>(a, tiles, after, room);
    case KvType::BF16:
      return attend_few_in<KvType::BF16>(a, tiles, after, room);
    case KvType::F16:
      return attend_few_in<KvType::F16>(a, tiles, after, room);
    case KvType::I8:
      return attend_few_in<KvType::I8>(a, tiles, after, room);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
