// Generated workloads: requests that arrive by a process, with lengths of a distribution.
//
// Poisson: gaps are exponential. Gamma: gaps are Gamma distributed with the coefficient of
// variation `cv` (1 is Poisson, above it arrivals come in bursts, below they are more even).
// Uniform: equal gaps. Closed: `concurrency` requests are always in flight, so the simulation
// decides when the next arrives. Every draw is a function of (seed, request, purpose) and uses no
// library's logarithm, so that the same seed gives the same bytes on every machine, and the first
// n requests do not depend on how many follow.
// Source: bursty arrivals as Gamma: BurstGPT (arXiv 2401.17644), vLLM's benchmark; sampling:
// Marsaglia & Tsang, "A simple method for generating gamma variables" (TOMS 2000).
// Cost: about 0.3 us a request. Held by spec/arrivals_test.cc.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "spec/trace.h"

namespace pentafold {

enum class ArrivalProcess { Poisson, Gamma, Uniform, Closed };
// "poisson", "gamma", "uniform", "closed"; an unknown name is refused with the nearest known one.
Result<ArrivalProcess> parse_arrival_process(const std::string& name);

// Whole tokens from `low` to `high`, each as likely.
struct TokenRange {
  std::int64_t low = 1;
  std::int64_t high = 1;
  double mean() const { return (static_cast<double>(low) + static_cast<double>(high)) / 2; }
};
// "4000" or "[1000,4000]"; `what` is what it is for ("--isl").
Result<TokenRange> parse_token_range(const std::string& text, const std::string& what);

struct ArrivalSpec {
  ArrivalProcess process = ArrivalProcess::Poisson;
  double rate_per_s = 0;         // unless closed
  double cv = 1;                 // Gamma only
  std::int64_t concurrency = 0;  // closed only
  std::int64_t requests = 0;
  TokenRange prompt;
  TokenRange output;
  std::uint64_t seed = 0;
};

// The first request arrives at 0. Refused: rates, cv or numbers out of bounds.
Result<Trace> generate_trace(const ArrivalSpec& spec);

}  // namespace pentafold
