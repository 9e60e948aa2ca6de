// Attention of a tile of few queries, as in decode: the 16 keys of a block lie side by side in
// lanes for the scores, neighbouring elements for the values, so keys and values stream through
// once, several queries of a group sharing what is loaded. Included once per instruction set (no
// #pragma once).
#if defined(PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_
#undef PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_ATTENTION_FEW_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/kv_layout.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

constexpr int kSlots = static_cast<int>(kKvBlockTokens);
static_assert(kSlots == kLanes * kVectors);

// Most queries that share a load, and blocks that pass together.
constexpr int kFewQueries = 8;
constexpr int kFewBlocks = 4;

// Vectors for each of some queries whose chains advance together, half of the registers.
constexpr int vectors_each(int queries) {
  return std::clamp((kVectors == 1 ? 16 : 8) / queries, 1, kFewBlocks);
}

// Into the second-level cache: the nearest has no room for blocks to come.
HWY_INLINE void prefetch(const std::byte* at) {
  __builtin_prefetch(at, 0, 2);
}

// What kCount queries carry from one group of blocks to the next.
template <int kCount>
struct FewQueries {
  const float* q[kCount] = {};
  Range keys[kCount];
  float max[kCount] = {};
  float sum[kCount] = {};
  float* output = nullptr;  // (kCount, head_dim)
};

// Up to kFewBlocks blocks, the weights p of their keys and the factors c of what came before each.
template <int kCount>
struct FewBlocks {
  int blocks = 0;
  std::int64_t head_dim = 0;
  const std::byte* k[kFewBlocks] = {};       // (head_dim, 16)
  const std::byte* v[kFewBlocks] = {};       // (16, head_dim)
  const std::byte* next_k[kFewBlocks] = {};  // what the next group will read
  const std::byte* next_v[kFewBlocks] = {};
  const float* k_scales[kFewBlocks] = {};
  const float* v_scales[kFewBlocks] = {};
  HWY_ALIGN float p[kCount * kFewBlocks * kSlots];
  HWY_ALIGN float c[kFewQueries * kFewBlocks];
};

// p = scale * (q . key), one chain over head_dim each, for kColumns vectors of keys from `first`.
template <KvType kType, int kCount, int kColumns>
HWY_INLINE void score_few(const FewQueries<kCount>& state, float scale, int first,
                          FewBlocks<kCount>& group) {
  const Lanes16 d;
  const std::byte* k[kColumns];
  const std::byte* next[kColumns];
  hn::Vec<Lanes16> acc[kCount][kColumns];
  PF_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    const std::int64_t lane = (first + i) % kVectors * kLanes * size_of(kType);
    k[i] = group.k[(first + i) / kVectors] + lane;
    next[i] = group.next_k[(first + i) / kVectors] + lane;
    PF_UNROLL
    for (int r = 0; r < kCount; ++r) acc[r][i] = hn::Zero(d);
  }
  for (std::int64_t e = 0; e < group.head_dim; ++e) {
    hn::Vec<Lanes16> key[kColumns];
    PF_UNROLL
    for (int i = 0; i < kColumns; ++i) {
      key[i] = load_stored<kType>(d, k[i], e * kSlots);
      if (i % kVectors == 0) prefetch(next[i] + e * kSlots * size_of(kType));
    }
    PF_UNROLL
    for (int r = 0; r < kCount; ++r) {
      const auto x = hn::Set(d, state.q[r][e]);
      PF_UNROLL
      for (int i = 0; i < kColumns; ++i) acc[r][i] = fused(d, x, key[i], acc[r][i]);
    }
  }
  const auto factor = hn::Set(d, scale);
  PF_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    const float* scales = group.k_scales[(first + i) / kVectors];
    PF_UNROLL
    for (int r = 0; r < kCount; ++r) {
      auto score = hn::Mul(factor, acc[r][i]);
      if constexpr (kType == KvType::I8) {
        score = hn::Mul(score, hn::LoadU(d, scales + (first + i) % kVectors * kLanes));
      }
      hn::Store(score, d, group.p + r * kFewBlocks * kSlots + (first + i) * kLanes);
    }
  }
}

