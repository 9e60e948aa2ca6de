#include "verify/verify_shape.h"

#include <fmt/format.h>

#include "spec/lowerable.h"
#include "verify/checks.h"

namespace pentafold {
namespace {

// Stops at the first stage whose table is at fault.
std::optional<Placements> check_placement(const Plan& plan, const ModelShape& model,
                                          Findings& findings) {
  std::vector<std::int64_t> experts;
  for (std::int64_t l = 0; l < model.num_layers(); ++l) {
    experts.push_back(model.layer(l).ffn.experts);
  }
  Placements out;
  const Mesh mesh(plan);
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const Range layers = mesh.layers(StageId(static_cast<std::int64_t>(i)));
    auto placement = Placement::build(plan, plan.stages[i], layers, experts);
    if (!placement.ok()) {
      findings.add("placement", placement.error());
      return std::nullopt;
    }
    out.push_back(std::make_shared<const Placement>(std::move(placement).value()));
  }
  return out;
}

}  // namespace

Verdict verify_shape(const Plan& plan, const ModelShape& model) {
  const auto spec = lowerable(model);
  if (spec.ok()) return verify_counted(plan, *spec, plan.precision ? &model : nullptr);
  Verdict verdict;
  Findings findings(plan);
  verdict.ranks = plan.world();
  verdict.model_parameters = count_params(model).total;
  verdict.not_checked.push_back(
      fmt::format("programs {} are not lowered yet: conservation, matching, deadlock and shapes "
                  "were not checked",
                  spec.error().message));
  const std::vector<Error> failures = folding_failures(plan, model);
  for (const Error& error : failures) findings.add("folding", error);
  if (failures.empty() && check_groups(plan, findings)) {
    if (const auto placements = check_placement(plan, model, findings)) {
      check_capacity(plan, model, *placements, verdict, findings);
      check_kv_blocks(plan, findings);
    }
  }
  verdict.failures = findings.take();
  return verdict;
}

}  // namespace pentafold
