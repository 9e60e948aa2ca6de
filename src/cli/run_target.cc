#include "cli/run_target.h"

#include <fmt/format.h>

#include <optional>

namespace pentafold {
namespace {

std::optional<DType> engine_dtype(NumberFormat format) {
  switch (format) {
    case NumberFormat::F32:
      return DType::F32;
    case NumberFormat::BF16:
      return DType::BF16;
    case NumberFormat::F16:
      return DType::F16;
    default:
      return std::nullopt;
  }
}

Error refused(const Plan& plan, const std::string& why) {
  return make_error(
      ErrorCode::Unsupported,
      fmt::format("{}; to run the plan here, write precision: bf16 (or f16, f32) or leave it out",
                  why),
      plan.file);
}

}  // namespace

Result<std::vector<std::string>> fit_to_engine(Plan& plan, const ModelSpec& model) {
  std::vector<std::string> notes;
  if (plan.precision) {
    const Precision& p = *plan.precision;
    for (const NumberFormat format : {p.experts, p.linear, p.other}) {
      if (engine_dtype(format)) continue;
      return refused(plan, fmt::format("the plan's precision ({}) holds {}, which run does not "
                                       "compute with",
                                       to_string(p), to_string(format)));
    }
    if (!kv_type_of(p.kv)) {
      return make_error(ErrorCode::Unsupported,
                        fmt::format("the plan's precision ({}) holds the cache in {}, which run "
                                    "does not; to run the plan here, write kv: f32, bf16, f16 or "
                                    "int8",
                                    to_string(p), to_string(p.kv)),
                        plan.file);
    }
    if (p.experts != p.linear || p.other != p.linear) {
      return refused(plan,
                     fmt::format("the plan holds experts in {}, attention in {} and the rest "
                                 "in {}, but run holds all weights in one type",
                                 to_string(p.experts), to_string(p.linear), to_string(p.other)));
    }
    const DType wanted = *engine_dtype(p.linear);
    if (wanted != model.dtype) plan.weight_dtype = wanted;
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
