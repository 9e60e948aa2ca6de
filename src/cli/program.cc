#include <fmt/format.h>

#include "cli/verbs.h"
#include "plan/explain.h"
#include "plan/lower.h"

namespace pentafold {

int program_verb(const ProgramOptions& options) {
  const auto loaded = load_plan_and_model(options.plan);
  if (!loaded.ok()) return report_error(loaded.error());
  const auto context = LoweringContext::make(loaded->plan, loaded->input.model);
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
