// Team: the threads of one rank, which share one piece of work at a time.
//
// run() cuts work into parts; whoever is free takes the next one, the caller included. A part
// writes outputs that no other part touches, so who computes it changes no bit. Between two runs
// the helpers look out for the next one for a short while and then sleep; where the process has
// more threads at work than there are cores they sleep at once, since looking out would take the
// core from the thread they wait for (base/patience.h). Cost: about a microsecond for each run with
// helpers awake; none with a team of one. A team belongs to one thread, the only one that calls
// run(). Held by base/team_test.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "base/function_ref.h"
#include "base/patience.h"

namespace pentafold {

class Team {
 public:
  using Body = FunctionRef<void(std::int64_t part)>;

  // The caller and size - 1 helpers; fewer if the system refuses threads.
  explicit Team(std::int64_t size = 1);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  std::int64_t size() const { return std::ssize(helpers_) + 1; }

  // body(0) .. body(parts - 1), each once, by any thread of the team; returns when all are done.
  // `body` must not throw and must not call run(). parts < 2^31.
  void run(std::int64_t parts, Body body);

  // A team at rest does not count among the process's busy threads (base/patience.h): of several
  // engines in turns, only the one at work does. Between runs; until then it is not at rest.
  void rest(bool at_rest);

 private:
  struct alignas(64) Counter {
    std::atomic<std::int32_t> value{0};
  };

  void help();
  void work();  // takes parts until none is left

  // What run() published; stays as it is until every part is done.
  const Body* body_ = nullptr;
  std::int32_t parts_ = 0;

  Counter left_;  // parts nobody has taken; negative: the team ends
  Counter done_;
  Counter round_;  // counts runs: what sleeping helpers watch
  std::vector<std::jthread> helpers_;
  std::optional<BusyThreads> busy_;  // none: at rest
};

}  // namespace pentafold
