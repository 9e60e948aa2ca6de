// Options of the verbs that plan, audit and list the catalog: declared to CLI11 apart from those
// that run (main.cc), for no reason but the length of the files.
#pragma once

#include <optional>

#include "cli/audit.h"
#include "cli/clusters.h"
#include "cli/explain.h"
#include "cli/models.h"
#include "cli/plan.h"
#include "cli/predict.h"
#include "cli/simulate.h"
#include "cli/validate.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace pentafold {

struct PlanningOptions {
  PlanQuestionOptions plan;
  ExplainOptions explain;
  PredictOptions predict;
  SimulateOptions simulate;
  AuditOptions audit;
  ModelsOptions models;
  ClustersOptions clusters;
  ValidateVerbOptions validate;
};
void add_planning_verbs(CLI::App& app, PlanningOptions& options);
// Runs the one that was given; nullopt: it was none of these.
std::optional<int> run_planning_verb(const CLI::App& app, const PlanningOptions& options);

}  // namespace pentafold
