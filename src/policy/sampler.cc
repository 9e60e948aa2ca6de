#include "policy/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace pentafold {

namespace {

// The first of the largest, NaN never; 0 if there is nothing else. Lanes advance side by side, as
// the compiler's vectors do.
std::int32_t greedy_token(std::span<const float> logits) {
  constexpr std::size_t kLanes = 16;
  float best[kLanes];
  std::fill_n(best, kLanes, -std::numeric_limits<float>::infinity());
  const std::size_t whole = logits.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      best[l] = logits[i + l] > best[l] ? logits[i + l] : best[l];
    }
  }
  for (std::size_t i = whole; i < logits.size(); ++i) {
    best[0] = logits[i] > best[0] ? logits[i] : best[0];
  }
  const auto found =
      std::find(logits.begin(), logits.end(), *std::max_element(best, best + kLanes));
  return found == logits.end() ? 0 : static_cast<std::int32_t>(found - logits.begin());
}

}  // namespace

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          std::uint32_t request, std::uint32_t position) {
  CHECK(!logits.empty());
  if (options.temperature <= 0.0) return greedy_token(logits);
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