// The largest score of slots `seen`; -inf if there is none.
HWY_INLINE float max_score(const float* score, Range seen) {
  const Lanes16 d;
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto max = lowest;
  if (seen.size() == kSlots) {
    PF_UNROLL
    for (int v = 0; v < kVectors; ++v) max = hn::Max(max, hn::Load(d, score + v * kLanes));
    return hn::GetLane(hn::MaxOfLanes(d, max));
  }
  for (int v = 0; v < kVectors; ++v) {
    const auto slot = hn::Iota(d, static_cast<float>(v * kLanes));
    const auto inside = hn::And(hn::Ge(slot, hn::Set(d, static_cast<float>(seen.begin))),
                                hn::Lt(slot, hn::Set(d, static_cast<float>(seen.end))));
    max = hn::Max(max, hn::IfThenElse(inside, hn::Load(d, score + v * kLanes), lowest));
  }
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

// Turns the scores of query r into weights and factors; every block has a key in `seen`.
template <int kCount>
HWY_INLINE void weigh_few(int r, Range seen, FewQueries<kCount>& state, FewBlocks<kCount>& group) {
  const Lanes16 d;
  HWY_ALIGN float fall[kSlots] = {};
  float max[kFewBlocks];
  for (int b = 0; b < group.blocks; ++b) {
    max[b] = std::max(state.max[r], max_score(group.p + (r * kFewBlocks + b) * kSlots, seen));
    fall[b] = state.max[r] - max[b];
    state.max[r] = max[b];
  }
  const hn::CappedTag<float, kFewBlocks> few;
  HWY_ALIGN float factor[kFewBlocks];
  for (int b = 0; b < kFewBlocks; b += static_cast<int>(hn::MaxLanes(few))) {
    hn::Store(exp_bounded_lanes(few, hn::Load(few, fall + b)), few, factor + b);
  }
  for (int b = 0; b < group.blocks; ++b) {
    float* p = group.p + (r * kFewBlocks + b) * kSlots;
    PF_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const auto difference = hn::Sub(hn::Load(d, p + v * kLanes), hn::Set(d, max[b]));
      hn::Store(exp_bounded_lanes(d, difference), d, p + v * kLanes);
    }
    group.c[r * kFewBlocks + b] = factor[b];
  }
  float sum = state.sum[r];
  for (int b = 0; b < group.blocks; ++b) {
    const float* p = group.p + (r * kFewBlocks + b) * kSlots;
    sum = sum * factor[b];
    for (std::int64_t j = seen.begin; j < seen.end; ++j) sum = sum + p[j];
  }
  state.sum[r] = sum;
  for (int b = 0; b < group.blocks && group.v_scales[b] != nullptr; ++b) {
    float* p = group.p + (r * kFewBlocks + b) * kSlots;
    for (int i = 0; i < kSlots; i += kLanes) {
      hn::Store(hn::Mul(hn::Load(d, p + i), hn::LoadU(d, group.v_scales[b] + i)), d, p + i);
    }
  }
}

// output[e] = output[e] * c, then the chain over slots `seen`, block by block, for queries
// first .. first + kRows - 1 and kWidth vectors of elements from e.
template <KvType kType, int kRows, int kWidth, int kCount, class D>
HWY_INLINE void add_few(D d, const FewBlocks<kCount>& group, Range seen, int first, std::int64_t e,
                        float* HWY_RESTRICT output) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> acc[kRows][kWidth];
  PF_UNROLL
  for (int r = 0; r < kRows; ++r) {
    PF_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      acc[r][i] = hn::LoadU(d, output + r * group.head_dim + e + i * lanes);
    }
  }
  for (int b = 0; b < group.blocks; ++b) {
    PF_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const auto c = hn::Set(d, group.c[(first + r) * kFewBlocks + b]);
      PF_UNROLL
      for (int i = 0; i < kWidth; ++i) acc[r][i] = hn::Mul(acc[r][i], c);
    }
    for (std::int64_t j = seen.begin; j < seen.end; ++j) {
      const std::int64_t at = j * group.head_dim + e;
      hn::Vec<D> value[kWidth];
      PF_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        value[i] = load_stored<kType>(d, group.v[b], at + i * lanes);
        prefetch(group.next_v[b] + (at + i * lanes) * size_of(kType));
      }
      PF_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const auto p = hn::Set(d, group.p[((first + r) * kFewBlocks + b) * kSlots + j]);
        PF_UNROLL
        for (int i = 0; i < kWidth; ++i) acc[r][i] = fused(d, p, value[i], acc[r][i]);
      }
    }
  }
  PF_UNROLL
  for (int r = 0; r < kRows; ++r) {
    PF_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      hn::StoreU(acc[r][i], d, output + r * group.head_dim + e + i * lanes);
    }
  }
}

