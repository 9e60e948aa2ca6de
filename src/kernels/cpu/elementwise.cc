#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Squares of x[0 .. 16) join the 16 lanes of `sum`.
HWY_INLINE void add_squares(const float* x, float* HWY_RESTRICT sum) {
  const Lanes16 d;
  PF_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const auto value = hn::LoadU(d, x + v * kLanes);
    hn::Store(fused(d, value, value, hn::Load(d, sum + v * kLanes)), d, sum + v * kLanes);
  }
}

void sum_squares_rows(std::int64_t rows, std::int64_t width, ConstRows x, float* sum) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = x.row(r);
    HWY_ALIGN float lane[16] = {};
    std::int64_t i = 0;
    for (; i + 16 <= width; i += 16) add_squares(row + i, lane);
    if (i < width) {
      // Padding with zeros leaves a lane as it is: it is never -0.
      float tail[16] = {};
      std::copy(row + i, row + width, tail);
      add_squares(tail, lane);
    }
    for (int half = 8; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) lane[l] = lane[l] + lane[l + half];
    }
    sum[r] = lane[0];
  }
}

void scale_rows_lanes(const ScaleArgs& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* x = a.x.row(r);
    float* y = a.y.row(r);
    for_lanes(a.width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, a.scale[r]));
      hn::StoreU(hn::Mul(scaled, hn::LoadU(d, a.weight + i)), d, y + i);
    });
  }
}

void rope_rows(const RopeArgs& args) {
  const std::int64_t half = args.head_dim / 2;
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const float* cosine = args.table + args.positions[r] * args.head_dim;
    const float* sine = cosine + half;
    for (std::int64_t h = 0; h < args.heads; ++h) {
      float* low = args.x.row(r) + h * args.head_dim;
      float* high = low + half;
      for_lanes(half, [&](auto d, std::int64_t i) HWY_ATTR {
        const auto a = hn::LoadU(d, low + i);
        const auto b = hn::LoadU(d, high + i);
        const auto c = hn::LoadU(d, cosine + i);
        const auto s = hn::LoadU(d, sine + i);
        hn::StoreU(fused(d, a, c, hn::Neg(hn::Mul(b, s))), d, low + i);
        hn::StoreU(fused(d, b, c, hn::Mul(a, s)), d, high + i);
      });
    }
  }
}

void silu_mul_rows(const SiluArgs& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* gate = a.gate.row(r);
    const float* up = a.up.row(r);
    float* y = a.y.row(r);
    for_lanes(a.width, [&](auto d, std::int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(silu_lanes(d, hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, y + i);
    });
  }
}

void accumulate_rows(const AccumulateArgs& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* x = a.x.row(r);
    float* y = a.y.row(r);
    if (a.scale == nullptr) {
      for_lanes(a.width, [&](auto d, std::int64_t i) HWY_ATTR {
        hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
      });
    } else {
      for_lanes(a.width, [&](auto d, std::int64_t i) HWY_ATTR {
        const auto scale = hn::Set(d, a.scale[r]);
        hn::StoreU(fused(d, scale, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
      });
    }
  }
}

// The tree over `nodes` at elements [i, i + Lanes(d)); `sums` holds 16 floats a node.
template <class D>
HWY_INLINE hn::Vec<D> tree_lanes(D d, std::span<const float* const> nodes,
                                 std::span<const TreeAdd> adds, std::int64_t i, float* sums) {
  if (nodes.size() == 1) return hn::LoadU(d, nodes.front() + i);
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    hn::StoreU(hn::LoadU(d, nodes[n] + i), d, sums + n * 16);
  }
  for (const TreeAdd& add : adds) {
    float* to = sums + add.dst * 16;
    hn::StoreU(hn::Add(hn::LoadU(d, to), hn::LoadU(d, sums + add.src * 16)), d, to);
  }
  return hn::LoadU(d, sums);
}

void sum_trees_rows(const TreeSumArgs& a, Range rows) {
  std::vector<float> sums(static_cast<std::size_t>(a.nodes_per_term) * 16);
  const auto per_term = static_cast<std::size_t>(a.nodes_per_term);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    float* y = a.y.row(r);
    if (a.weights == nullptr) {
      const auto nodes = a.nodes.subspan(static_cast<std::size_t>(r) * per_term, per_term);
      for_lanes(a.width, [&](auto d, std::int64_t i) HWY_ATTR {
        const auto sum = tree_lanes(d, nodes, a.adds, i, sums.data());
        hn::StoreU(a.bias == nullptr ? sum : hn::Add(sum, hn::LoadU(d, a.bias + i)), d, y + i);
      });
      continue;
    }
    for_lanes(a.width, [&](auto d, std::int64_t i) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (std::int64_t t = r * a.terms; t < (r + 1) * a.terms; ++t) {
        const auto nodes = a.nodes.subspan(static_cast<std::size_t>(t) * per_term, per_term);
        if (nodes.front() == nullptr) continue;
        sum = fused(d, hn::Set(d, a.weights[t]), tree_lanes(d, nodes, a.adds, i, sums.data()), sum);
      }
      hn::StoreU(sum, d, y + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(sum_squares_rows);
HWY_EXPORT(scale_rows_lanes);
HWY_EXPORT(rope_rows);
HWY_EXPORT(silu_mul_rows);
HWY_EXPORT(accumulate_rows);
HWY_EXPORT(sum_trees_rows);

void sum_squares(std::int64_t rows, std::int64_t width, ConstRows x, float* sum) {
  HWY_DYNAMIC_DISPATCH(sum_squares_rows)(rows, width, x, sum);
}
void scale_rows(const ScaleArgs& args) {
  HWY_DYNAMIC_DISPATCH(scale_rows_lanes)(args);
}
void rope(const RopeArgs& args) {
  HWY_DYNAMIC_DISPATCH(rope_rows)(args);
}
void silu_mul(const SiluArgs& args) {
  HWY_DYNAMIC_DISPATCH(silu_mul_rows)(args);
}
void accumulate(const AccumulateArgs& args) {
  HWY_DYNAMIC_DISPATCH(accumulate_rows)(args);
}
void sum_trees(const TreeSumArgs& args, Range rows) {
  HWY_DYNAMIC_DISPATCH(sum_trees_rows)(args, rows);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
