// search: the best deployment of a lattice, exactly, in milliseconds.
//
// Both parts of a layer's time (predict/step_cost.h) are computed once for each combination of the
// degrees they depend on; a candidate is then a few additions. Bounds cut what cannot win: a decode
// step never gets faster with more rows, a worker never faster with prompts to compute, redundant
// copies never help an even load. No bound is a guess, so the winner is brute force's winner.
// Source: branch and bound; attention and experts searched apart: HAP (arXiv 2508.19373).
// Cost: about 10 ns a candidate; tasks (precision, stage size) run on `threads`, merged in a fixed
// order. Held by planner/search_test.cc (200 random problems against for_each_worker).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "planner/lattice.h"
#include "planner/problem.h"

namespace pentafold {

// Candidates that spread over the same kinds of parallelism.
struct StrategyFamily {
  // Which of pp, dp, sp, tp, ep, etp exceed 1, by bit; disaggregated ones by their decode worker.
  unsigned kinds = 0;
  bool disaggregated = false;
  std::int64_t candidates = 0;
  std::optional<Deployment> best;  // that holds all limits
  std::optional<Miss> nearest;     // of those that do not: the one that came nearest
  Worker nearest_worker;
};
std::string family_name(unsigned kinds);  // "dp x ep", "pp x tp", "one GPU"

struct SearchResult {
  std::optional<Deployment> winner;      // at the stored precision
  std::vector<Deployment> best;          // the best of each precision that has one, stored first
  std::vector<StrategyFamily> families;  // at the stored precision, those with a candidate
  std::vector<Deployment> pareto;        // by falling tokens/s/user; only if asked for
  // At the stored precision, best first: each the best of its degrees. Only if asked for.
  std::vector<Deployment> shortlist;
  std::int64_t lattice = 0;    // candidates of the lattice: workers and pairs of pools
  std::int64_t evaluated = 0;  // of them not cut by a bound
};

struct SearchOptions {
  int threads = 1;
  bool pareto = false;
  std::int64_t shortlist = 0;  // how many
};
SearchResult search(const Problem& problem, const SearchOptions& options);

}  // namespace pentafold
