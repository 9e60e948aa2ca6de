#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/quote.h"
#include "cli/verbs.h"
#include "plan/plan_file.h"
#include "plan/plan_paths.h"
#include "spec/load_shape.h"
#include "spec/model_names.h"

namespace pentafold {

namespace {

namespace fs = std::filesystem;

Result<Plan> load_plan(const PlanOptions& options) {
  if (!options.plan_file.empty() && !options.shorthand.empty()) {
    return make_error(ErrorCode::InvalidSpec, "give a plan file or --plan, not both");
  }
  if (options.plan_file.empty() && options.shorthand.empty()) {
    return make_error(ErrorCode::InvalidSpec,
                      "no plan: give a plan file, or degrees such as --plan tp=2,ep=4 (one rank: "
                      "--plan tp=1)");
  }
  PF_ASSIGN(Plan plan, options.plan_file.empty() ? parse_plan_shorthand(options.shorthand)
                                                 : read_plan(options.plan_file));
  if (!options.model.empty()) plan.model = options.model;
  if (plan.model.empty()) {
    return make_error(
        ErrorCode::InvalidSpec,
        "no model: pass --model DIR (a Hugging Face checkpoint), --model SPEC.yaml or a name of "
        "the catalog, or put `model:` into the plan file",
        plan.file);
  }
  return plan;
}

Error no_weights(const std::string& name) {
  return make_error(ErrorCode::Unsupported,
                    "is a shape of the catalog, which has no weights to run; download the "
                    "checkpoint and pass its folder with --model",
                    name);
}

Result<AnyModel> load_from_catalog(const std::string& name) {
  PF_ASSIGN(ShapeInput shape, load_shape(name));
  return AnyModel{std::move(shape.model), std::nullopt, no_weights(name)};
}

bool is_yaml(const std::string& path) {
  return path.ends_with(".yaml") || path.ends_with(".yml");
}

}  // namespace

Result<AnyModel> load_any_model(const std::string& path_or_name) {
  std::error_code unreadable;
  if (!fs::exists(path_or_name, unreadable) &&
      (could_be_catalog_name(path_or_name) || catalog_name_of(path_or_name))) {
    return load_from_catalog(path_or_name);
  }
  auto input = load_model(path_or_name);
  if (input.ok()) {
    ModelShape shape = shape_of(input->model);
    return AnyModel{std::move(shape), std::move(input).value(), std::nullopt};
  }
  // A model the engine cannot run may still be one to plan for; what is broken stays broken.
  if (!is_yaml(path_or_name) && input.error().code != ErrorCode::Unsupported) return input.error();
  // With a folder in front it is a path, whatever names the catalog has.
  const bool bare = could_be_catalog_name(path_or_name);
  auto shape = load_shape(bare ? "./" + path_or_name : path_or_name);
  if (!shape.ok()) return is_yaml(path_or_name) ? shape.error() : input.error();
  Error obstacle = is_yaml(path_or_name) ? no_weights(path_or_name) : input.error();
  return AnyModel{std::move(shape->model), std::nullopt, std::move(obstacle)};
}

Result<PlanAndShape> load_plan_and_shape(const PlanOptions& options) {
  PF_ASSIGN(Plan plan, load_plan(options));
  PF_ASSIGN(AnyModel model, load_any_model(plan.model));
  PF_TRY(resolve_layers(plan, model.shape.num_layers()));
  return PlanAndShape{std::move(plan), std::move(model)};
}

Result<PlanAndModel> load_plan_and_model(const PlanOptions& options) {
  PF_ASSIGN(PlanAndShape loaded, load_plan_and_shape(options));
  if (loaded.model.obstacle) return *loaded.model.obstacle;
  return PlanAndModel{std::move(loaded.plan), std::move(*loaded.model.input)};
}

Result<Plan> load_prefill_pool(const Plan& plan, const ModelShape& model) {
  PF_ASSIGN(Plan pool, read_plan(plan.prefill_pool));
  if (!pool.prefill_pool.empty()) {
    return make_error(ErrorCode::InvalidSpec,
                      "is itself a prefill pool and names another; remove its prefill_pool",
                      pool.file);
  }
  if (!pool.model.empty() && pool.model != plan.model) {
    PF_ASSIGN(const AnyModel own, load_any_model(pool.model));
    if (own.shape.name != model.name) {
      return make_error(ErrorCode::InvalidSpec,
                        fmt::format("is the prefill pool of a plan for {}, but is for {} itself; "
                                    "remove its model or name the same",
                                    quote_text(model.name), quote_text(own.shape.name)),
                        pool.file);
    }
  }
  pool.model = plan.model;
  PF_TRY(resolve_layers(pool, model.num_layers()));
  return pool;
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
