// The checks that verify runs on lowered programs, and where they put what they find. Internal to
// src/verify.
//
// Each check looks at the programs of one replica from one side and assumes nothing about how
// lowering made them. Cost: linear in steps. Held by verify/verify_test.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "verify/verify.h"

namespace pentafold {

// Collects findings. A check says the first kMostOfACheck things in full and counts the rest: one
// fault often shows on every rank.
class Findings {
 public:
  explicit Findings(const Plan& plan) : plan_(plan) {}

  // At the line of `stage` in the plan file.
  void add(const char* check, StageId stage, const std::string& sentence,
           ErrorCode code = ErrorCode::InfeasiblePlan);
  void add(const char* check, const Error& error);

  std::vector<Finding> take();

 private:
  static constexpr std::int64_t kMostOfACheck = 8;
  const Plan& plan_;
  std::map<std::string, std::int64_t> counts_;
  std::vector<Finding> found_;
};

// What a check is given: programs[i] is rank first + i.
struct Judged {
  const LoweringContext& context;
  std::span<const RankProgram> programs;
  const ModelShape* counted = nullptr;  // memory is counted from it; null: from the programs

  std::int64_t first() const { return programs.front().rank.value; }
  bool knows(Rank rank) const {
    return rank.value >= first() &&
           rank.value < first() + static_cast<std::int64_t>(programs.size());
  }
  const RankProgram& of(Rank rank) const {
    return programs[static_cast<std::size_t>(rank.value - first())];
  }
  const StagePlan& stage(const RankProgram& program) const {
    return context.plan.stages[program.place.stage.index()];
  }
};

void check_conservation(const Judged& judged, Findings& findings);
void check_matching(const Judged& judged, Findings& findings);  // and deadlock
void check_shapes(const Judged& judged, Findings& findings);
// Also fills the memory of the verdict.
void check_fit(const Judged& judged, Verdict& verdict, Findings& findings);

// The same for the device that the plan is for. `placements` by stage.
using Placements = std::vector<std::shared_ptr<const Placement>>;
void check_capacity(const Plan& plan, const ModelShape& model, const Placements& placements,
                    Verdict& verdict, Findings& findings);
// The longest request of the plan against its KV blocks.
void check_kv_blocks(const Plan& plan, Findings& findings);

// verify(), with memory counted from `counted` where that is given.
Verdict verify_counted(const Plan& plan, const ModelSpec& model, const ModelShape* counted);

// Whether requests can be dealt to the dp groups of the stages.
bool check_groups(const Plan& plan, Findings& findings);

// How sentences end that no plan can cause: lowering makes the programs.
inline constexpr const char* kLoweringFault =
    "; no setting of the plan causes this, lowering is at fault: report it with the plan";

// "rank 5 (stage 1)"
std::string name_rank(const RankProgram& program);

// The group exchange that a step is, with what its members must agree on.
struct Exchange {
  GroupKind group = GroupKind::Tensor;
  std::vector<std::int64_t> terms;  // layer, widths, lists: equal on all members
};
struct Communication {
  std::optional<Exchange> exchange;
  std::span<const Rank> sends;
  std::span<const Rank> receives;
};
Communication communication_of(const Step& step);

}  // namespace pentafold
