// simulate_ranks: where the time of each rank of a replica goes.
//
// A step is priced as one (predict/step_pricer.h): by its slowest dp group, its busiest expert
// group and its slowest pipeline stage. Here the others get what is theirs: attention and dense
// layers by the load of their dp group, experts by the mean share of their expert group (a rank's
// expert time is taken to be linear in its share, between that of the busiest and half of it),
// layers by their stage; the rest of the step they wait. Where the load of experts has no names (a
// Zipf exponent), expert groups are ordered by load, averaged over shuffles. What is uneven by
// chance alone, and fixed costs, count as computing on all ranks. Source: none: a design. Cost:
// about two prices a step looked at, and of many steps only some are. Held by
// predict/simulate_ranks_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "predict/simulate.h"
#include "predict/step_pricer.h"

namespace pentafold {

// Parts of a replica's time; they sum to 1.
struct RankTime {
  std::int64_t stage = 0;
  std::int64_t rank = 0;  // in the stage
  std::int64_t dp_group = 0;
  std::int64_t expert_group = 0;
  double compute = 0;        // arithmetic, memory, fixed costs
  double communication = 0;  // collectives and hand-overs
  double waiting = 0;        // for busier ranks of the stage
  double bubble = 0;         // for other stages
  double idle = 0;           // between steps
};

// Of one pool: what its replicas' steps ask of each rank.
class RankMeter {
 public:
  // Both must outlive it.
  RankMeter(const StepCost& costs, const StepPricer& pricer);

  void add(const StepRun& run);
  // A rank of the mean replica, which is in a step `busy_share` of the time; by stage, then rank.
  std::vector<RankTime> ranks(double busy_share) const;
  // Of the steps looked at: half-width of the 80 % interval if all errors go one way, and seconds.
  double error_s() const { return error_s_; }
  double priced_s() const { return priced_s_; }

 private:
  using Table = std::vector<std::vector<double>>;  // by stage, then by group
  // Of the step at hand, unscaled; summed over steps once scaled.
  struct Sums {
    Table dense;    // by dp group
    Table experts;  // by expert group
    std::vector<double> logits;
    std::vector<double> talk;
    std::vector<double> whole;  // of the stage's slowest way through
    void add(const Sums& other, double factor);
  };
  Sums empty() const;
  Sums split(const StepLoad& load) const;
  void split_kind(std::size_t kind, const StepLoad& load, Sums& sums) const;

  const StepCost& costs_;
  const StepPricer& pricer_;
  Table layers_;    // by stage, then kind
  Table relative_;  // by kind: each expert group's load over the busiest one's
  std::vector<double> peak_share_;
  Sums sums_;
  double step_s_ = 0;
  double error_s_ = 0;
  double priced_s_ = 0;
  std::int64_t seen_ = 0;
};

RankTime mean_of(const std::vector<RankTime>& ranks);

}  // namespace pentafold
