// Attention of tiles of few queries, as in decode: the 16 keys of a block lie side by side in lanes
// for the scores, neighbouring elements for the values, so keys and values stream through once,
// several queries of a group sharing what is loaded. Included once per instruction set (no #pragma
// once).
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

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/kv_layout.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

constexpr int kSlots = static_cast<int>(kKvBlockTokens);
static_assert(kSlots == kLanes * kVectors);

// Pairs of a KV head and a block that pass together: their chains hide each other's latency.
constexpr int kFewPairs = static_cast<int>(kHeadsTogether);
// Heads that pass a block in turn, and floats of their outputs: these stay in the nearest cache.
constexpr std::int64_t kMostHeads = 16;
constexpr std::int64_t kNearFloats = 4096;

// Vectors for each of some queries whose chains advance together, half of the registers.
constexpr int vectors_each(int queries) {
  return std::clamp((kVectors == 1 ? 16 : 8) / queries, 1, kFewPairs);
}

// Into the second-level cache: the nearest has no room for blocks to come.
HWY_INLINE void prefetch(const std::byte* at) {
  __builtin_prefetch(at, 0, 2);
}

// What kCount queries of a KV head carry from one block to the next.
template <int kCount>
struct FewQueries {
  const float* q[kCount] = {};
  float max[kCount] = {};
  float sum[kCount] = {};
  float* output = nullptr;  // (kCount, head_dim)
};

// kHeads neighbouring KV heads by up to kFewPairs / kHeads blocks: pair i is head i % kHeads of
// block i / kHeads. The weights p of their keys and the factors c of what came before each.
template <int kCount, int kHeads>
struct FewPairs {
  FewQueries<kCount>* head = nullptr;  // kHeads
  int blocks = 0;
  std::int64_t head_dim = 0;
  const std::byte* k[kFewPairs] = {};       // (head_dim, 16)
  const std::byte* v[kFewPairs] = {};       // (16, head_dim)
  const std::byte* next_k[kFewPairs] = {};  // what will be read some pairs later
  const std::byte* next_v[kFewPairs] = {};
  const float* k_scales[kFewPairs] = {};
  const float* v_scales[kFewPairs] = {};
  HWY_ALIGN float p[kCount * kFewPairs * kSlots];
  HWY_ALIGN float c[kFewQueries * kFewPairs];

  int pairs() const { return blocks * kHeads; }
  FewQueries<kCount>& of(int pair) const { return head[pair % kHeads]; }
};

// p = scale * (q . key), one chain over head_dim each, for kColumns vectors of keys from `first`.
template <KvType kType, int kColumns, int kCount, int kHeads>
HWY_INLINE void score_few(float scale, int first, FewPairs<kCount, kHeads>& group) {
  const Lanes16 d;
  const std::byte* k[kColumns];
  const std::byte* next[kColumns];
  const float* q[kCount][kColumns];
  hn::Vec<Lanes16> acc[kCount][kColumns];
  PF_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    const int pair = (first + i) / kVectors;
    const std::int64_t lane = (first + i) % kVectors * kLanes * size_of(kType);
    k[i] = group.k[pair] + lane;
    next[i] = group.next_k[pair] + lane;
    PF_UNROLL
    for (int r = 0; r < kCount; ++r) {
      q[r][i] = group.of(kHeads == 1 ? 0 : pair).q[r];
      acc[r][i] = hn::Zero(d);
    }
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
      PF_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        acc[r][i] = fused(d, hn::Set(d, q[r][i][e]), key[i], acc[r][i]);
      }
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
      hn::Store(score, d, group.p + r * kFewPairs * kSlots + (first + i) * kLanes);
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
template <int kCount, int kHeads>
HWY_INLINE void weigh_few(int r, Range seen, FewPairs<kCount, kHeads>& group) {
  const Lanes16 d;
  HWY_ALIGN float fall[kSlots] = {};
  float max[kFewPairs];
  const int pairs = group.pairs();
  for (int i = 0; i < pairs; ++i) {
    float& before = group.of(i).max[r];
    max[i] = std::max(before, max_score(group.p + (r * kFewPairs + i) * kSlots, seen));
    fall[i] = before - max[i];
    before = max[i];
  }
  const hn::CappedTag<float, kFewPairs> few;
  float* factor = group.c + r * kFewPairs;
  for (int i = 0; i < kFewPairs; i += static_cast<int>(hn::MaxLanes(few))) {
    hn::Store(exp_bounded_lanes(few, hn::Load(few, fall + i)), few, factor + i);
  }
  for (int i = 0; i < pairs; ++i) {
    float* p = group.p + (r * kFewPairs + i) * kSlots;
    PF_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const auto difference = hn::Sub(hn::Load(d, p + v * kLanes), hn::Set(d, max[i]));
      hn::Store(exp_bounded_lanes(d, difference), d, p + v * kLanes);
    }
  }
  for (int i = 0; i < pairs; ++i) {
    const float* p = group.p + (r * kFewPairs + i) * kSlots;
    float sum = group.of(i).sum[r] * factor[i];
    for (std::int64_t j = seen.begin; j < seen.end; ++j) sum = sum + p[j];
    group.of(i).sum[r] = sum;
  }
  for (int i = 0; i < pairs && group.v_scales[i] != nullptr; ++i) {
    float* p = group.p + (r * kFewPairs + i) * kSlots;
    for (int l = 0; l < kSlots; l += kLanes) {
      hn::Store(hn::Mul(hn::Load(d, p + l), hn::LoadU(d, group.v_scales[i] + l)), d, p + l);
    }
  }
}

