#include "cli/contender.h"

#include <filesystem>

#include "cli/verbs.h"
#include "plan/plan_file.h"

namespace pentafold {
namespace {

Result<Pool> pool_of(Plan plan, const ModelShape& model, Role role) {
  PF_TRY(resolve_layers(plan, model.num_layers()));
  Pool pool{{}, plan.replicas, role};
  PF_ASSIGN(pool.worker, worker_of(plan, model));
  // It computes no prompt; its file only has to say something.
  if (role == Role::Decode) pool.worker.chunk = 1;
  if (const auto failure = folding_failure(model, pool.worker)) {
    return make_error(ErrorCode::InfeasiblePlan, *failure, plan.file);
  }
  return pool;
}

}  // namespace

Result<Plan> read_plan_or_shorthand(const std::string& text) {
  std::error_code unreadable;
  const bool shorthand =
      text.find('=') != std::string::npos && !std::filesystem::exists(text, unreadable);
  return shorthand ? parse_plan_shorthand(text) : read_plan(text);
}

std::string plan_name(const Plan& plan, const char* otherwise) {
  const std::string name = std::filesystem::path(plan.file).stem().string();
  return name.empty() ? otherwise : name;
}

Result<Contender> contender_of(const Plan& plan, const Problem& problem, std::string name) {
  Contender out;
  out.name = std::move(name);
  const bool split = !plan.prefill_pool.empty();
  if (split) {
    PF_ASSIGN(const Plan prompts, load_prefill_pool(plan, problem.model));
    PF_ASSIGN(Pool pool, pool_of(prompts, problem.model, Role::Prefill));
    out.pools.push_back(std::move(pool));
  }
  PF_ASSIGN(Pool pool, pool_of(plan, problem.model, split ? Role::Decode : Role::Both));
  out.pools.push_back(std::move(pool));
  return out;
}

}  // namespace pentafold
