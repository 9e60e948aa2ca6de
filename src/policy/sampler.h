// Sampling: logits -> token, a pure function of (logits, options, seed, request, position).
//
// temperature 0 is greedy, ties to the lower id. Otherwise: candidates sorted by (logit descending,
// id ascending), cut to top_k, softmax in double, cut to the smallest prefix with mass >= top_p,
// then one uniform from the counter-based generator walks the prefix. Nothing depends on the plan,
// the batch or the order of calls, so samples are plan-invariant like logits.
// Source: nucleus sampling, Holtzman et al. 2020 (arXiv 1904.09751).
// Cost: O(vocab) greedy, O(vocab log vocab) otherwise. Held by policy/sampler_test.cc.
#pragma once

#include <cstdint>
#include <span>

namespace pentafold {

struct SamplingOptions {
  double temperature = 0.0;
  std::int64_t top_k = 0;  // 0: all
  double top_p = 1.0;
  std::uint64_t seed = 0;
};

// `position`: of the token being chosen, counted from the start of its request.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          std::uint32_t request, std::uint32_t position);

}  // namespace pentafold
