// Vector pieces that the kernels share: fused multiply-add, canonical_exp, loops with a tail.
// Included once per instruction set (no #pragma once), as Highway's foreach_target wants.
#if defined(PENTAFOLD_KERNELS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_LANES_INL_H_
#undef PENTAFOLD_KERNELS_CPU_LANES_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>

#include "base/canonical_math.h"

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

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
