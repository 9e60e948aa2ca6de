#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pack.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Rows [0, count) and columns from `first` on, one element at a time.
template <class T>
void place_elements(const PackArgs& a, std::int64_t count, std::int64_t first) {
  const auto* from = reinterpret_cast<const T*>(a.rows);
  auto* to = reinterpret_cast<T*>(a.panel);
  for (std::int64_t i = first; i < a.k; ++i) {
    for (std::int64_t row = 0; row < kPanelWidth; ++row) {
      to[i * a.step + row] = row < count ? from[row * a.k + i] : T{0};
    }
  }
}

#if HWY_TARGET != HWY_SCALAR

template <class T>
using Block = hn::Full128<T>;

// A square of 8 x 8 in three rounds of interleaving: by 16, 32 and 64 bits.
HWY_INLINE void transpose(Block<std::uint16_t> d, const std::uint16_t* from, std::int64_t pitch,
                          std::uint16_t* to, std::int64_t step) {
  const Block<std::uint32_t> d32;
  const Block<std::uint64_t> d64;
  hn::Vec<Block<std::uint32_t>> pairs[8];
  PF_UNROLL
  for (int r = 0; r < 8; r += 2) {
    const auto a = hn::LoadU(d, from + r * pitch);
    const auto b = hn::LoadU(d, from + (r + 1) * pitch);
    pairs[r] = hn::BitCast(d32, hn::InterleaveLower(d, a, b));      // columns 0 to 3
    pairs[r + 1] = hn::BitCast(d32, hn::InterleaveUpper(d, a, b));  // columns 4 to 7
  }
  PF_UNROLL
  for (int high = 0; high < 2; ++high) {
    const auto lower = [&](int r) HWY_ATTR {
      return hn::BitCast(d64, hn::InterleaveLower(d32, pairs[r + high], pairs[r + 2 + high]));
    };
    const auto upper = [&](int r) HWY_ATTR {
      return hn::BitCast(d64, hn::InterleaveUpper(d32, pairs[r + high], pairs[r + 2 + high]));
    };
    std::uint16_t* column = to + 4 * high * step;
    const auto store = [&](int c, auto v)
                           HWY_ATTR { hn::StoreU(hn::BitCast(d, v), d, column + c * step); };
    store(0, hn::InterleaveLower(d64, lower(0), lower(4)));
    store(1, hn::InterleaveUpper(d64, lower(0), lower(4)));
    store(2, hn::InterleaveLower(d64, upper(0), upper(4)));
    store(3, hn::InterleaveUpper(d64, upper(0), upper(4)));
  }
}

// A square of 4 x 4: by 32 and 64 bits.
HWY_INLINE void transpose(Block<std::uint32_t> d, const std::uint32_t* from, std::int64_t pitch,
                          std::uint32_t* to, std::int64_t step) {
  const Block<std::uint64_t> d64;
  const auto a = hn::LoadU(d, from);
  const auto b = hn::LoadU(d, from + pitch);
  const auto c = hn::LoadU(d, from + 2 * pitch);
  const auto e = hn::LoadU(d, from + 3 * pitch);
  const auto store = [&](int column, auto v)
                         HWY_ATTR { hn::StoreU(hn::BitCast(d, v), d, to + column * step); };
  const auto ab_low = hn::BitCast(d64, hn::InterleaveLower(d, a, b));
  const auto ce_low = hn::BitCast(d64, hn::InterleaveLower(d, c, e));
  store(0, hn::InterleaveLower(d64, ab_low, ce_low));
  store(1, hn::InterleaveUpper(d64, ab_low, ce_low));
  const auto ab_high = hn::BitCast(d64, hn::InterleaveUpper(d, a, b));
  const auto ce_high = hn::BitCast(d64, hn::InterleaveUpper(d, c, e));
  store(2, hn::InterleaveLower(d64, ab_high, ce_high));
  store(3, hn::InterleaveUpper(d64, ab_high, ce_high));
}

template <class T>
void pack_whole_panel(const PackArgs& a) {
  const Block<T> d;
  constexpr std::int64_t kSide = 16 / sizeof(T);
  const auto* from = reinterpret_cast<const T*>(a.rows);
  auto* to = reinterpret_cast<T*>(a.panel);
  const std::int64_t whole = a.k / kSide * kSide;
  for (std::int64_t i = 0; i < whole; i += kSide) {
    for (std::int64_t row = 0; row < kPanelWidth; row += kSide) {
      transpose(d, from + row * a.k + i, a.k, to + i * a.step + row, a.step);
    }
  }
  place_elements<T>(a, kPanelWidth, whole);
}

#else

template <class T>
void pack_whole_panel(const PackArgs& a) {
  place_elements<T>(a, kPanelWidth, 0);
}

#endif

template <class T>
void pack_panel_of(const PackArgs& a) {
  if (a.count == kPanelWidth) return pack_whole_panel<T>(a);
  place_elements<T>(a, a.count, 0);
}

void pack_panel_lanes(const PackArgs& a) {
  if (a.element == sizeof(std::uint16_t)) return pack_panel_of<std::uint16_t>(a);
  pack_panel_of<std::uint32_t>(a);
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(pack_panel_lanes);

void pack_panel(const PackArgs& args) {
  HWY_DYNAMIC_DISPATCH(pack_panel_lanes)(args);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
