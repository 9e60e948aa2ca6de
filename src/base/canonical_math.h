// Scalar math whose every rounding is written down, so that vector kernels can give the same bits.
//
// libm's exp differs between versions and from any vector version; this one is a fixed sequence of
// IEEE operations: n = round(x log2 e), r = x - n ln2 (two-part, fma), a degree-6 polynomial by
// Horner's rule in fma, times 2^n by exponent arithmetic. Relative error < 2^-21 on [-87, 88].
// Inputs below -87 give 0; above 88 they are clamped.
// Source: Cody & Waite, "Software Manual for the Elementary Functions" (1980).
// Cost: about 12 operations. Held by base/canonical_math_test.cc and kernels/elementwise_test.cc.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace pentafold {

struct ExpConstants {
  static constexpr float kLow = -87.0F;
  static constexpr float kHigh = 88.0F;
  static constexpr float kLog2e = 0x1.715476p+0F;
  static constexpr float kRoundMagic =
      0x1.8p+23F;  // adding it leaves round-to-even(x) in the low bits
  static constexpr float kLn2High = 0x1.62e400p-1F;
  static constexpr float kLn2Low = 0x1.7f7d1cp-20F;
  // Taylor coefficients 1/6! .. 1/2!; the remainder on |r| <= ln2/2 is below 2^-24.
  static constexpr float kC6 = 0x1.6c16c2p-10F;
  static constexpr float kC5 = 0x1.111112p-7F;
  static constexpr float kC4 = 0x1.555556p-5F;
  static constexpr float kC3 = 0x1.555556p-3F;
  static constexpr float kC2 = 0.5F;
};

inline float canonical_exp(float x) {
  using C = ExpConstants;
  if (x < C::kLow) return 0.0F;
  x = x > C::kHigh ? C::kHigh : x;
  const float shifted = std::fma(x, C::kLog2e, C::kRoundMagic);
  const float n = shifted - C::kRoundMagic;
  float r = std::fma(n, -C::kLn2High, x);
  r = std::fma(n, -C::kLn2Low, r);
  float p = std::fma(C::kC6, r, C::kC5);
  p = std::fma(p, r, C::kC4);
  p = std::fma(p, r, C::kC3);
  p = std::fma(p, r, C::kC2);
  p = std::fma(p, r, 1.0F);
  p = std::fma(p, r, 1.0F);
  // The low bits of `shifted` are n: moved to the exponent and biased, they are 2^n. NaN stays NaN.
  return p * std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + 0x3F800000U);
}

inline float canonical_sigmoid(float x) {
  return 1.0F / (1.0F + canonical_exp(-x));
}
inline float canonical_silu(float x) {
  return x / (1.0F + canonical_exp(-x));
}

}  // namespace pentafold
