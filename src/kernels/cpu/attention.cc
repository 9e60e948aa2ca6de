#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include <hwy/aligned_allocator.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/attention_few-inl.h"
#include "kernels/cpu/attention_many-inl.h"
#include "kernels/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

void attend_tiles(const AttentionArgs& a, std::span<const AttentionTile> tiles) {
  const auto room = hwy::AllocateAligned<float>(
      static_cast<std::size_t>(std::max(few_room(a.cache), many_room(a.cache))));
  while (!tiles.empty()) {
    const bool few = tiles.front().queries.size() <= kFewQueries;
    const std::size_t count = few ? few_together(a, tiles) : 1;
    const std::span<const AttentionTile> now = tiles.first(count);
    tiles = tiles.subspan(count);
    const AttentionTile& after = tiles.empty() ? now.front() : tiles.front();
    prefetch_rows(a, after);
    if (few) {
      attend_few(a, now, after, room.get());
    } else {
      attend_many(a, now.front(), room.get());
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold::cpu {

HWY_EXPORT(attend_tiles);

void attention(const AttentionArgs& args, std::span<const AttentionTile> tiles) {
  HWY_DYNAMIC_DISPATCH(attend_tiles)(args, tiles);
}

}  // namespace pentafold::cpu
#endif  // HWY_ONCE
