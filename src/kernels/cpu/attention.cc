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
  const auto room = hwy::AllocateAligned<float>(static_cast<std::size_t>(many_room(a.cache)));
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const AttentionTile& tile = tiles[t];
    const AttentionTile& after = tiles[std::min(t + 1, tiles.size() - 1)];
    prefetch_rows(a, after);
    if (tile.queries.size() <= kFewQueries) {
      attend_few(a, tile, after, room.get());
    } else {
      attend_many(a, tile, room.get());
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
