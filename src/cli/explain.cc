#include "cli/explain.h"

#include <fmt/format.h>

#include "base/quote.h"
#include "cli/contender.h"
#include "cli/verbs.h"
#include "planner/plan_explain.h"

namespace pentafold {
namespace {

Result<std::string> page(const ExplainOptions& options) {
  PF_ASSIGN(Plan first, read_plan_or_shorthand(options.plan));
  PF_ASSIGN(Plan second, read_plan_or_shorthand(options.against));
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
  std::string a = plan_name(first, "A");
  std::string b = plan_name(second, "B");
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
