// ServiceSummary: what a service looked like from outside: latencies, throughput, goodput.
//
// TTFT is first token minus arrival, TPOT (last token - first token) / (tokens - 1) of a request
// with two tokens or more, ITL every single gap between two tokens of a request, E2E last token
// minus arrival. Quantiles interpolate linearly between ranks (numpy's default); ITL's come from a
// histogram, within 0.8 %. Rates are over the time from the first arrival to the last token.
// Cost: O(requests log requests). Held by predict/simulate_summary_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "predict/gap_histogram.h"
#include "report/percentiles.h"

namespace pentafold {

struct RequestOutcome {
  double arrival_s = 0;     // when the client sent it
  double scheduled_s = -1;  // start of the first step that computes some of it
  double first_token_s = -1;
  double finish_s = -1;     // last token
  std::int32_t prompt = 0;  // tokens
  std::int32_t output = 0;
  std::int32_t shared = 0;  // prompt tokens that were in the cache already
  std::int32_t preemptions = 0;
  std::int32_t replica = -1;         // that computed the prompt
  std::int32_t decode_replica = -1;  // of a split deployment
  bool rejected = false;             // it could never run; times are -1

  double ttft() const { return first_token_s - arrival_s; }
  double e2e() const { return finish_s - arrival_s; }
  double tpot() const { return output > 1 ? (finish_s - first_token_s) / (output - 1) : 0; }
};

struct ServiceTargets {
  std::optional<double> ttft_s;
  std::optional<double> tpot_s;
  std::optional<double> e2e_s;

  bool any() const { return ttft_s || tpot_s || e2e_s; }
  bool met_by(const RequestOutcome& outcome) const;
};

struct ServiceSummary {
  std::int64_t finished = 0;
  std::int64_t rejected = 0;
  std::int64_t preemptions = 0;
  std::int64_t gpus = 0;
  double duration_s = 0;                     // first arrival to last token
  Distribution ttft, tpot, itl, e2e, queue;  // queue: arrival to scheduled
  double requests_per_s = 0;
  double output_tokens_per_s = 0;
  double output_tokens_per_s_per_gpu = 0;
  double total_tokens_per_s = 0;   // prompts too
  double shared_prompt_share = 0;  // of prompt tokens, found in the cache
  std::int64_t good = 0;           // requests that met all targets
  double goodput_per_s = 0;
};

ServiceSummary summarize(std::span<const RequestOutcome> outcomes, const GapHistogram& gaps,
                         const ServiceTargets& targets, std::int64_t gpus);

}  // namespace pentafold
