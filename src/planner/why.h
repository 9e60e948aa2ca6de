// why: what binds the winner, and when nothing fits, the proof and the smallest ways out.
//
// A certificate is a lower bound that no plan can beat, from the cost model's own terms at their
// best: every weight that one token needs read by all GPUs at once, or by one without any
// collective, whichever is less; operations at the peak's reachable part; the fixed cost of every
// layer. Where the bound stays below the target, the search itself is the proof, over its lattice.
// A relaxation changes one thing (a looser limit, more GPUs, fewer bits, fewer experts per token, a
// shorter prompt), is as small as a search can make it, and is only reported after a search with it
// has found a plan.
// Cost: a few dozen searches. Held by planner/why_test.cc (no worker of the lattice beats a
// certificate; every relaxation is applied and succeeds).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/search.h"

namespace pentafold {

struct BoundTerm {
  std::string what;  // "read 6.7 GB of weights at 8 x 2.68 TB/s"
  double seconds = 0;
  Bound bound = Bound::Hbm;
};

struct Certificate {
  Limit limit = Limit::Tpot;
  double target = 0;             // 0: none was given
  double bound = 0;              // no plan does better: seconds, bytes, tokens per second
  std::vector<BoundTerm> terms;  // of the bound, largest first; for rates per token
  bool proves() const;           // that the target is out of reach
};
// Of every limit that the targets name, memory included.
std::vector<Certificate> certificates(const Problem& problem);
std::string sentence(const Certificate& certificate);

struct Relaxation {
  std::string change;  // "TPOT 2.9 ms instead of 1 ms"
  std::string option;  // what to say on the command line: "--target ttft=20ms,tpot=2.9ms"
  std::string note;    // what it does not do, or costs; may be empty
  Problem problem;     // as changed
  Deployment found;
};

// The least number of GPUs, up to max_gpus, with which the targets can be met.
std::optional<std::int64_t> fewest_gpus(const Problem& problem, const SearchOptions& options);

struct FewestGpus {
  Precision precision;
  std::optional<std::int64_t> gpus;  // none: not with any number up to max_gpus
};

struct WhyNot {
  std::vector<Certificate> certificates;
  std::optional<Miss> nearest;  // the candidate that came nearest
  Worker nearest_worker;
  std::vector<Relaxation> relaxations;
  std::vector<FewestGpus> fewest;  // by precision; when memory is what is missing
};
// For a search without a winner.
WhyNot why_not(const Problem& problem, const SearchResult& result, const SearchOptions& options);

// One line: the parts of a step's or pass's time, largest first, those under 5 % left out.
std::string binding(const Cost& cost);

// "1.2 s", "85.1 GB", "2.4 k tokens/s": a limit's number in its unit.
std::string format_limit(Limit limit, double value);
// The limits and objective as --target takes them.
std::string format_targets(const Targets& targets);

}  // namespace pentafold
