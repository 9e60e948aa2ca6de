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

int answer(const PlanVerbOptions& options, const PlanRequest& request, const SearchResult& result,
           double seconds) {
  const bool found = result.winner.has_value();
  std::optional<WhyNot> why;
  if (!found) why = why_not(request.problem, result, {options.threads, false});
  if (found && !options.out.empty()) {
    for (const PlanFile& file : plan_files(request, *result.winner, options.out)) {
      if (const Status written = write_file(file); !written.ok()) {
        return report_error(written.error());
      }
      std::fprintf(stderr, "wrote %s\n", file.path.c_str());
    }
  }
  if (!options.report.empty() || !options.explain_number.empty()) {
    const PlanReport report = plan_report(request.problem, result, why);
    if (!options.report.empty()) {
      if (const Status written = write_file({options.report, report.text}); !written.ok()) {
        return report_error(written.error());
      }
      std::fprintf(stderr, "wrote %s\n", options.report.c_str());
    }
    if (!options.explain_number.empty()) {
      fmt::print("{}", explain_number(report.figures, options.explain_number));
      return found ? 0 : 1;
    }
  }
  if (options.json) {
    fmt::print("{}\n", found_json(request, result, why ? &*why : nullptr, seconds));
  } else if (found) {
    fmt::print("{}", format_found(request, result, seconds));
  } else {
    fmt::print("{}", format_not_found(request, result, *why, seconds));
  }
  return found ? 0 : 1;
}

}  // namespace

int plan_verb(const PlanVerbOptions& options) {
  const auto request = plan_request(options);
  if (!request.ok()) return report_error(request.error());
  const auto begin = std::chrono::steady_clock::now();
  const SearchResult result = search(request->problem, {options.threads, options.pareto});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return answer(options, *request, result, took.count());
}

}  // namespace pentafold
