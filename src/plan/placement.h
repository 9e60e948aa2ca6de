// Placement: where every (layer, expert) of a stage lives, as a table.
//
// Generators fill it (blocked, spread) or the plan lists it (explicit). The same table serves
// dispatch, memory, failover and export, so they cannot disagree. Ranks are indices in the stage.
// Cost: O(layers x experts x (copies + ranks)). Held by plan/placement_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/split.h"
#include "plan/plan.h"
#include "spec/model.h"

namespace pentafold {

class Placement {
 public:
  // `layers` of the model are the stage's. Errors: an expert without a live copy, a copy with other
  // than etp ranks or a rank outside the stage, two copies of one expert on one rank.
  static Result<Placement> build(const Plan& plan, const StagePlan& stage, Range layers,
                                 const ModelSpec& model);
  // The same for any model, of which only the experts of each of its layers matter.
  static Result<Placement> build(const Plan& plan, const StagePlan& stage, Range layers,
                                 std::span<const std::int64_t> experts_by_layer);

  // `layer` counts in the model. Empty for a layer without experts.
  const std::vector<ExpertCopy>& copies(std::int64_t layer, std::int64_t expert) const;

  // Which live copy the tokens of stage rank `home` use: its own, else the one whose turn it is
  // among the copies (repeated groups serve their own block of ranks).
  const ExpertCopy& serving_copy(std::int64_t layer, std::int64_t expert, std::int64_t home) const;

  // Experts of `layer` of which rank `index` holds a shard, ascending; backups included.
  struct Held {
    std::int64_t expert = 0;
    std::int64_t shard = 0;
    bool backup = false;
  };
  std::vector<Held> held_by(std::int64_t layer, std::int64_t index) const;

  // Bounds on what dispatch brings together, all experts being wanted equally.
  struct Reach {
    std::int64_t receivers = 0;  // ranks that serve some expert to this one
    std::int64_t senders = 0;    // ranks that this one serves some expert to
    std::int64_t experts = 0;    // most experts that it serves to one of them
  };
  const Reach& reach(std::int64_t layer, std::int64_t index) const;

 private:
  void fill_reach();
  void find_reach(std::int64_t layer, std::span<Reach> by_rank) const;

  Range layers_;
  std::int64_t experts_ = 0;
  std::int64_t ranks_ = 0;
  std::vector<std::vector<ExpertCopy>> table_;  // (layers * experts)
  std::vector<Reach> reach_;                    // (layers * ranks)
};

}  // namespace pentafold
