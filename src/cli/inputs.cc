#include <fmt/format.h>

#include <cstdio>

#include "cli/verbs.h"
#include "plan/plan_file.h"

namespace pentafold {

Result<PlanAndModel> load_plan_and_model(const PlanOptions& options) {
  if (!options.plan_file.empty() && !options.shorthand.empty()) {
    return make_error(ErrorCode::InvalidSpec, "give a plan file or --plan, not both");
  }
  Plan plan;
  if (!options.plan_file.empty()) {
    PF_ASSIGN(plan, read_plan(options.plan_file));
  } else if (options.shorthand.empty()) {
    return make_error(ErrorCode::InvalidSpec,
                      "no plan: give a plan file, or degrees such as --plan tp=2,ep=4 (one rank: "
                      "--plan tp=1)");
  } else {
    PF_ASSIGN(plan, parse_plan_shorthand(options.shorthand));
  }
  const std::string path = options.model.empty() ? plan.model : options.model;
  if (path.empty()) {
    return make_error(
        ErrorCode::InvalidSpec,
        "no model: pass --model DIR (a Hugging Face checkpoint) or --model SPEC.yaml, "
        "or put `model:` into the plan file",
        plan.file);
  }
  PF_ASSIGN(auto input, load_model(path));
  PF_TRY(resolve_layers(plan, input.model.num_layers()));
  return PlanAndModel{std::move(plan), std::move(input)};
}

int report_error(const Error& error) {
  // One line, whatever a path or a stranger's file holds, and nothing that a terminal obeys.
  std::string sentence = error.to_string();
  for (char& c : sentence) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = '?';
  }
  std::fprintf(stderr, "pentafold: %s\n", sentence.c_str());
  const bool run_failed = error.code == ErrorCode::Timeout || error.code == ErrorCode::PeerLost;
  return run_failed ? 3 : 2;
}

}  // namespace pentafold
