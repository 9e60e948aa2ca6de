// deployed_plans: what each pool of a deployment is as a plan: what files say, verify checks, and
// the simulator serves with.
//
// Redundant copies of experts go where the load asks for them if it was counted (--expert-load), in
// each layer by itself: the dealing that is priced (predict/expert_placement.h). A table too long
// for a plan file is dealt once, by the layers' mean load. Without counts the copies go round
// (plan/worker.h).
// Source: DeepSeek EPLB. Cost: microseconds, and the size of the placement. Held by
// planner/deployed_plans_test.cc.
#pragma once

#include <vector>

#include "plan/plan.h"
#include "planner/problem.h"

namespace pentafold {

// By pool; without the paths (model, the other pool's file), which are the caller's.
std::vector<Plan> deployed_plans(const Problem& problem, const Deployment& deployment);

}  // namespace pentafold
