#include "verify/verify.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/verbs.h"

namespace pentafold {

int verify_verb(const VerifyOptions& options) {
  const auto loaded = load_plan_and_model(options.plan);
  if (!loaded.ok()) {
    // A plan whose stages do not add up is an answer, not a malformed file.
    const int code = report_error(loaded.error());
    return loaded.error().code == ErrorCode::InfeasiblePlan ? 1 : code;
  }
  const Verdict verdict = verify(loaded->plan, loaded->input.model);
  if (options.json) {
    nlohmann::json out = {{"ok", verdict.ok()}, {"failures", nlohmann::json::array()}};
    for (const Finding& finding : verdict.failures) {
      out["failures"].push_back({{"check", finding.check},
                                 {"sentence", finding.error.message},
                                 {"file", finding.error.file},
                                 {"line", finding.error.line}});
    }
    fmt::print("{}\n", out.dump(2));
  } else {
    fmt::print("{}", format_verdict(verdict, loaded->plan, loaded->input.model));
  }
  return verdict.ok() ? 0 : 1;
}

}  // namespace pentafold
