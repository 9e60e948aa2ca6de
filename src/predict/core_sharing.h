// core_sharing: how long threads take that share a few cores and wait for each other.
//
// A thread is a list of actions: work, exchanges in groups, messages. Threads that are ready queue
// for the cores in the order they became so and keep one until they wait or a time slice is over,
// as an operating system does it with equal priorities. What is waited for arrives some delay after
// the last one came. So a phase between two exchanges takes max(longest thread, all work / cores)
// where work divides evenly, more where it does not, and delays vanish behind others' work.
// Cost: O(actions log threads). Held by predict/core_sharing_test.cc.
#pragma once

#include <cstdint>
#include <vector>

namespace pentafold {

struct ThreadAction {
  enum class Kind { Work, Exchange, Send, Receive };
  Kind kind = Kind::Work;
  double work_s = 0;      // of Work; of the others: once what they wait for is there
  double delay_s = 0;     // from the last arrival, or the sending, until waiters know
  std::int64_t with = 0;  // Exchange: which group; Send, Receive: the other thread
};

struct ThreadPlan {
  std::vector<std::vector<ThreadAction>> actions;  // by thread
  std::vector<std::int64_t> group_sizes;           // members of each group
  std::int64_t cores = 1;
};

// Seconds until the last thread is done; +infinity if some wait for ever.
double seconds_on_cores(const ThreadPlan& plan);

}  // namespace pentafold
