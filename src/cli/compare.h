// `pentafold compare`: predicts what a plan's run will take here, runs it, and prints both.
//
// Plans of one model take turns, repetition after repetition, so that what else the machine does
// hits all alike; medians count. The expert profile of a prediction is the routing of the warm-up,
// which is the same under every plan. Exit codes: 0 done, 2 bad input, 3 a run failed.
// Held by tests/e2e/calibrate_test.cc.
#pragma once

#include <string>
#include <vector>

#include "cli/verbs.h"

namespace pentafold {

struct CompareOptions {
  RunOptions run;                  // plan, model, requests
  std::vector<std::string> plans;  // files, or folders of them
  std::string cluster;             // with `measured`; empty: calibrate first
  std::int64_t repeat = 5;
  bool quick = false;
  bool table = false;  // on stderr, beside JSON
};
int compare_verb(const CompareOptions& options);

}  // namespace pentafold
