// Dot products of four bytes in a 32-bit lane, unsigned weights by signed activations, and their
// exact sums: one instruction where the set has it (AVX3_DL), else products of 16-bit pairs.
// Included once per instruction set (no #pragma once), as Highway's foreach_target wants.
#if defined(PENTAFOLD_KERNELS_CPU_INTEGER_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PENTAFOLD_KERNELS_CPU_INTEGER_DOT_INL_H_
#undef PENTAFOLD_KERNELS_CPU_INTEGER_DOT_INL_H_
#else
#define PENTAFOLD_KERNELS_CPU_INTEGER_DOT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

#undef PF_BYTE_DOT
#undef PF_PAIR_DOT
#define PF_BYTE_DOT (HWY_TARGET == HWY_AVX3_DL)
#define PF_PAIR_DOT (HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2)

using Sums = hn::Rebind<std::int32_t, Lanes16>;
using Words = hn::Rebind<std::uint32_t, Lanes16>;  // four bytes each

// Four columns of kLanes outputs, and the same columns of a row in every lane.
#if PF_PAIR_DOT
using Pairs = hn::Repartition<std::int16_t, Lanes16>;
struct WeightQuad {  // columns 0 and 2, columns 1 and 3
  hn::Vec<Pairs> even, odd;
};
struct InputQuad {
  hn::Vec<Pairs> even, odd;
};
#else
struct WeightQuad {
  hn::Vec<Words> all;
};
struct InputQuad {
  hn::Vec<Sums> all;
};
#endif

HWY_INLINE WeightQuad weight_quad(hn::Vec<Words> words) {
#if PF_PAIR_DOT
  const Pairs d;
  return {hn::BitCast(d, hn::And(words, hn::Set(Words(), 0x00FF00FFU))),
          hn::BitCast(d, hn::And(hn::ShiftRight<8>(words), hn::Set(Words(), 0x00FF00FFU)))};
#else
  return {words};
#endif
}

HWY_INLINE InputQuad input_quad(const std::int8_t* q) {
  std::int32_t columns = 0;
  std::memcpy(&columns, q, sizeof columns);
  const auto all = hn::Set(Sums(), columns);
#if PF_PAIR_DOT
  const auto pairs = hn::BitCast(Pairs(), all);
  return {hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs)), hn::ShiftRight<8>(pairs)};
#else
  return {all};
#endif
}

HWY_INLINE hn::Vec<Sums> add_dot(hn::Vec<Sums> acc, WeightQuad w, InputQuad x) {
#if PF_BYTE_DOT
  // Not the intrinsic: the flags that Highway 1.0 gives this target lack it.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(w.all.raw), "v"(x.all.raw));
  return acc;
#elif PF_PAIR_DOT
  const Sums d;
  auto unused = hn::Zero(d);  // on x86 neighbours meet in one lane
  acc = hn::ReorderWidenMulAccumulate(d, w.even, x.even, acc, unused);
  return hn::ReorderWidenMulAccumulate(d, w.odd, x.odd, acc, unused);
#else
  const Sums d;
  const auto add = [&](auto weights, auto inputs) HWY_ATTR {
    const auto byte = hn::BitCast(d, hn::And(weights, hn::Set(Words(), 0xFFU)));
    acc = hn::Add(acc, hn::Mul(byte, hn::ShiftRight<24>(inputs)));
  };
  add(w.all, hn::ShiftLeft<24>(x.all));
  add(hn::ShiftRight<8>(w.all), hn::ShiftLeft<16>(x.all));
  add(hn::ShiftRight<16>(w.all), hn::ShiftLeft<8>(x.all));
  add(hn::ShiftRight<24>(w.all), x.all);
  return acc;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
