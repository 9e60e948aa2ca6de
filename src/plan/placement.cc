#include "plan/placement.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace pentafold {
namespace {

ExpertCopy group_copy(const StagePlan& stage, std::int64_t repeat, std::int64_t group) {
  ExpertCopy copy;
  for (std::int64_t shard = 0; shard < stage.etp; ++shard) {
    copy.ranks.push_back(
        static_cast<std::int32_t>((repeat * stage.ep + group) * stage.etp + shard));
  }
  return copy;
}

Status check_copies(const Plan& plan, const StagePlan& stage, std::int64_t layer,
                    std::int64_t expert, const std::vector<ExpertCopy>& copies) {
  const auto fail = [&](const std::string& why) {
    return make_error(ErrorCode::InfeasiblePlan,
                      fmt::format("placement of layer {} expert {}: {}", layer, expert, why),
                      plan.file, stage.line);
  };
  std::vector<bool> used(static_cast<std::size_t>(stage.ranks()), false);
  bool live = false;
  for (const ExpertCopy& copy : copies) {
    live = live || !copy.backup;
    if (static_cast<std::int64_t>(copy.ranks.size()) != stage.etp) {
      return fail(fmt::format("a copy names {} ranks, etp = {} shards need {}", copy.ranks.size(),
                              stage.etp, stage.etp));
    }
    for (const std::int32_t rank : copy.ranks) {
      if (rank < 0 || rank >= stage.ranks()) {
        return fail(fmt::format("rank {} is not in the stage's 0..{}", rank, stage.ranks() - 1));
      }
      if (used[static_cast<std::size_t>(rank)]) {
        return fail(
            fmt::format("rank {} appears twice; two shards or copies of one expert must "
                        "not share a rank",
                        rank));
      }
      used[static_cast<std::size_t>(rank)] = true;
    }
  }
  if (!live) return fail("no live copy; list it under copies");
  return ok_status();
}

// An entry for an expert or layer that the stage lacks would be ignored without a word.
Status check_entries(const Plan& plan, const StagePlan& stage, Range layers,
                     std::span<const std::int64_t> experts_by_layer) {
  const std::int64_t most = *std::ranges::max_element(experts_by_layer);
  for (const ExplicitPlacement& entry : stage.explicit_placement) {
    std::string why;
    if (entry.expert < 0 || entry.expert >= most) {
      why = fmt::format("expert {}, the model has experts 0..{}", entry.expert, most - 1);
    } else if (entry.layer >= 0 && !layers.contains(entry.layer)) {
      why = fmt::format("layer {}, the stage holds layers {}..{}", entry.layer, layers.begin,
                        layers.end - 1);
    } else if (entry.layer >= 0) {
      const std::int64_t here = experts_by_layer[static_cast<std::size_t>(entry.layer)];
      if (here == 0) {
        why = fmt::format("layer {}, which has no experts", entry.layer);
      } else if (entry.expert >= here) {
        why = fmt::format("expert {} of layer {}, which has experts 0..{}", entry.expert,
                          entry.layer, here - 1);
      }
    }
    if (why.empty()) continue;
    return make_error(ErrorCode::InfeasiblePlan, "the placement names " + why, plan.file,
                      entry.line);
  }
  return ok_status();
}

}  // namespace

Result<Placement> Placement::build(const Plan& plan, const StagePlan& stage, Range layers,
                                   const ModelSpec& model) {
  std::vector<std::int64_t> experts;
  for (const LayerSpec& layer : model.layers) experts.push_back(layer.moe ? model.experts : 0);
  return build(plan, stage, layers, experts);
}

Result<Placement> Placement::build(const Plan& plan, const StagePlan& stage, Range layers,
                                   std::span<const std::int64_t> experts_by_layer) {
  PF_TRY(check_entries(plan, stage, layers, experts_by_layer));
  Placement placement;
  placement.layers_ = layers;
  placement.experts_ = *std::ranges::max_element(experts_by_layer);
  placement.ranks_ = stage.ranks();
  placement.table_.resize(static_cast<std::size_t>(layers.size() * placement.experts_));
  std::int64_t dealt = 0;
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    const std::int64_t experts = experts_by_layer[static_cast<std::size_t>(layer)];
    for (std::int64_t expert = 0; expert < experts; ++expert) {
      auto& copies = placement.table_[static_cast<std::size_t>(
          (layer - layers.begin) * placement.experts_ + expert)];
      if (stage.placement != PlacementStyle::Explicit) {
        const std::int64_t group = stage.placement == PlacementStyle::Spread
                                       ? dealt++ % stage.ep
                                       : expert * stage.ep / experts;
        for (std::int64_t repeat = 0; repeat < stage.edp(); ++repeat) {
          copies.push_back(group_copy(stage, repeat, group));
        }
      }
      for (const ExplicitPlacement& entry : stage.explicit_placement) {
        if (entry.expert == expert && (entry.layer < 0 || entry.layer == layer)) {
          copies.insert(copies.end(), entry.copies.begin(), entry.copies.end());
        }
      }
      PF_TRY(check_copies(plan, stage, layer, expert, copies));
    }
  }
  placement.fill_reach();
  return placement;
}

