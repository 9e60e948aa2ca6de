#include "cli/engine_inputs.h"

#include <algorithm>

#include "cli/run_target.h"
#include "spec/weight_source.h"
#include "verify/verify.h"

namespace pentafold {

Result<WeightSource> open_weights(const ModelInput& input) {
  if (!input.checkpoint_dir.empty()) {
    return WeightSource::open_checkpoint(input.checkpoint_dir, input.model);
  }
  return WeightSource::synthetic(input.model);
}

EngineOptions engine_options(const RunOptions& options, const Plan& plan,
                             const std::vector<Request>& requests) {
  EngineOptions out;
  out.device = options.device;
  out.all_logits = options.logits_hash || !options.logits_out.empty() || options.check_one_rank;
  out.time_operators = options.stats || options.profile;
  out.threads_per_rank = options.threads;
  out.pin = options.pin;
  for (const Request& request : requests) {
    const auto total = static_cast<std::int64_t>(request.prompt.size()) + request.max_tokens;
    out.max_positions = std::max(out.max_positions, total);
  }
  // More blocks than the requests need would change nothing but the memory they take, which a plan
  // for a larger device may have and this machine not.
  out.blocks_per_group = blocks_needed(plan, requests);
  if (plan.kv_blocks > 0) out.blocks_per_group = std::min(out.blocks_per_group, plan.kv_blocks);
  out.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000.0));
  return out;
}

Result<std::vector<std::string>> prepare_to_run(PlanAndModel& loaded) {
  const ModelSpec& model = loaded.input.model;
  if (model.family != Family::Synthetic && loaded.input.checkpoint_dir.empty()) {
    return make_error(ErrorCode::InvalidSpec,
                      "holds no weights (model.safetensors or its index), which run needs; "
                      "download them",
                      loaded.input.path);
  }
  PF_ASSIGN(auto notes, fit_to_engine(loaded.plan));
  const Verdict verdict = verify(loaded.plan, model);
  if (!verdict.ok()) return verdict.failures.front().error;
  return notes;
}

}  // namespace pentafold
