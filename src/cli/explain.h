// `pentafold explain PLAN --against OTHER`: why one plan beats the other, on a page.
//
// Plans are files or shorthands ("tp=2,ep=4"); model and device come from the options, else from
// the files. Exit codes: 0 done, 2 bad input. Held by tests/e2e.
#pragma once

#include <string>

#include "cli/plan.h"

namespace pentafold {

struct ExplainOptions {
  std::string plan;
  std::string against;
  // What the plans are to do, and on what: of these, those that make a Problem. An empty model or
  // gpu is the plans' own.
  PlanVerbOptions request;
};

int explain_verb(const ExplainOptions& options);

}  // namespace pentafold
