// `pentafold bench`: how fast a model runs here under some plans, in percent of the machine.
//
// Plans and thread counts take turns, round after round, with the two limits that they are held
// against (execute/speed_limits.h); medians count. Plans whose weights do not fit into memory
// together run one after the other instead. Exit codes: 0 done, 2 bad input, 3 a run failed. Held
// by tests/e2e/bench_test.cc.
#pragma once

#include <string>
#include <vector>

#include "cli/verbs.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace pentafold {

struct BenchOptions {
  std::vector<std::string> plans;  // files or degrees; none: one rank
  std::string model;
  std::vector<std::int64_t> threads;  // of each rank; none: cores / ranks
  std::vector<std::int64_t> prefill = {128, 512, 2048};
  std::vector<std::int64_t> decode = {1, 8, 32, 128};
  std::int64_t context = 128;
  std::int64_t steps = 16;
  std::int64_t repeat = 5;
  bool pin = false;
  bool quick = false;
  bool profile = false;
  bool json = false;
  bool table = false;  // with json: the table as well, on stderr
  std::string device = "cpu";
  double timeout_s = 600;
};
void add_bench(CLI::App& app, BenchOptions& options);
int bench_verb(const BenchOptions& options);

}  // namespace pentafold
