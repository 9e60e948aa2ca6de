// engine_inputs: what run and compare give the engine: weights, sizes, sampling.
//
// Held by tests/e2e.
#pragma once

#include "cli/verbs.h"
#include "execute/engine.h"

namespace pentafold {

Result<WeightSource> open_weights(const ModelInput& input);

// Sizes for these requests under `plan`; device, timeout and what is computed as asked for.
EngineOptions engine_options(const RunOptions& options, const Plan& plan,
                             const std::vector<Request>& requests);

// Judges what was loaded, as far as it is to be executed here; sets how weights are stored.
// Returns what the reader should know.
Result<std::vector<std::string>> prepare_to_run(PlanAndModel& loaded);

}  // namespace pentafold
