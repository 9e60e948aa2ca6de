// run_target: a plan made for another device, as the engine here runs it.
//
// The bits are the same under every plan, so where prompts are computed does not change what a run
// prints; how weights and cache are stored does, so a precision that the engine does not compute
// with is refused. Held by tests/e2e/plan_target_test.cc.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"
#include "spec/model.h"

namespace pentafold {

// Sets plan.weights and plan.kv by plan.precision. Returns what the reader should know of the
// difference between the plan and its run.
Result<std::vector<std::string>> fit_to_engine(Plan& plan);

}  // namespace pentafold
