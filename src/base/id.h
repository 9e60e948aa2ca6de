// Strong ids: a Rank is not an ExpertId, and the compiler says so.
//
// Cost: none, an int32. Held by the compiler.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace pentafold {

template <class Tag>
struct Id {
  std::int32_t value = 0;
  constexpr Id() = default;
  constexpr explicit Id(std::int64_t v) : value(static_cast<std::int32_t>(v)) {}
  constexpr std::size_t index() const { return static_cast<std::size_t>(value); }
  friend constexpr auto operator<=>(Id, Id) = default;
};

using Rank = Id<struct RankTag>;        // a rank of the world (one device, one thread or process)
using LayerId = Id<struct LayerTag>;    // a layer of the whole model, 0-based
using ExpertId = Id<struct ExpertTag>;  // a routed expert within its layer
using StageId = Id<struct StageTag>;    // a pipeline stage
using RequestId = Id<struct RequestTag>;

}  // namespace pentafold

template <class Tag>
struct std::hash<pentafold::Id<Tag>> {
  std::size_t operator()(pentafold::Id<Tag> id) const noexcept { return id.index(); }
};
