// validate FILE: predicts every row of a measurements file and prints how far off it is.
// Held by tests/e2e/validate_test.cc.
#pragma once

#include <string>

namespace pentafold {

struct ValidateVerbOptions {
  std::string file;
  std::string by;        // "gpu,model"; empty: all but source
  std::string only;      // "gpu=h200-sxm,engine=vllm"
  std::string rows_out;  // CSV of every row, predicted and skipped
  bool json = false;
  bool quiet = false;
  int threads = 0;  // 0: as many as the machine has
};
int validate_verb(const ValidateVerbOptions& options);

}  // namespace pentafold
