// Logarithm and exponential of doubles with the same bits on every machine.
//
// libm's differ in the last place between versions, which is enough to give a generated workload
// other arrivals on another machine. These are fixed sequences of IEEE operations: argument
// reduction by powers of two, then log m = 2 artanh((m - 1) / (m + 1)) and the Taylor series of
// exp on |r| <= ln2 / 2. Relative error below 1e-15 away from log's zero.
// Source: Cody & Waite, "Software Manual for the Elementary Functions" (1980).
// Cost: about 20 operations. Held by base/elementary_test.cc.
#pragma once

#include <cmath>

namespace pentafold {

inline constexpr double kLn2High = 0x1.62e42fee00000p-1;  // 32 bits, so that times n is exact
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

// `x` finite and above 0.
inline double fixed_log(double x) {
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // in [0.5, 1)
  if (m < 0x1.6a09e667f3bcdp-1) {       // sqrt(1/2)
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  const double n = exponent;
  return n * kLn2High + (2 * s * sum + n * kLn2Low);
}

// 0 below -700, and no more than e^700.
inline double fixed_exp(double x) {
  constexpr double kMost = 700;
  if (x < -kMost) return 0;
  if (x > kMost) x = kMost;
  const double n = std::floor(x * 0x1.71547652b82fep+0 + 0.5);
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1;
  for (int k = 14; k >= 1; --k) sum = 1 + sum * r / k;
  return std::ldexp(sum, static_cast<int>(n));
}

}  // namespace pentafold
