#include "report/percentiles.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "base/check.h"

namespace pentafold {

double percentile(std::span<const double> sorted, double percent) {
  CHECK(percent >= 0 && percent <= 100);
  if (sorted.empty()) return 0;
  const double position = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = position - static_cast<double>(below);
  return sorted[below] + (sorted[above] - sorted[below]) * part;
}

Distribution distribution_of(std::vector<double> values) {
  Distribution d;
  if (values.empty()) return d;
  std::ranges::sort(values);
  d.n = std::ssize(values);
  d.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(d.n);
  d.p50 = percentile(values, 50);
  d.p90 = percentile(values, 90);
  d.p99 = percentile(values, 99);
  return d;
}

}  // namespace pentafold
