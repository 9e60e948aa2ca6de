// Which instruction sets the kernels are compiled for; include instead of hwy/targets.h and before
// any other Highway header.
//
// Highway's SSE targets have no fused multiply-add and its scalable ones no fixed lane count: they
// are left out, and CPUs of those kinds run the baseline (AVX2, AVX-512 and NEON remain). AVX3_DL
// is AVX-512 with the dot products of bytes that integer weights want.
#pragma once

#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

#include <hwy/targets.h>
