#include "report/percentiles.h"

#include <algorithm>

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

double mean_of(std::span<const double> values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

Percentiles percentiles_of(std::vector<double> values) {
  std::ranges::sort(values);
  Percentiles out;
  out.count = static_cast<std::int64_t>(values.size());
  out.mean = mean_of(values);
  out.p50 = percentile(values, 50);
  out.p90 = percentile(values, 90);
  out.p99 = percentile(values, 99);
  out.max = values.empty() ? 0 : values.back();
  return out;
}

}  // namespace pentafold
