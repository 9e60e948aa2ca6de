// trace_round: the last round of a search, in which its best plans serve a trace.
//
// The closed form (predict/worker_cost.h) knows means of a steady state; queues, bursts and the
// lengths of single requests make percentiles. So the best plans of the search, each of other
// degrees, are simulated (predict/simulate.h) as their plan files would be. Those that miss a limit
// of Targets::served or the goodput are dropped; of the others those that serve within kSameRate of
// the best count as equal in rate (a fleet that keeps up serves what arrives), and the one with
// most room below its limits wins. Where the fewest GPUs are wanted, a plan gets as few replicas as
// doubling and halving finds to hold the limits.
// The search itself is held to limits on percentiles as if they were limits on its means: who
// misses those when it is full misses them under a burst. If nothing passes, they are lifted, so
// that the simulation can say by how much; and if no plan serves, those with the least TTFT and
// TPOT are simulated too. Source: goodput under limits as DistServe (arXiv 2401.09670) judges; a
// simulator behind a search: Vidur-Search (arXiv 2405.05465). Cost: the search without its pruning
// across degrees, and a simulation a plan and size, on `threads`. Held by
// planner/trace_round_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/search.h"
#include "predict/simulate_plan.h"
#include "spec/trace.h"

namespace pentafold {

struct TraceRound {
  Trace trace;
  ServiceTargets slo;  // of each request; for goodput
  ServingChoices serving;
  std::int64_t plans = 8;  // simulated; as many again if none of them serves
};

// A limit of the targets, and what the simulation reached.
struct ServedCheck {
  std::string name;  // "ttft_p99", "goodput"
  double bound = 0;
  double reached = 0;  // infinite where too many requests were rejected
  // How much of the limit is used: at most 1 where it is met.
  double used = 0;
  bool met() const { return used <= 1; }
};

struct SimulatedPlan {
  Deployment deployment;   // its score is the closed form's
  std::int64_t place = 1;  // in the closed form's order; the fastest after the best
  std::string failure;     // why it cannot serve at all; then the rest says nothing
  ServiceSummary summary;
  std::vector<ServedCheck> checks;

  bool met() const;
  double worst_used() const;  // the largest part of a limit used; 0 without limits
  // Of requests within the limits of each where there are such limits, else generated tokens; each
  // second, by GPU paid for.
  double rate_per_gpu(bool goodput) const;
};

// Plans whose rate differs by less serve as much as each other.
inline constexpr double kSameRate = 0.01;

struct SimulatedSearch {
  // Its winner is the best of `plans`, if that meets its limits; its shortlist all that were tried.
  SearchResult search;
  std::vector<SimulatedPlan> plans;  // best first
  bool lifted = false;               // no plan's means held the limits on percentiles
};
SimulatedSearch search_simulated(const Problem& problem, const SearchOptions& options,
                                 const TraceRound& round);

// Whether the targets can only be judged by simulating.
bool wants_simulation(const Targets& targets);
// A closed-form question: the limits on percentiles as limits on means.
Problem with_mean_limits(const Problem& problem);

// "ttft_p99: the best has 2.4 s, limit 2 s (20 % over): <plan>" for each limit that nobody meets;
// if each is met by somebody, the plan that comes nearest to meeting all.
std::vector<std::string> why_none_serves(const SimulatedSearch& found);
// A check's numbers in its unit: "2.4 s", "12/s".
std::string format_served(const ServedCheck& check, double value);

}  // namespace pentafold
