// Small random deployments and traces whose simulated times can be compared bit for bit.
//
// Prices are whole multiples of 2^-20 s and arrivals of 2^-12 s, so every sum of them is exact in
// any order and equality means equal bits. Cost: 60 requests a case. Used by
// predict/simulate*_test.
#pragma once

#include <cstdint>
#include <string>

#include "predict/simulate.h"

namespace pentafold {

inline constexpr double kTick = 0x1p-20;

double price_step(const StepLoad& load);
// The sum over the steps, taken one by one.
double price_decodes(const StepLoad& load, std::int64_t steps);

struct SimulatedCase {
  Trace trace;
  Service service;
};
// Of every kind: open and closed loop, both ways to batch and three to preempt, shared prefixes,
// one pool or two, requests that fit and that do not.
SimulatedCase random_simulated_case(std::uint32_t seed);

void expect_equal_outcomes(const RequestOutcome& a, const RequestOutcome& b,
                           const std::string& where);

}  // namespace pentafold
