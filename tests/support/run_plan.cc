#include "support/run_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "plan/plan_file.h"

namespace pentafold::testing {

constexpr std::int64_t kMaxPositions = 160;
constexpr std::int64_t kBlocksPerGroup = 160;

std::vector<Request> make_requests(const ModelSpec& model, const std::vector<std::int64_t>& lengths,
                                   std::int64_t max_tokens) {
  std::vector<Request> requests;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Request request;
    request.id = RequestId(static_cast<std::int64_t>(i));
    request.max_tokens = max_tokens;
    for (std::int64_t t = 0; t < lengths[i]; ++t) {
      const std::uint64_t draw = mix64(1000 * i + static_cast<std::uint64_t>(t));
      request.prompt.push_back(
          static_cast<std::int32_t>(draw % static_cast<std::uint64_t>(model.vocab)));
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

PlanRunner::PlanRunner(const Plan& plan, const ModelSpec& model, const std::string& device,
                       const EngineHooks& hooks)
    : plan_(plan), model_(model) {
  EngineOptions options;
  options.device = device;
  options.hooks = hooks;
  options.all_logits = true;
  options.max_positions = kMaxPositions;
  options.blocks_per_group = kBlocksPerGroup;
  auto engine = Engine::start(plan_, model_, WeightSource::synthetic(model_), options);
  if (!engine.ok()) check_failed(__FILE__, __LINE__, "start", engine.error().to_string());
  engine_ = std::move(engine).value();
}

Outcome PlanRunner::run(const Scenario& scenario) {
  std::vector<Request> requests =
      make_requests(model_, scenario.prompt_lengths, scenario.max_tokens);
  if (!scenario.order.empty()) {
    std::vector<Request> ordered;
    for (const std::size_t i : scenario.order) ordered.push_back(requests[i]);
    requests = std::move(ordered);
  }
  SchedulerLimits limits = scheduler_limits(plan_, kBlocksPerGroup);
  limits.prefill_chunk = scenario.prefill_chunk;
  limits.max_batch = scenario.max_batch;
  engine_->set_limits(limits);
  auto report = engine_->generate(std::move(requests), scenario.sampling, {});
  if (!report.ok()) check_failed(__FILE__, __LINE__, "generate", report.error().to_string());
  last_report = *report;
  Outcome outcome;
  outcome.logits_hash = report->logits_hash;
  outcome.logit_rows = report->logit_rows;
  for (const RequestReport& request : report->requests) outcome.tokens[request.id] = request.tokens;
  return outcome;
}

Plan make_plan(const Degrees& degrees, const ModelSpec& model, PlacementStyle placement) {
  Plan plan;
  for (std::int64_t i = 0; i < degrees.pp; ++i) {
    StagePlan stage;
    stage.dp = degrees.dp;
    stage.sp = degrees.sp;
    stage.tp = degrees.tp;
    stage.ep = degrees.ep;
    stage.etp = degrees.etp;
    stage.placement = placement;
    stage.layers = split(model.num_layers(), degrees.pp, i).size();
    plan.stages.push_back(stage);
  }
  return plan;
}

std::string to_string(const Degrees& d) {
  return fmt::format("pp{} dp{} sp{} tp{} ep{} etp{}", d.pp, d.dp, d.sp, d.tp, d.ep, d.etp);
}

std::vector<Degrees> legal_degrees(const ModelSpec& model, std::int64_t limit,
                                   PlacementStyle placement) {
  std::vector<Degrees> out;
  for (std::int64_t pp = 1; pp <= std::min(limit, model.num_layers()); ++pp) {
    for (std::int64_t dp = 1; pp * dp <= limit; ++dp) {
      for (std::int64_t sp = 1; pp * dp * sp <= limit; ++sp) {
        for (std::int64_t tp = 1; pp * dp * sp * tp <= limit; ++tp) {
          const std::int64_t ranks = dp * sp * tp;
          for (std::int64_t ep = 1; ep <= ranks; ++ep) {
            for (std::int64_t etp = 1; ep * etp <= ranks; ++etp) {
              const Degrees degrees{pp, dp, sp, tp, ep, etp};
              if (!model.has_experts() && ep * etp > 1) continue;
              if (folding_failures(make_plan(degrees, model, placement), model).empty()) {
                out.push_back(degrees);
              }
            }
          }
        }
      }
    }
  }
  return out;
}

}  // namespace pentafold::testing
