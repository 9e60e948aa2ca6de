#include <fmt/format.h>

#include "cli/verbs.h"
#include "plan/explain.h"
#include "plan/lower.h"
#include "spec/lowerable.h"

namespace pentafold {
namespace {

Result<ModelSpec> lowered(const AnyModel& model) {
  if (model.input) return model.input->model;
  auto spec = lowerable(model.shape);
  if (spec.ok()) return spec;
  return make_error(ErrorCode::Unsupported,
                    fmt::format("programs {} are not lowered yet; verify says what can be said "
                                "without them",
                                spec.error().message),
                    model.shape.name);
}

}  // namespace

int program_verb(const ProgramOptions& options) {
  const auto loaded = load_plan_and_shape(options.plan);
  if (!loaded.ok()) return report_error(loaded.error());
  const auto model = lowered(loaded->model);
  if (!model.ok()) return report_error(model.error());
  const auto context = LoweringContext::make(loaded->plan, *model);
  if (!context.ok()) return report_error(context.error());
  if (options.rank < 0 || options.rank >= context->mesh.world()) {
    return report_error(
        make_error(ErrorCode::InvalidSpec, fmt::format("--rank {}: the plan has ranks 0 to {}",
                                                       options.rank, context->mesh.world() - 1)));
  }
  const RankProgram program = lower_rank(*context, Rank(options.rank));
  fmt::print("{}", format_program(*context, program));
  return 0;
}

}  // namespace pentafold
