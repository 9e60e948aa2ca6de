// `pentafold predict PLAN`: seconds of one prefill pass and one decode step of a plan, and what a
// worker kept full delivers, each with its 80 % interval and what it is made of.
// Exit codes: 0 done, 1 the plan does not fit the memory, 2 bad input. Held by
// tests/e2e/predict_test.cc.
#pragma once

#include <string>

#include "cli/plan.h"

namespace pentafold {

struct PredictOptions {
  std::string plan;
  PlanVerbOptions request;
  bool json = false;
};
int predict_verb(const PredictOptions& options);

}  // namespace pentafold
