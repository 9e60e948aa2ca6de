// traffic: the communication of a step or pass by kind of collective: bytes, seconds, calls.
//
// Seconds are those that step_cost books under links and their latencies on the slowest stage, so
// the kinds sum to what the prediction has there. Bytes are what one rank of it sends to others as
// if links were flat: 2 (n - 1) / n of an all-reduced message, (n - 1) / n of a gathered one, every
// copy of a row for an expert on another rank.
// Cost: that of predicting one worker. Held by predict/traffic_test.cc (sums against
// predict_worker).
#pragma once

#include <array>
#include <cstdint>

#include "predict/worker_cost.h"

namespace pentafold {

enum class Collective { Tensor, Experts, Pipeline, Sequence };
inline constexpr std::size_t kCollectives = 4;
const char* to_string(Collective collective);  // "dispatch and combine (all-to-all)"

struct Traffic {
  double calls = 0;
  double bytes = 0;    // sent by one rank
  double seconds = 0;  // on the slowest stage
};
using TrafficByKind = std::array<Traffic, kCollectives>;

// One decode step, all its microbatches.
TrafficByKind decode_traffic(const StepCost& costs, const Worker& worker);
// One prefill pass of `prompts` prompts per dp group.
TrafficByKind prefill_traffic(const StepCost& costs, const Worker& worker, std::int64_t prompts);

}  // namespace pentafold
