// Plan files: YAML -> Plan, and the --plan shorthand.
//
// Only syntax and types are judged here, each complaint with file and line; whether the plan is
// possible on a model is plan/mesh.h and verify. Unknown keys are refused with the nearest known
// one. Hostile YAML (aliases that expand, depth, size) is bounded. Format: docs/plan-format.md.
// Cost: one parse. Held by plan/plan_file_test.cc and tests/fuzz/plan_fuzz.cc.
#pragma once

#include <string>

#include "base/result.h"
#include "plan/plan.h"

namespace pentafold {

// `stages` may come without layer counts ("pp: 4"); they are filled when the model is known.
Result<Plan> parse_plan(const std::string& yaml_text, const std::string& file);
Result<Plan> read_plan(const std::string& path);

// "tp=2,ep=4,dp=2,pp=2,sp=1,etp=1,replicas=1,placement=spread,microbatches=2,chunk=64,..."
Result<Plan> parse_plan_shorthand(const std::string& text);

// Stages given by degree alone get layers split as evenly as can be, earlier stages first.
Status resolve_layers(Plan& plan, std::int64_t model_layers);

}  // namespace pentafold
