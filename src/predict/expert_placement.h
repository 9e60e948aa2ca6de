// expert_placement: how much more than an even share the busiest expert group gets.
//
// Each of these is max over groups of the sum of the shares it serves, times the number of groups:
// 1 when even, ep when one group gets all. Blocked: expert e in group e ep / E, as a plan places it
// when told nothing. Shuffled: where shares have no names, the mean over fixed shuffles. Balanced:
// redundant copies go to the expert with most load per copy, then copies, hottest first, to the
// emptiest group with room that has none of it; where only groups that have one are left, another
// group takes it and hands an expert over. Table: any placement, each rank's tokens going to
// the copy that serves it.
// Source: DeepSeek EPLB (github.com/deepseek-ai/EPLB).
// Cost: O(E), O(8 E log E), O((E + redundant) log ep), O(E x ranks). Held by
// predict/expert_placement_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/placement.h"
#include "predict/expert_profile.h"

namespace pentafold {

// Shares sum to 1; 1 <= ep.
double blocked_peak(std::span<const double> share, std::int64_t ep);
double shuffled_peak(std::span<const double> share, std::int64_t ep);
// Up to (ep - 1) x E redundant copies are of use.
double balanced_peak(std::span<const double> share, std::int64_t ep, std::int64_t redundant);
// Who holds what then: the experts of each group, none twice, ascending.
std::vector<std::vector<std::int64_t>> balanced_groups(std::span<const double> share,
                                                       std::int64_t ep, std::int64_t redundant);
// Each group's load over the even one, averaged over the profile's layers; all 1 if it is even.
// Placed as the peak is priced (predict/expert_load.h): blocked, or balanced if that is better.
// Where shares have no names, in falling order, averaged over the shuffles.
std::vector<double> group_loads(const ExpertProfile& profile, std::int64_t ep,
                                std::int64_t redundant);
// Of one layer of a stage, tokens coming equally from all of its ranks.
double table_peak(std::span<const double> share, const Placement& placement, std::int64_t layer,
                  const StagePlan& stage);

// Mean over the expert layers of a stage of the plan, under its own placement and the workload's
// load; 1 without experts. Errors: those of Placement::build.
Result<double> stage_peak_share(const Plan& plan, const StagePlan& stage, Range layers,
                                const ModelShape& model, const Workload& workload);

}  // namespace pentafold