// Elements e, e + 1, ... of the outputs, kWidth vectors of them, for kRows queries from `first`:
// times c, then the chain over slots `seen`, block by block, of kTogether heads from `from`.
template <KvType kType, int kRows, int kTogether, int kWidth, int kCount, int kHeads, class D>
HWY_INLINE void add_few(D d, const FewPairs<kCount, kHeads>& group, Range seen, int first, int from,
                        std::int64_t e) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> acc[kTogether][kRows][kWidth];
  const auto output = [&](int h, int r, int i) HWY_ATTR {
    return group.head[from + h].output + (first + r) * group.head_dim + e + i * lanes;
  };
  PF_UNROLL
  for (int h = 0; h < kTogether; ++h) {
    PF_UNROLL
    for (int r = 0; r < kRows; ++r) {
      PF_UNROLL
      for (int i = 0; i < kWidth; ++i) acc[h][r][i] = hn::LoadU(d, output(h, r, i));
    }
  }
  for (int b = 0; b < group.blocks; ++b) {
    const int pair = b * kHeads + from;
    PF_UNROLL
    for (int h = 0; h < kTogether; ++h) {
      PF_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const auto c = hn::Set(d, group.c[(first + r) * kFewPairs + pair + h]);
        PF_UNROLL
        for (int i = 0; i < kWidth; ++i) acc[h][r][i] = hn::Mul(acc[h][r][i], c);
      }
    }
    for (std::int64_t j = seen.begin; j < seen.end; ++j) {
      const std::int64_t at = j * group.head_dim + e;
      PF_UNROLL
      for (int h = 0; h < kTogether; ++h) {
        hn::Vec<D> value[kWidth];
        PF_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          value[i] = load_stored<kType>(d, group.v[pair + h], at + i * lanes);
          prefetch(group.next_v[pair + h] + (at + i * lanes) * size_of(kType));
        }
        PF_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const auto p = hn::Set(d, group.p[((first + r) * kFewPairs + pair + h) * kSlots + j]);
          PF_UNROLL
          for (int i = 0; i < kWidth; ++i) acc[h][r][i] = fused(d, p, value[i], acc[h][r][i]);
        }
      }
    }
  }
  PF_UNROLL
  for (int h = 0; h < kTogether; ++h) {
    PF_UNROLL
    for (int r = 0; r < kRows; ++r) {
      PF_UNROLL
      for (int i = 0; i < kWidth; ++i) hn::StoreU(acc[h][r][i], d, output(h, r, i));
    }
  }
}

// add_few over all elements: wide steps first, then whatever head_dim leaves over.
template <KvType kType, int kRows, int kTogether, int kCount, int kHeads>
HWY_INLINE void add_few_elements(const FewPairs<kCount, kHeads>& group, Range seen, int first,
                                 int from) {
  constexpr int kWidth = std::max(vectors_each(kRows) / (kTogether > 1 ? 2 : 1), 1);
  const std::int64_t head_dim = group.head_dim;
  std::int64_t e = 0;
  const auto add = [&]<int kVectorsEach>(auto d) HWY_ATTR {
    const std::int64_t step = kVectorsEach * static_cast<std::int64_t>(hn::MaxLanes(d));
    for (; e + step <= head_dim; e += step) {
      add_few<kType, kRows, kTogether, kVectorsEach>(d, group, seen, first, from, e);
    }
  };
  add.template operator()<kWidth>(Lanes16());
  if constexpr (kWidth > 2) add.template operator()<2>(Lanes16());
  if constexpr (kWidth > 1) add.template operator()<1>(Lanes16());
  add.template operator()<1>(hn::CappedTag<float, 4>());
  add.template operator()<1>(hn::CappedTag<float, 1>());
}

// All heads' outputs for kRows queries from `first`.
template <KvType kType, int kRows, int kCount, int kHeads>
HWY_NOINLINE void add_few_values(const FewPairs<kCount, kHeads>& group, Range seen, int first) {
  constexpr int kTogether = std::min(kHeads, vectors_each(kRows));
  for (int from = 0; from < kHeads; from += kTogether) {
    add_few_elements<kType, kRows, kTogether>(group, seen, first, from);
  }
}

// Scores of every pair of the group.
template <KvType kType, int kCount, int kHeads>
HWY_NOINLINE void score_group(float scale, FewPairs<kCount, kHeads>& group) {
  constexpr int kWide = vectors_each(kCount);
  constexpr int kNarrow = std::min(kWide, kVectors);
  const int columns = group.pairs() * kVectors;
  int i = 0;
  for (; i + kWide <= columns; i += kWide) score_few<kType, kWide>(scale, i, group);
  for (; i < columns; i += kNarrow) score_few<kType, kNarrow>(scale, i, group);
}

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
