// undecided: alternatives of a winner that the prediction's error does not tell apart from it.
//
// What two plans do alike is wrong alike, so only the error of what differs counts: the errors of
// operators that both cut the same way are subtracted, those of others add as squares
// (docs/planner.md derives it). Source: propagation of independent errors; the errors are those of
// held-out measurements (docs/operators.md). Cost: a few predictions a plan. Held by
// planner/undecided_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "planner/search.h"

namespace pentafold {

// Error of the objective's quantity by operator and cut, as parts of that quantity (in ln).
struct ErrorShares {
  // phase, part of a layer, Bound, and the degrees that cut it
  using Operator = std::array<std::int64_t, 6>;
  std::map<Operator, double> by_operator;
};
ErrorShares error_shares(const Problem& problem, const Deployment& deployment);

// Half-width of the 80 % interval of log(T_a / T_b).
double difference_error(const ErrorShares& a, const ErrorShares& b);

struct Undecided {
  std::string kind;       // of parallelism: "dp x ep"
  Deployment deployment;  // that holds all limits
  double behind = 0;      // ln of how much worse the objective is than the winner's; 0 or more
  double error = 0;       // half-width of its 80 % interval; not below `behind`
};
// Of the best of each other kind, nearest first. Empty without a winner, where an arrival rate
// makes all plans serve alike, and after a shortlist was simulated, which has its own rule for
// equals.
std::vector<Undecided> undecided(const Problem& problem, const SearchResult& result);

// "within 3.1 % of the best, +-5.0 % of which are error"
std::string sentence(const Undecided& undecided);

}  // namespace pentafold
