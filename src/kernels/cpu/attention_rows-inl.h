// Rows of a tile of queries into lanes and out again: 16 queries side by side for every element of
// the head. Included once per instruction set (no #pragma once).
#if defined(PENTAFOLD_KERNELS_CPU_ATTENTION_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_ATTENTION_ROWS_INL_H_
#undef PENTAFOLD_KERNELS_CPU_ATTENTION_ROWS_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_ATTENTION_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

constexpr int kQueries = static_cast<int>(kTileQueries);
static_assert(kQueries == kLanes * kVectors);

// Rows lie far apart: asks for the queries and outputs of a tile while another is at work.
HWY_INLINE void prefetch_rows(const AttentionArgs& a, const AttentionTile& tile) {
  constexpr std::int64_t kLineFloats = 16;
  const std::int64_t head_dim = a.cache.head_dim;
  for (std::int64_t query = tile.queries.begin; query < tile.queries.end; ++query) {
    const std::int64_t row = tile.row_of(query);
    const std::int64_t at = tile.head_of(query) * head_dim;
    for (std::int64_t e = 0; e < head_dim; e += kLineFloats) {
      __builtin_prefetch(a.q.row(row) + at + e, 0, 2);
      __builtin_prefetch(a.out.row(row) + at + e, 1, 2);
    }
  }
}

// Four rows of four floats, to[i][r] = from[r][i].
HWY_INLINE void transpose_quad(const float* const* from, float* const* to) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < 16; ++i) to[i % 4][i / 4] = from[i / 4][i % 4];
#else
  const hn::CappedTag<float, 4> d;
  const auto a = hn::LoadU(d, from[0]);
  const auto b = hn::LoadU(d, from[1]);
  const auto c = hn::LoadU(d, from[2]);
  const auto e = hn::LoadU(d, from[3]);
  const auto ac = hn::InterleaveLower(d, a, c);
  const auto be = hn::InterleaveLower(d, b, e);
  const auto ac_upper = hn::InterleaveUpper(d, a, c);
  const auto be_upper = hn::InterleaveUpper(d, b, e);
  hn::StoreU(hn::InterleaveLower(d, ac, be), d, to[0]);
  hn::StoreU(hn::InterleaveUpper(d, ac, be), d, to[1]);
  hn::StoreU(hn::InterleaveLower(d, ac_upper, be_upper), d, to[2]);
  hn::StoreU(hn::InterleaveUpper(d, ac_upper, be_upper), d, to[3]);
#endif
}

// q (16 queries, head_dim) -> (head_dim, 16). Lanes without a query repeat the first.
HWY_INLINE void gather_queries(const AttentionArgs& a, const AttentionTile& tile, float* q) {
  const std::int64_t head_dim = a.cache.head_dim;
  for (std::int64_t l = 0; l < kQueries; l += 4) {
    const float* from[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t query = tile.queries.begin + (l + i < tile.queries.size() ? l + i : 0);
      from[i] = a.q.row(tile.row_of(query)) + tile.head_of(query) * head_dim;
    }
    float* to = q + l;
    std::int64_t e = 0;
    for (; e + 4 <= head_dim; e += 4, to += 4 * kQueries) {
      const float* const rows[4] = {from[0] + e, from[1] + e, from[2] + e, from[3] + e};
      float* const columns[4] = {to, to + kQueries, to + 2 * kQueries, to + 3 * kQueries};
      transpose_quad(rows, columns);
    }
    for (; e < head_dim; ++e, to += kQueries) {
      for (std::int64_t i = 0; i < 4; ++i) to[i] = from[i][e];
    }
  }
}

// Divides `output`, (head_dim, 16), by the sums, (16), and writes it out.
HWY_INLINE void scatter_outputs(const AttentionArgs& a, const AttentionTile& tile, const float* sum,
                                float* output) {
  const Lanes16 d;
  const std::int64_t head_dim = a.cache.head_dim;
  for (std::int64_t i = 0; i < head_dim * kVectors; ++i) {
    const auto divisor = hn::Load(d, sum + (i % kVectors) * kLanes);
    hn::Store(hn::Div(hn::Load(d, output + i * kLanes), divisor), d, output + i * kLanes);
  }
  const auto row = [&](std::int64_t l) {
    const std::int64_t query = tile.queries.begin + l;
    return a.out.row(tile.row_of(query)) + tile.head_of(query) * head_dim;
  };
  std::int64_t l = 0;
  for (; l + 4 <= tile.queries.size(); l += 4) {
    float* const to[4] = {row(l), row(l + 1), row(l + 2), row(l + 3)};
    const float* from = output + l;
    std::int64_t e = 0;
    for (; e + 4 <= head_dim; e += 4, from += 4 * kQueries) {
      const float* const rows[4] = {from, from + kQueries, from + 2 * kQueries,
                                    from + 3 * kQueries};
      float* const columns[4] = {to[0] + e, to[1] + e, to[2] + e, to[3] + e};
      transpose_quad(rows, columns);
    }
    for (; e < head_dim; ++e, from += kQueries) {
      for (std::int64_t i = 0; i < 4; ++i) to[i][e] = from[i];
    }
  }
  for (; l < tile.queries.size(); ++l) {
    for (std::int64_t e = 0; e < head_dim; ++e) row(l)[e] = output[e * kQueries + l];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
