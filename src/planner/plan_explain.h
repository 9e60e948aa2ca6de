// plan_explain: why one plan beats another, on one page.
//
// Both are predicted by the same model on the same devices and requests; a difference in seconds is
// the sum of the differences of what binds (FLOPs, weights read, KV read, links, latency, fixed
// costs, bubbles), so the reasons always add up; of throughput, in device seconds for a generated
// token. Where the order turns with the number of requests
// or the length of their prompts, bisection finds the first value at which it has.
// Cost: a few hundred predictions, milliseconds. Held by planner/plan_explain_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/problem.h"

namespace pentafold {

// A plan to be compared: one pool, or prefill then decode.
struct Contender {
  std::string name;  // "A", or its file
  std::vector<Pool> pools;
  std::int64_t gpus() const;
};

struct ContenderView {
  std::vector<WorkerPrediction> predictions;  // by pool
  double ttft_s = 0;                          // without a queue
  double tpot_s = 0;
  double tokens_per_s_per_gpu = 0;
  double memory_bytes = 0;  // of the fullest rank
  bool fits = true;         // within the memory that may be used
  Cost prefill;             // of one pass
  Cost decode;              // of one step
  // Device seconds for one generated token, prompts included: 1 / tokens_per_s_per_gpu. A pool that
  // waits for the other is idle, booked with bubbles.
  Cost token;
};
ContenderView view(const Problem& problem, const Contender& contender);

// The first value of a range from which the other plan gives more tokens/s per GPU.
struct Flip {
  std::string axis;          // "requests at once", "prompt tokens"
  std::int64_t at = 0;       //
  bool second_above = true;  // the second plan is ahead from there on
};

struct Comparison {
  Contender first, second;
  ContenderView a, b;
  Cost prefill_difference;  // b - a, by what binds; sums to the difference in seconds
  Cost decode_difference;
  Cost token_difference;
  std::vector<Flip> flips;             // by axis, then ascending
  std::vector<std::string> sentences;  // three to five, each computed
};
// `problem`: model, devices, requests, targets; its own fleet size is not used.
Comparison compare_plans(const Problem& problem, Contender first, Contender second);

// One page of Markdown.
std::string plan_explain(const Problem& problem, const Comparison& comparison);

}  // namespace pentafold
