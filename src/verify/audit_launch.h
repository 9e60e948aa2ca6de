// Launch lines: how many processes does a command start, with which degrees?
//
// Each launcher counts in its own way: deepspeed's --num_gpus and torchrun's --nproc_per_node are
// per node. Source: the launchers' documentation. Cost: a scan. Held by
// verify/audit_launch_test.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace pentafold {

struct LaunchLine {
  std::string launcher;                         // "deepspeed"
  std::int64_t world = 0;                       // processes; 0: the line does not say
  std::string how;                              // "16 per node x 4 nodes"
  std::map<std::string, std::int64_t> degrees;  // pp, tp, ep, dp, sp as flags give them
};

// At most 4000 characters.
Result<LaunchLine> parse_launch(const std::string& line);

}  // namespace pentafold
