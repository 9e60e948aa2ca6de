#include "policy/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace pentafold {

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          std::uint32_t request, std::uint32_t position) {
  CHECK(!logits.empty());
  if (options.temperature <= 0.0) {
    // max_element returns the first of equals: the lower id.
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) -
                                     logits.begin());
  }
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::size_t keep = order.size();
  if (options.top_k > 0) keep = std::min(keep, static_cast<std::size_t>(options.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(keep), order.end(),
                    better);
  order.resize(keep);

  std::vector<double> mass(order.size());
  const double top = logits[static_cast<std::size_t>(order.front())];
  double total = 0.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double logit = logits[static_cast<std::size_t>(order[i])];
    mass[i] = std::exp((logit - top) / options.temperature);
    total += mass[i];
  }
  double kept = 0.0;
  std::size_t prefix = 0;
  while (prefix < mass.size() && (prefix == 0 || kept < options.top_p * total)) {
    kept += mass[prefix++];
  }
  double target = sample_uniform(options.seed, request, position) * kept;
  for (std::size_t i = 0; i + 1 < prefix; ++i) {
    if (target < mass[i]) return order[i];
    target -= mass[i];
  }
  return order[prefix - 1];
}

}  // namespace pentafold
