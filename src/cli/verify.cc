#include "verify/verify.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "verify/verify_shape.h"

namespace pentafold {

namespace {

using Json = nlohmann::json;

// The plan, and its prefill pool where it has one.
struct Judgement {
  Plan plan;
  std::string model;  // its name
  Verdict verdict;
};

Verdict judge(const Plan& plan, const AnyModel& model) {
  return model.input ? verify(plan, model.input->model) : verify_shape(plan, model.shape);
}

// A plan whose stages do not add up is an answer, not a malformed file.
Result<std::vector<Judgement>> judge_all(const PlanOptions& options) {
  PF_ASSIGN(const PlanAndShape loaded, load_plan_and_shape(options));
  std::vector<Judgement> out;
  const std::string& name = loaded.model.shape.name;
  out.push_back({loaded.plan, name, judge(loaded.plan, loaded.model)});
  if (loaded.plan.prefill_pool.empty()) return out;
  PF_ASSIGN(Plan pool, load_prefill_pool(loaded.plan, loaded.model.shape));
  Verdict verdict = judge(pool, loaded.model);
  out.push_back({std::move(pool), name, std::move(verdict)});
  return out;
}

void print_json(const std::vector<Finding>& failures, const std::vector<std::string>& not_checked) {
  Json out = {{"ok", failures.empty()}, {"failures", Json::array()}, {"not_checked", not_checked}};
  for (const Finding& finding : failures) {
    out["failures"].push_back({{"check", finding.check},
                               {"sentence", finding.error.message},
                               {"file", finding.error.file},
                               {"line", finding.error.line}});
  }
  fmt::print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_all_json(const std::vector<Judgement>& judged) {
  std::vector<Finding> failures;
  for (const Judgement& each : judged) {
    failures.insert(failures.end(), each.verdict.failures.begin(), each.verdict.failures.end());
  }
  print_json(failures, judged.front().verdict.not_checked);
}

}  // namespace

int verify_verb(const VerifyOptions& options) {
  const auto judged = judge_all(options.plan);
  if (!judged.ok()) {
    const Error& error = judged.error();
    if (error.code != ErrorCode::InfeasiblePlan) return report_error(error);
    if (options.json) {
      print_json({{"folding", error}}, {});
    } else {
      report_error(error);
    }
    return 1;
  }
  bool possible = true;
  for (const Judgement& each : *judged) possible = possible && each.verdict.ok();
  if (options.json) {
    print_all_json(*judged);
    return possible ? 0 : 1;
  }
  for (const Judgement& each : *judged) {
    if (&each != &judged->front()) fmt::print("prefill pool {}:\n", each.plan.file);
    fmt::print("{}", format_verdict(each.verdict, each.plan, each.model));
  }
  return possible ? 0 : 1;
}

}  // namespace pentafold
