#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/kv_layout.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Blocks whose scores advance together: independent chains hide the latency of a fused
// multiply-add.
constexpr int kScoreBlocks = 4;

constexpr int kBlockLanes = static_cast<int>(kKvBlockTokens);
static_assert(kBlockLanes == kLanes * kVectors);

// score[b][j] = scale * (q . key j of block b), one chain over head_dim each.
template <int kBlocks>
HWY_INLINE void score_blocks(const AttentionArgs& a, const float* q, const float* const* keys,
                             float* HWY_RESTRICT score) {
  const Lanes16 d;
  hn::Vec<Lanes16> acc[kBlocks * kVectors];
  PF_UNROLL
  for (int c = 0; c < kBlocks * kVectors; ++c) acc[c] = hn::Zero(d);
  for (std::int64_t i = 0; i < a.cache.head_dim; ++i) {
    const auto x = hn::Set(d, q[i]);
    PF_UNROLL
    for (int c = 0; c < kBlocks * kVectors; ++c) {
      const float* key = keys[c / kVectors] + i * kBlockLanes + (c % kVectors) * kLanes;
      acc[c] = fused(d, x, hn::LoadU(d, key), acc[c]);
    }
  }
  const auto scale = hn::Set(d, a.scale);
  PF_UNROLL
  for (int c = 0; c < kBlocks * kVectors; ++c) {
    hn::Store(hn::Mul(scale, acc[c]), d, score + c * kLanes);
  }
}

// What online softmax carries from one key block to the next, beside the weighted sum of values.
struct Softmax {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0F;
};

// Turns the scores of one block into weights p and returns the factor c of what came before.
// Only slots of `seen` hold keys: the others may hold anything and take no part.
HWY_INLINE float weigh_block(Range seen, float* HWY_RESTRICT score, Softmax& state) {
  const Lanes16 d;
  float new_max = state.max;
  for (std::int64_t j = seen.begin; j < seen.end; ++j) new_max = std::max(new_max, score[j]);
  const auto max = hn::Set(d, new_max);
  const float c = hn::GetLane(exp_lanes(d, hn::Sub(hn::Set(d, state.max), max)));
  PF_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const auto difference = hn::Sub(hn::Load(d, score + v * kLanes), max);
    hn::Store(exp_lanes(d, difference), d, score + v * kLanes);
  }
  float sum = state.sum * c;
  for (std::int64_t j = seen.begin; j < seen.end; ++j) sum = sum + score[j];
  state = {new_max, sum};
  return c;
}

struct ValueBlock {
  const float* v = nullptr;  // (16, head_dim)
  std::int64_t head_dim = 0;
  const float* p = nullptr;  // (16)
  Range seen;
  float c = 0.0F;
};

// acc[e] = acc[e] * c, then the chain over seen keys, for kCount vectors of elements from e.
template <int kCount, class D>
HWY_INLINE void add_values(D d, const ValueBlock& b, std::int64_t e, float* HWY_RESTRICT acc) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> sum[kCount];
  const auto c = hn::Set(d, b.c);
  PF_UNROLL
  for (int i = 0; i < kCount; ++i) sum[i] = hn::Mul(hn::LoadU(d, acc + e + i * lanes), c);
  for (std::int64_t j = b.seen.begin; j < b.seen.end; ++j) {
    const auto p = hn::Set(d, b.p[j]);
    const float* v = b.v + j * b.head_dim + e;
    PF_UNROLL
    for (int i = 0; i < kCount; ++i) sum[i] = fused(d, p, hn::LoadU(d, v + i * lanes), sum[i]);
  }
  PF_UNROLL
  for (int i = 0; i < kCount; ++i) hn::StoreU(sum[i], d, acc + e + i * lanes);
}

// add_values over the whole head: wide steps first, then whatever head_dim leaves over.
HWY_INLINE void add_values_of_head(const ValueBlock& b, float* HWY_RESTRICT acc) {
  std::int64_t e = 0;
  for (; e + 4 * kLanes <= b.head_dim; e += 4 * kLanes) add_values<4>(Lanes16(), b, e, acc);
  for (; e + kLanes <= b.head_dim; e += kLanes) add_values<1>(Lanes16(), b, e, acc);
  const hn::CappedTag<float, 4> quarter;
  constexpr int kQuarter = static_cast<int>(hn::MaxLanes(hn::CappedTag<float, 4>()));
  for (; e + kQuarter <= b.head_dim; e += kQuarter) add_values<1>(quarter, b, e, acc);
  for (; e < b.head_dim; ++e) add_values<1>(hn::CappedTag<float, 1>(), b, e, acc);
}

HWY_INLINE void attend_head(const AttentionArgs& a, std::int64_t r, std::int64_t head, float* acc) {
  const std::int64_t head_dim = a.cache.head_dim;
  const float* q = a.q.row(r) + head * head_dim;
  const std::int32_t kv_head = a.kv_of_q[static_cast<std::size_t>(head)];
  const Range keys = visible_keys(a.positions[r], a.window);
  const std::int64_t last = (keys.end - 1) / kBlockLanes + 1;
  Softmax state;
  std::fill_n(acc, head_dim, 0.0F);
  HWY_ALIGN float score[kScoreBlocks * kBlockLanes];
  std::int64_t count = 0;
  for (std::int64_t first = keys.begin / kBlockLanes; first < last; first += count) {
    const float* tile[kScoreBlocks] = {};
    std::int64_t offset[kScoreBlocks] = {};
    count = last - first >= kScoreBlocks ? kScoreBlocks : 1;
    for (std::int64_t b = 0; b < count; ++b) {
      offset[b] = kv_tile_offset(a.cache, a.block_tables[r][first + b], kv_head);
      tile[b] = a.cache.k + offset[b];
    }
    if (count == kScoreBlocks) {
      score_blocks<kScoreBlocks>(a, q, tile, score);
    } else {
      score_blocks<1>(a, q, tile, score);
    }
    for (std::int64_t b = 0; b < count; ++b) {
      const std::int64_t start = (first + b) * kBlockLanes;
      const Range seen{std::max<std::int64_t>(keys.begin - start, 0),
                       std::min<std::int64_t>(keys.end - start, kBlockLanes)};
      float* p = score + b * kBlockLanes;
      const float c = weigh_block(seen, p, state);
      add_values_of_head({a.cache.v + offset[b], head_dim, p, seen, c}, acc);
    }
  }
  float* out = a.out.row(r) + head * head_dim;
  for_lanes(head_dim, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Div(hn::LoadU(d, acc + i), hn::Set(d, state.sum)), d, out + i);
  });
}

void attention_rows(const AttentionArgs& a) {
  std::vector<float> acc(static_cast<std::size_t>(a.cache.head_dim));
  for (std::int64_t r = 0; r < a.rows; ++r) {
    for (std::int64_t h = 0; h < a.q_heads; ++h) attend_head(a, r, h, acc.data());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(attention_rows);

void attention(const AttentionArgs& args) {
  HWY_DYNAMIC_DISPATCH(attention_rows)(args);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
