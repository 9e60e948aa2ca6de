// ExpertLoad: how many rows and how many different experts the busiest rank of a step has.
//
// A step waits in every layer for that layer's busiest rank, so what counts is the mean over the
// layers of their maxima, not the maximum of their mean. Expert e of a layer draws a share p_e of
// the choices (predict/expert_profile.h). Three effects, all on the busiest of ep groups:
//   placement: the group with the largest sum of shares (predict/expert_placement.h);
//   chance: of n choices a group gets m = n / ep, the busiest of ep about (sqrt(2 ln ep) - 0.58)
//              standard deviations more; it is independent of the placement's excess, so the two
//              add like standard deviations;
//   distinct experts: E (1 - (1 - k / E)^T) of T rows touch weights, and the busiest group touches
//              more, up to all it holds.
// Source: the mean of the largest of near-normal counts (Gumbel 1958).
// Cost: one walk over the layers for each (ep, redundant), then remembered; busiest is O(1) (even)
// or O(64): the shares of all layers are kept as 64 means. Held by predict/expert_load_test.cc
// (against routed samples) and predict/expert_load_bounds_test.cc (against counting).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "predict/expert_profile.h"

namespace pentafold {

class ExpertLoad {
 public:
  // experts >= 1, 1 <= top_k <= experts, skew >= 0.
  ExpertLoad(std::int64_t experts, std::int64_t top_k, double skew);
  // Layers of the profile hold `experts` shares.
  ExpertLoad(std::int64_t experts, std::int64_t top_k, ExpertProfile profile);

  // Busiest group's part of all choices, times ep: mean over the layers; 1 when even. `redundant`
  // extra copies, which never make it larger: a copy may stay idle. Safe from several threads.
  double peak_share(std::int64_t ep, std::int64_t redundant) const;
  // The same of the layer that has most: what buffers must hold.
  double worst_peak_share(std::int64_t ep, std::int64_t redundant) const;

  struct Busiest {
    double rows = 0;     // (row, expert) pairs
    double experts = 0;  // different ones
  };
  // Of `rows` rows routed over ep groups that hold `slots` experts each.
  Busiest busiest(double rows, std::int64_t ep, std::int64_t slots, double peak_share) const;

  // Rows that travel between ranks, a row once for each group that it visits.
  struct Dispatch {
    double sent = 0;      // by one rank: (ep - 1) / ep of the visits of its rows
    double received = 0;  // by a rank of the busiest group
  };
  // Of `rows` rows that lie equally on the ranks of ep groups (of one rank each).
  Dispatch dispatch(double rows, std::int64_t ep, std::int64_t slots, double peak_share) const;

  // Part of the choices of a step of `rows` rows that experts refuse (policy/routing.h: each takes
  // ceil(capacity_factor x rows x top_k / experts)); dropped, or taken to the next best expert.
  double overflow(std::int64_t rows, double capacity_factor) const;

 private:
  struct Peaks {
    double mean = 1;
    double worst = 1;
  };
  struct Memory;  // peaks by (ep, redundant)
  Peaks peaks(std::int64_t ep, std::int64_t redundant) const;
  void pool_shares();
  double touched(double rows) const;  // part of the experts that `rows` rows choose

  std::int64_t experts_;
  std::int64_t top_k_;
  ExpertProfile profile_;
  std::vector<double> pooled_;  // means of slices of all layers' shares, descending
  std::vector<double> weight_;  // part of the experts in each slice
  std::shared_ptr<Memory> memory_;
};

// Of the layers of `kind` under the workload's load; of one expert where there is none.
ExpertLoad expert_load(const ModelShape& model, std::size_t kind, const Workload& workload);

}  // namespace pentafold
