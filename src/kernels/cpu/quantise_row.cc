// Activations, and weights when they are packed, to integers with scales.
#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/quantise_row.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "base/quantise.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// quantise_group of base/quantise.h, operation by operation; returns the sum of the integers.
HWY_INLINE std::int32_t quantise_lanes(const float* x, std::int64_t count, int limit,
                                       std::int8_t* q, float* scale) {
  const hn::Rebind<std::int32_t, Lanes16> di;
  auto most = hn::Zero(di);
  std::int32_t largest = 0;
  for_lanes(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const hn::Rebind<std::int32_t, decltype(d)> bits;
    const auto magnitude =
        hn::And(hn::BitCast(bits, hn::LoadU(d, x + i)), hn::Set(bits, 0x7FFFFFFF));
    if constexpr (hn::MaxLanes(d) == static_cast<std::size_t>(kLanes)) {
      most = hn::Max(most, magnitude);
    } else {
      largest = std::max(largest, hn::GetLane(magnitude));
    }
  });
  largest = std::max(largest, hn::GetLane(hn::MaxOfLanes(di, most)));
  const GroupScale by = group_scale(static_cast<std::uint32_t>(largest), limit);
  *scale = by.scale;
  if (by.inverse == 0.0F) {
    std::fill_n(q, count, std::int8_t{0});
    return 0;
  }
  auto sums = hn::Zero(di);
  std::int32_t sum = 0;
  for_lanes(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const hn::Rebind<std::int32_t, decltype(d)> bits;
    const hn::Rebind<std::int8_t, decltype(d)> narrow;
    const auto level = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, by.inverse));
    const auto magic = hn::Set(d, kNearestMagic);
    const auto nearest =
        hn::Sub(hn::BitCast(bits, hn::Add(level, magic)), hn::BitCast(bits, magic));
    hn::StoreU(hn::DemoteTo(narrow, nearest), narrow, q + i);
    if constexpr (hn::MaxLanes(d) == static_cast<std::size_t>(kLanes)) {
      sums = hn::Add(sums, nearest);
    } else {
      sum += hn::GetLane(nearest);
    }
  });
  return sum + hn::GetLane(hn::SumOfLanes(di, sums));
}

void quantise_row_groups(const float* x, const IntegerFormat& weights, int limit,
                         const IntegerRows& to, std::int64_t row) {
  const std::int64_t first = (row - to.rows.begin) * to.groups;
  for (std::int64_t g = 0; g < to.groups; ++g) {
    std::int8_t* q = to.q + (first + g) * to.padded;
    const std::int32_t sum =
        quantise_lanes(x + g * weights.group, weights.group, limit, q, to.scale + first + g);
    std::fill(q + weights.group, q + to.padded, std::int8_t{0});
    to.start[first + g] = -weights.offset() * sum;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(quantise_row_groups);

void quantise_row(const float* x, const IntegerFormat& weights, int limit, const IntegerRows& to,
                  std::int64_t row) {
  HWY_DYNAMIC_DISPATCH(quantise_row_groups)(x, weights, limit, to, row);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
