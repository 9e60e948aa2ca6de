#include "cli/plan.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "cli/verbs.h"
#include "planner/plan_report.h"

namespace pentafold {
namespace {

Status write_file(const PlanFile& file) {
  std::ofstream out(file.path, std::ios::binary);
  out << file.text;
  out.flush();
  if (!out) return make_error(ErrorCode::Io, "cannot be written", file.path);
  return ok_status();
}

Status write_plans(const PlanVerbOptions& options, const PlanAnswer& answer) {
  if (!answer.result.winner || options.out.empty()) return ok_status();
  for (const PlanFile& file : plan_files(answer.request, *answer.result.winner, options.out)) {
    PF_TRY(write_file(file));
    std::fprintf(stderr, "wrote %s\n", file.path.c_str());
  }
  return ok_status();
}

Result<int> give(const PlanVerbOptions& options, PlanAnswer answer) {
  const bool found = answer.result.winner.has_value();
  std::optional<WhyNot> why;
  // Where plans were simulated, the round says what they miss.
  const bool simulated = answer.simulated != nullptr && !answer.simulated->found.plans.empty();
  if (!found && !simulated) {
    why = why_not(answer.request.problem, answer.result, {options.threads});
    answer.why = &*why;
  }
  PF_TRY(write_plans(options, answer));
  if (!options.report.empty() || !options.explain_number.empty()) {
    const PlanReport report = plan_report(answer.request.problem, answer.result, why);
    if (!options.report.empty()) {
      PF_TRY(write_file({options.report, report.text}));
      std::fprintf(stderr, "wrote %s\n", options.report.c_str());
    }
    if (!options.explain_number.empty()) {
      fmt::print("{}", explain_number(report.figures, options.explain_number));
      return found ? 0 : 1;
    }
  }
  if (options.json) {
    fmt::print("{}\n", found_json(answer));
  } else {
    fmt::print("{}", found ? format_found(answer) : format_not_found(answer));
  }
  return found ? 0 : 1;
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Result<int> plan(const PlanQuestionOptions& options) {
  PF_ASSIGN(PlanQuestion question, plan_question(options));
  const PlanRequest& request = question.request;
  const SearchOptions how{options.request.threads, options.request.pareto, 0};
  const Clock::time_point begin = Clock::now();
  if (!question.simulated) {
    const SearchResult result = search(request.problem, how);
    return give(options.request, {request, result, nullptr, nullptr, seconds_since(begin)});
  }
  SimulatedRound& last = *question.simulated;
  last.found = search_simulated(request.problem, how, last.round);
  return give(options.request, {request, last.found.search, &last, nullptr, seconds_since(begin)});
}

}  // namespace

int plan_verb(const PlanQuestionOptions& options) {
  const auto code = plan(options);
  return code.ok() ? *code : report_error(code.error());
}

}  // namespace pentafold
