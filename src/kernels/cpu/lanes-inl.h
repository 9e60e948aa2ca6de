// Vector pieces that the kernels share: fused multiply-add, canonical_exp, loops with a tail.
// Included once per instruction set (no #pragma once), as Highway's foreach_target wants.
#if defined(PENTAFOLD_KERNELS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_LANES_INL_H_
#undef PENTAFOLD_KERNELS_CPU_LANES_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/canonical_math.h"
#include "base/dtype.h"
#include "base/kv_type.h"

// The register tiles live in small arrays; they stay in registers only if these loops vanish.
#ifndef PF_UNROLL
#ifdef __clang__
#define PF_UNROLL _Pragma("unroll")
#else
#define PF_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The vectors that tile 16 neighbouring floats: a weight panel's outputs, a KV block's keys.
using Lanes16 = hn::CappedTag<float, 16>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Lanes16()));
constexpr int kVectors = 16 / kLanes;

// One rounding everywhere: Highway's MulAdd rounds twice where the instruction is missing.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fused(D d, V a, V b, V c) {
#if HWY_NATIVE_FMA
  (void)d;
  return hn::MulAdd(a, b, c);
#else
  float x[hn::MaxLanes(D())];
  float y[hn::MaxLanes(D())];
  float z[hn::MaxLanes(D())];
  hn::StoreU(a, d, x);
  hn::StoreU(b, d, y);
  hn::StoreU(c, d, z);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::LoadU(d, z);
#endif
}

// Stored numbers at p, widened.
template <DType kType, class D>
HWY_INLINE hn::Vec<D> load_widened(D d, const std::byte* p) {
  if constexpr (kType == DType::F32) {
    return hn::LoadU(d, reinterpret_cast<const float*>(p));
  } else if constexpr (kType == DType::BF16) {
    const hn::Rebind<std::uint16_t, D> narrow;
    const hn::Rebind<std::uint32_t, D> wide;
    const auto bits = hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
  } else {
#if HWY_NATIVE_FMA
    const hn::Rebind<hwy::float16_t, D> narrow;
    return hn::PromoteTo(d, hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(p)));
#else
    float widened[hn::MaxLanes(D())];
    const auto* bits = reinterpret_cast<const std::uint16_t*>(p);
    for (std::size_t l = 0; l < hn::MaxLanes(d); ++l) widened[l] = f16_to_f32(bits[l]);
    return hn::LoadU(d, widened);
#endif
  }
}

// Numbers i, i + 1, ... of a tile of the KV cache, widened.
template <KvType kType, class D>
HWY_INLINE hn::Vec<D> load_stored(D d, const std::byte* tile, std::int64_t i) {
  if constexpr (kType == KvType::I8) {
    const hn::Rebind<std::int8_t, D> narrow;
    const hn::Rebind<std::int32_t, D> wide;
    const auto integers = hn::LoadU(narrow, reinterpret_cast<const std::int8_t*>(tile) + i);
    return hn::ConvertTo(d, hn::PromoteTo(wide, integers));
  } else {
    return load_widened<float_type(kType)>(d, tile + i * size_of(kType));
  }
}

// canonical_exp of base/canonical_math.h for x <= kHigh or NaN, operation by operation; a larger x
// gives any number.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_bounded_lanes(D d, V x) {
  using C = ExpConstants;
  const hn::Rebind<std::uint32_t, D> bits;
  const V one = hn::Set(d, 1.0F);
  const auto underflow = hn::Lt(x, hn::Set(d, C::kLow));
  const V magic = hn::Set(d, C::kRoundMagic);
  const V shifted = fused(d, x, hn::Set(d, C::kLog2e), magic);
  const V n = hn::Sub(shifted, magic);
  V r = fused(d, n, hn::Set(d, -C::kLn2High), x);
  r = fused(d, n, hn::Set(d, -C::kLn2Low), r);
  V p = fused(d, hn::Set(d, C::kC6), r, hn::Set(d, C::kC5));
  p = fused(d, p, r, hn::Set(d, C::kC4));
  p = fused(d, p, r, hn::Set(d, C::kC3));
  p = fused(d, p, r, hn::Set(d, C::kC2));
  p = fused(d, p, r, one);
  p = fused(d, p, r, one);
  const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(bits, shifted)),
                             hn::Set(bits, std::uint32_t{0x3F800000U}));
  return hn::IfThenElse(underflow, hn::Zero(d), hn::Mul(p, hn::BitCast(d, power)));
}

// canonical_exp of any x.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_lanes(D d, V x) {
  const V high = hn::Set(d, ExpConstants::kHigh);
  return exp_bounded_lanes(d, hn::IfThenElse(hn::Gt(x, high), high, x));
}

// canonical_silu, likewise.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu_lanes(D d, V x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0F), exp_lanes(d, hn::Neg(x))));
}

// body(d, i) for elements i .. i + Lanes(d) of [0, n): whole vectors, then one element at a time.
template <class Body>
HWY_INLINE void for_lanes(std::int64_t n, const Body& body) {
  const Lanes16 whole;
  const hn::CappedTag<float, 1> single;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(whole, i);
  for (; i < n; ++i) body(single, i);
}

// Outputs of a row from its tile; plus bias unless null.
HWY_INLINE void store_row(const float* from, std::int64_t n, const float* bias, float* to) {
  if (bias == nullptr) {
    std::copy_n(from, n, to);
    return;
  }
  for_lanes(n, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, from + i), hn::LoadU(d, bias + i)), d, to + i);
  });
}

// to = act(gate) * up, or act(up) if gate is null.
HWY_INLINE void activate_row(bool silu, const float* gate, const float* up, std::int64_t n,
                             float* to) {
  const float* argument = gate == nullptr ? up : gate;
  for_lanes(n, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto x = hn::LoadU(d, argument + i);
    const auto activated = silu ? silu_lanes(d, x) : hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
    hn::StoreU(gate == nullptr ? activated : hn::Mul(activated, hn::LoadU(d, up + i)), d, to + i);
  });
}

// left += right over the rows of two tiles.
HWY_INLINE void add_tile(int rows, int columns, std::int64_t ld, const float* right, float* left) {
  const Lanes16 d;
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < columns; i += kLanes) {
      float* to = left + r * ld + i;
      hn::StoreU(hn::Add(hn::LoadU(d, to), hn::LoadU(d, right + r * ld + i)), d, to);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