void Placement::fill_reach() {
  const auto ranks = static_cast<std::size_t>(ranks_);
  const auto experts = static_cast<std::size_t>(experts_);
  reach_.resize(static_cast<std::size_t>(layers_.size()) * ranks);
  for (std::size_t i = 0; i < static_cast<std::size_t>(layers_.size()); ++i) {
    const auto row = [&](std::size_t layer) {
      return std::span(table_).subspan(layer * experts, experts);
    };
    const auto by_rank = [&](std::size_t layer) {
      return std::span(reach_).subspan(layer * ranks, ranks);
    };
    // Most placements are the same in every layer, and the walk below is long on a thousand ranks.
    if (i > 0 && std::ranges::equal(row(i), row(i - 1))) {
      std::ranges::copy(by_rank(i - 1), by_rank(i).begin());
    } else {
      find_reach(layers_.begin + static_cast<std::int64_t>(i), by_rank(i));
    }
  }
}

void Placement::find_reach(std::int64_t layer, std::span<Reach> by_rank) const {
  std::vector<std::int64_t> served(by_rank.size(), 0);  // experts, of the rank to the sender
  for (std::int64_t home = 0; home < ranks_; ++home) {
    std::fill(served.begin(), served.end(), 0);
    for (std::int64_t expert = 0; expert < experts_; ++expert) {
      if (copies(layer, expert).empty()) continue;  // of a layer with fewer experts, or none
      for (const std::int32_t rank : serving_copy(layer, expert, home).ranks) {
        ++served[static_cast<std::size_t>(rank)];
      }
    }
    for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
      if (served[rank] == 0) continue;
      ++by_rank[static_cast<std::size_t>(home)].receivers;
      ++by_rank[rank].senders;
      by_rank[rank].experts = std::max(by_rank[rank].experts, served[rank]);
    }
  }
}

const Placement::Reach& Placement::reach(std::int64_t layer, std::int64_t index) const {
  CHECK(layers_.contains(layer) && index >= 0 && index < ranks_);
  return reach_[static_cast<std::size_t>((layer - layers_.begin) * ranks_ + index)];
}

const std::vector<ExpertCopy>& Placement::copies(std::int64_t layer, std::int64_t expert) const {
  CHECK(layers_.contains(layer) && expert >= 0 && expert < experts_);
  return table_[static_cast<std::size_t>((layer - layers_.begin) * experts_ + expert)];
}

const ExpertCopy& Placement::serving_copy(std::int64_t layer, std::int64_t expert,
                                          std::int64_t home) const {
  const auto& all = copies(layer, expert);
  std::int64_t live = 0;
  for (const ExpertCopy& copy : all) {
    if (copy.backup) continue;
    if (std::find(copy.ranks.begin(), copy.ranks.end(), home) != copy.ranks.end()) return copy;
    ++live;
  }
  std::int64_t turn = home * live / ranks_;
  for (const ExpertCopy& copy : all) {
    if (!copy.backup && turn-- == 0) return copy;
  }
  check_failed(__FILE__, __LINE__, "live copy", "build() admitted an expert without one");
}

std::vector<Placement::Held> Placement::held_by(std::int64_t layer, std::int64_t index) const {
  std::vector<Held> held;
  for (std::int64_t expert = 0; expert < experts_; ++expert) {
    for (const ExpertCopy& copy : copies(layer, expert)) {
      const auto at = std::find(copy.ranks.begin(), copy.ranks.end(), index);
      if (at != copy.ranks.end()) held.push_back({expert, at - copy.ranks.begin(), copy.backup});
    }
  }
  return held;
}

}  // namespace pentafold
