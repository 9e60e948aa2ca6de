// The verbs of the program: each takes its parsed options and returns the exit code.
//
// 0: done, or yes. 1: the answer is no (verify: impossible; --check-one-rank: bits differ). 2: bad
// input or a plan that cannot run, one sentence on stderr. 3: the run failed (timeout, lost rank).
// Held by tests/e2e.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"
#include "spec/load_model.h"
#include "spec/model_shape.h"

namespace pentafold {

// What every verb that takes a plan accepts: a file, or --plan, and a model.
struct PlanOptions {
  std::string plan_file;
  std::string shorthand;
  std::string model;
};

struct RunOptions {
  PlanOptions plan;
  std::vector<std::string> prompts;
  std::vector<std::string> prompt_ids;  // "1,2,3" each
  std::string batch_file;
  std::optional<std::int64_t> max_tokens;
  double temperature = 0;
  std::int64_t top_k = 0;
  double top_p = 1;
  std::uint64_t seed = 0;
  bool ignore_eos = false;
  bool logits_hash = false;
  std::string logits_out;
  bool check_one_rank = false;
  bool stats = false;
  bool profile = false;
  std::int64_t threads = 0;  // of each rank; 0: cores / ranks
  bool pin = false;
  bool json = false;
  bool quiet = false;
  std::string device = "cpu";
  double timeout_s = 600;
};

struct ProgramOptions {
  PlanOptions plan;
  std::int64_t rank = 0;
};

struct InspectOptions {
  std::string model;
  bool json = false;
  bool tensors = false;
};

struct VerifyOptions {
  PlanOptions plan;
  bool json = false;
};

int run_verb(const RunOptions& options);
int program_verb(const ProgramOptions& options);
int inspect_verb(const InspectOptions& options);
int verify_verb(const VerifyOptions& options);

// A model that somebody named: a path, else a name of the catalog.
struct AnyModel {
  ModelShape shape;
  std::optional<ModelInput> input;  // what the engine can execute
  std::optional<Error> obstacle;    // why it cannot, where it cannot
};
Result<AnyModel> load_any_model(const std::string& path_or_name);

// Plan and model that the options name, layers resolved; not yet judged.
struct PlanAndShape {
  Plan plan;
  AnyModel model;
};
Result<PlanAndShape> load_plan_and_shape(const PlanOptions& options);
// The same for verbs that execute: the model's obstacle is an error.
struct PlanAndModel {
  Plan plan;
  ModelInput input;
};
Result<PlanAndModel> load_plan_and_model(const PlanOptions& options);
// The plan of the workers that compute the prompts of `plan` (plan.prefill_pool), on the same
// model.
Result<Plan> load_prefill_pool(const Plan& plan, const ModelShape& model);

// Prints the sentence on stderr; returns the exit code that the error's kind calls for.
int report_error(const Error& error);

}  // namespace pentafold
