// plan_write: a Plan as the file that reads back as the same plan.
//
// The other half of plan/plan_file.h: what the planner emits is a file a person can read, change
// and check. Stages that are alike are folded by `repeat`, degrees that all stages share stand once
// at the top, tables of experts take one line an expert.
// Cost: linear in the plan. Held by plan/plan_write_test.cc (random plans come back equal).
#pragma once

#include <span>
#include <string>

#include "plan/plan.h"

namespace pentafold {

// `comments` become the first lines, each after "# ". Paths are written relative to the folder of
// plan.file, or as they are when that is empty. The stages' layers are all known or all open (0).
std::string format_plan(const Plan& plan, std::span<const std::string> comments = {});

}  // namespace pentafold
