// deployed_plans: what each pool of a deployment is as a plan: what files say, verify checks, and
// the simulator serves with.
//
// Cost: microseconds, and the size of the placement. Held by planner/deployed_plans_test.cc.
#pragma once

#include <vector>

#include "plan/plan.h"
#include "planner/problem.h"

namespace pentafold {

// By pool; without the paths (model, the other pool's file), which are the caller's.
std::vector<Plan> deployed_plans(const Problem& problem, const Deployment& deployment);

}  // namespace pentafold
