// ExpertLoad: how many rows and how many different experts the busiest rank of a step has.
//
// A step waits for its busiest rank. Expert e draws a share p_e of the choices: even, or Zipf with
// exponent `skew`. Three effects, all on the busiest of ep groups:
//   placement: hot experts fall together by chance (mean over fixed shuffles), or redundant copies
//              of the hottest are dealt greedily (EPLB's rule);
//   chance: of n choices a group gets m = n / ep, the busiest of ep about (sqrt(2 ln ep) - 0.58)
//              standard deviations more; it is independent of the placement's excess, so the two
//              add like standard deviations;
//   distinct experts: E (1 - (1 - k / E)^T) of T rows touch weights, and the busiest group touches
//              more, up to all it holds.
// Source: DeepSeek EPLB; the mean of the largest of near-normal counts (Gumbel 1958).
// Cost: O(E log E) per (ep, redundant), then O(1) (even) or O(E). Held by
// predict/expert_load_test.cc (against routed samples).
#pragma once

#include <cstdint>
#include <vector>

namespace pentafold {

class ExpertLoad {
 public:
  // experts >= 1, 1 <= top_k <= experts, skew >= 0.
  ExpertLoad(std::int64_t experts, std::int64_t top_k, double skew);

  // Busiest group's part of all choices, times ep; 1 when even. `redundant` extra copies.
  double peak_share(std::int64_t ep, std::int64_t redundant) const;

  struct Busiest {
    double rows = 0;     // (row, expert) pairs
    double experts = 0;  // different ones
  };
  // Of `rows` rows routed over ep groups that hold `slots` experts each.
  Busiest busiest(double rows, std::int64_t ep, std::int64_t slots, double peak_share) const;

 private:
  std::int64_t experts_;
  std::int64_t top_k_;
  std::vector<double> share_;  // descending, sums to 1; empty when even
};

}  // namespace pentafold
