// Few queries against some pairs of a KV head and a block: scores, softmax weights, weighted
// values. The 16 keys of a block lie side by side in lanes for the scores, neighbouring elements
// for the values, so both stream through once, several queries of a group sharing what is loaded.
// Included once per instruction set (no #pragma once).
#if defined(PENTAFOLD_KERNELS_CPU_ATTENTION_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_ATTENTION_PAIRS_INL_H_
#undef PENTAFOLD_KERNELS_CPU_ATTENTION_PAIRS_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_ATTENTION_PAIRS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

constexpr int kSlots = static_cast<int>(kKvBlockTokens);
static_assert(kSlots == kLanes * kVectors);

// Pairs of a KV head and a block that pass together: their chains hide each other's latency.
constexpr int kFewPairs = static_cast<int>(kHeadsTogether);

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

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
