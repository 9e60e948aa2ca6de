#include "cli/explain.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/quote.h"
#include "cli/verbs.h"
#include "plan/plan_file.h"
#include "planner/plan_explain.h"

namespace pentafold {
namespace {

// A file, or else a shorthand if it looks like one.
Result<Plan> read_file_or_shorthand(const std::string& text) {
  std::error_code unreadable;
  const bool shorthand =
      text.find('=') != std::string::npos && !std::filesystem::exists(text, unreadable);
  return shorthand ? parse_plan_shorthand(text) : read_plan(text);
}

// "dir/a.yaml" -> "a"; a shorthand has no short name.
std::string name_of(const Plan& plan, const char* otherwise) {
  const std::string name = std::filesystem::path(plan.file).stem().string();
  return name.empty() ? otherwise : name;
}

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

Result<std::string> page(const ExplainOptions& options) {
  PF_ASSIGN(Plan first, read_file_or_shorthand(options.plan));
  PF_ASSIGN(Plan second, read_file_or_shorthand(options.against));
  PlanVerbOptions asked = options.request;
  if (asked.model.empty()) asked.model = first.model.empty() ? second.model : first.model;
  if (asked.gpu.empty() && asked.cluster.empty()) {
    asked.gpu = first.device.empty() ? second.device : first.device;
    if (!first.device.empty() && !second.device.empty() && first.device != second.device) {
      return make_error(
          ErrorCode::InvalidSpec,
          fmt::format("the plans are for {} and {}; name the one to compare them on with --gpu",
                      quote_text(first.device), quote_text(second.device)));
    }
  }
  PF_ASSIGN(const PlanRequest request, plan_request(asked));
  const Problem& problem = request.problem;
  first.model = asked.model;
  second.model = asked.model;
  std::string a = name_of(first, "A");
  std::string b = name_of(second, "B");
  if (a == b) {
    a += " (first)";
    b += " (second)";
  }
  PF_ASSIGN(Contender one, contender_of(first, problem, a));
  PF_ASSIGN(Contender other, contender_of(second, problem, b));
  return plan_explain(problem, compare_plans(problem, std::move(one), std::move(other)));
}

}  // namespace

int explain_verb(const ExplainOptions& options) {
  const auto text = page(options);
  if (!text.ok()) return report_error(text.error());
  fmt::print("{}", *text);
  return 0;
}

}  // namespace pentafold