// add_few over the whole head: wide steps first, then whatever head_dim leaves over.
template <KvType kType, int kRows, int kCount>
HWY_NOINLINE void add_few_values(const FewBlocks<kCount>& group, Range seen, int first,
                                 float* output) {
  constexpr int kWidth = vectors_each(kRows);
  const std::int64_t head_dim = group.head_dim;
  std::int64_t e = 0;
  for (; e + kWidth * kLanes <= head_dim; e += kWidth * kLanes) {
    add_few<kType, kRows, kWidth>(Lanes16(), group, seen, first, e, output);
  }
  if constexpr (kWidth > 2) {
    for (; e + 2 * kLanes <= head_dim; e += 2 * kLanes) {
      add_few<kType, kRows, 2>(Lanes16(), group, seen, first, e, output);
    }
  }
  for (; e + kLanes <= head_dim; e += kLanes) {
    add_few<kType, kRows, 1>(Lanes16(), group, seen, first, e, output);
  }
  const hn::CappedTag<float, 4> quarter;
  constexpr int kQuarter = static_cast<int>(hn::MaxLanes(hn::CappedTag<float, 4>()));
  for (; e + kQuarter <= head_dim; e += kQuarter) {
    add_few<kType, kRows, 1>(quarter, group, seen, first, e, output);
  }
  for (; e < head_dim; ++e) {
    add_few<kType, kRows, 1>(hn::CappedTag<float, 1>(), group, seen, first, e, output);
  }
}

// Scores of every block of the group.
template <KvType kType, int kCount>
HWY_NOINLINE void score_group(const FewQueries<kCount>& state, float scale,
                              FewBlocks<kCount>& group) {
  constexpr int kWide = vectors_each(kCount);
  constexpr int kNarrow = std::min(kWide, kVectors);
  const int columns = group.blocks * kVectors;
  int i = 0;
  for (; i + kWide <= columns; i += kWide) score_few<kType, kCount, kWide>(state, scale, i, group);
  for (; i < columns; i += kNarrow) score_few<kType, kCount, kNarrow>(state, scale, i, group);
}

// Blocks that a query of the tile reads, and blocks that all its queries see whole.
struct FewKeys {
  Range some;
  Range full;
};

// The queries of `tile`, kCount of them: the last stands in for those it lacks.
template <int kCount>
HWY_INLINE FewKeys start_few(const AttentionArgs& a, const AttentionTile& tile, float* output,
                             FewQueries<kCount>& state) {
  state.output = output;
  std::fill_n(output, kCount * a.cache.head_dim, 0.0F);
  Range all{std::numeric_limits<std::int64_t>::max(), 0};
  Range common{0, std::numeric_limits<std::int64_t>::max()};
  for (int r = 0; r < kCount; ++r) {
    const std::int64_t query = std::min(tile.queries.begin + r, tile.queries.end - 1);
    const std::int64_t row = tile.row_of(query);
    state.q[r] = a.q.row(row) + tile.head_of(query) * a.cache.head_dim;
    state.max[r] = -std::numeric_limits<float>::infinity();
    const Range mine = visible_keys(a.positions[static_cast<std::size_t>(row)], a.window);
    state.keys[r] = mine;
    all = {std::min(all.begin, mine.begin), std::max(all.end, mine.end)};
    common = {std::max(common.begin, mine.begin), std::min(common.end, mine.end)};
  }
  return {{all.begin / kSlots, (all.end - 1) / kSlots + 1},
          {(common.begin + kSlots - 1) / kSlots, common.end / kSlots}};
}

// The blocks of a tile's keys, read in order.
struct BlockWalk {
  const std::int32_t* table = nullptr;
  std::int64_t kv_head = 0;
  Range blocks;

  std::int64_t offset(const KvLayer& cache, std::int64_t block) const {
    return kv_tile_offset(cache, table[std::min(block, blocks.end - 1)], kv_head);
  }
};

HWY_INLINE BlockWalk walk_of(const AttentionArgs& a, const AttentionTile& tile) {
  const auto row = static_cast<std::size_t>(tile.row_of(tile.queries.begin));
  const Range keys = visible_keys(a.positions[row], a.window);
  return {a.block_tables[row], tile.kv_head, {keys.begin / kSlots, (keys.end - 1) / kSlots + 1}};
}

