#include "verify/verify.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/verbs.h"

namespace pentafold {

namespace {

void print_json(const std::vector<Finding>& failures) {
  nlohmann::json out = {{"ok", failures.empty()}, {"failures", nlohmann::json::array()}};
  for (const Finding& finding : failures) {
    out["failures"].push_back({{"check", finding.check},
                               {"sentence", finding.error.message},
                               {"file", finding.error.file},
                               {"line", finding.error.line}});
  }
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

int verify_verb(const VerifyOptions& options) {
  const auto loaded = load_plan_and_model(options.plan);
  if (!loaded.ok()) {
    const Error& error = loaded.error();
    if (error.code != ErrorCode::InfeasiblePlan) return report_error(error);
    // A plan whose stages do not add up is an answer, not a malformed file.
    if (options.json) {
      print_json({{"folding", error}});
    } else {
      report_error(error);
    }
    return 1;
  }
  const Verdict verdict = verify(loaded->plan, loaded->input.model);
  if (options.json) {
    print_json(verdict.failures);
  } else {
    fmt::print("{}", format_verdict(verdict, loaded->plan, loaded->input.model));
  }
  return verdict.ok() ? 0 : 1;
}

}  // namespace pentafold
