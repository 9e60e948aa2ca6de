#include "cli/run_target.h"

#include <fmt/format.h>

namespace pentafold {
namespace {

Error refused(const Plan& plan, const std::string& why) {
  return make_error(ErrorCode::Unsupported,
                    fmt::format("{}; to run the plan here, write precision: bf16 (or f16, f32, "
                                "int8, int4) or leave it out",
                                why),
                    plan.file);
}

}  // namespace

Result<std::vector<std::string>> fit_to_engine(Plan& plan) {
  std::vector<std::string> notes;
  if (plan.precision) {
    const Precision& p = *plan.precision;
    const auto refuse = [&](NumberFormat format) {
      return refused(plan, fmt::format("the plan's precision ({}) holds {}, which run does not "
                                       "compute with",
                                       to_string(p), to_string(format)));
    };
    for (const NumberFormat format : {p.experts, p.linear, p.other}) {
      if (!floating_type(format) && !is_integer(format)) return refuse(format);
    }
    if (!kv_type_of(p.kv)) {
      return make_error(ErrorCode::Unsupported,
                        fmt::format("the plan's precision ({}) holds the cache in {}, which run "
                                    "does not; to run the plan here, write kv: f32, bf16, f16 or "
                                    "int8",
                                    to_string(p), to_string(p.kv)),
                        plan.file);
    }
    if (is_integer(p.other)) {
      return refused(plan, fmt::format("the plan holds embedding, router and norms in {}, but run "
                                       "holds in integers only what it multiplies with",
                                       to_string(p.other)));
    }
    plan.weights = {p.experts, p.linear, p.other, p.other};
    plan.kv = p.kv;
  }
  if (!plan.prefill_pool.empty()) {
    notes.push_back(
        fmt::format("the prefill pool {} is not run: this plan's ranks compute prompts "
                    "and answers, with the same bits as any other plan",
                    plan.prefill_pool));
  }
  return notes;
}

}  // namespace pentafold