// Points the group at `blocks` of a walk, and at those to be fetched meanwhile: the next of this
// walk, then the first of the one `after`.
template <int kCount>
HWY_INLINE void open_blocks(const AttentionArgs& a, const BlockWalk& walk, Range blocks,
                            const BlockWalk& after, FewBlocks<kCount>& group) {
  group.blocks = static_cast<int>(blocks.size());
  for (int i = 0; i < group.blocks; ++i) {
    const std::int64_t at = walk.offset(a.cache, blocks.begin + i);
    const std::int64_t coming = blocks.end + i;
    const std::int64_t next =
        coming < walk.blocks.end
            ? walk.offset(a.cache, coming)
            : after.offset(a.cache, after.blocks.begin + coming - walk.blocks.end);
    group.k[i] = a.cache.k + at;
    group.v[i] = a.cache.v + at;
    group.next_k[i] = a.cache.k + next;
    group.next_v[i] = a.cache.v + next;
    group.k_scales[i] = kv_scales(a.cache, a.cache.k + at);
    group.v_scales[i] = kv_scales(a.cache, a.cache.v + at);
  }
}

template <KvType kType, int kCount>
void attend_few_of(const AttentionArgs& a, const AttentionTile& tile, const AttentionTile& after,
                   float* output) {
  const std::int64_t head_dim = a.cache.head_dim;
  FewQueries<kCount> state;
  const FewKeys keys = start_few<kCount>(a, tile, output, state);
  const BlockWalk walk{a.block_tables[static_cast<std::size_t>(tile.row)], tile.kv_head, keys.some};
  const BlockWalk then = walk_of(a, after);
  FewBlocks<kCount> group;
  group.head_dim = head_dim;
  for (std::int64_t b = keys.some.begin; b < keys.some.end; b += group.blocks) {
    const bool full = b >= keys.full.begin && b < keys.full.end;
    const std::int64_t end = full ? std::min(b + kFewBlocks, keys.full.end) : b + 1;
    open_blocks<kCount>(a, walk, {b, end}, then, group);
    score_group<kType, kCount>(state, a.scale, group);
    if (full) {
      for (int r = 0; r < kCount; ++r) weigh_few<kCount>(r, {0, kSlots}, state, group);
      add_few_values<kType, kCount, kCount>(group, {0, kSlots}, 0, output);
      continue;
    }
    for (int r = 0; r < kCount; ++r) {
      const Range seen{std::max<std::int64_t>(state.keys[r].begin - b * kSlots, 0),
                       std::min<std::int64_t>(state.keys[r].end - b * kSlots, kSlots)};
      if (seen.begin >= seen.end) continue;
      weigh_few<kCount>(r, seen, state, group);
      add_few_values<kType, 1, kCount>(group, seen, r, output + r * head_dim);
    }
  }
  for (int r = 0; r < tile.queries.size(); ++r) {
    const std::int64_t query = tile.queries.begin + r;
    float* out = a.out.row(tile.row_of(query)) + tile.head_of(query) * head_dim;
    for_lanes(head_dim, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto sum = hn::Set(d, state.sum[r]);
      hn::StoreU(hn::Div(hn::LoadU(d, output + r * head_dim + i), sum), d, out + i);
    });
  }
}

template <KvType kType>
void attend_few_in(const AttentionArgs& a, const AttentionTile& tile, const AttentionTile& after,
                   float* room) {
  const std::int64_t queries = tile.queries.size();
  if (queries == 1) return attend_few_of<kType, 1>(a, tile, after, room);
  if (queries == 2) return attend_few_of<kType, 2>(a, tile, after, room);
  if (queries <= 4) return attend_few_of<kType, 4>(a, tile, after, room);
  attend_few_of<kType, 8>(a, tile, after, room);
}

// `room` holds kFewQueries * head_dim floats; `after` is the tile whose turn is next.
void attend_few(const AttentionArgs& a, const AttentionTile& tile, const AttentionTile& after,
                float* room) {
  switch (a.cache.type) {
    case KvType::F32:
      return attend_few_in<KvType::F32>(a, tile, after, room);
    case KvType::BF16:
      return attend_few_in<KvType::BF16>(a, tile, after, room);
    case KvType::F16:
      return attend_few_in<KvType::F16>(a, tile, after, room);
    case KvType::I8:
      return attend_few_in<KvType::I8>(a, tile, after, room);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
