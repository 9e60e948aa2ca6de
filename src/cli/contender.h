// A plan file (or shorthand) as the planner sees it: pools of workers, judged on a problem. What
// explain and predict read alike.
#pragma once

#include <string>

#include "cli/plan.h"
#include "plan/plan.h"
#include "planner/plan_explain.h"

namespace pentafold {

// A file, or else a shorthand if it looks like one.
Result<Plan> read_plan_or_shorthand(const std::string& text);
// "dir/a.yaml" -> "a"; a shorthand has no short name.
std::string plan_name(const Plan& plan, const char* otherwise);
// The pools of a plan: one, or prefill then decode. plan.model must be the problem's.
Result<Contender> contender_of(const Plan& plan, const Problem& problem, std::string name);

}  // namespace pentafold
