#include "report/error_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace pentafold {
namespace {

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return quantile(values, 0.5);
}

// All measurements of one layout of one job.
struct Layout {
  std::vector<double> measured;
  std::vector<double> predicted;
};

struct Point {
  double measured = 0;
  double predicted = 0;
};

// Less is better or more is: the order is right if both agree, either way.
void compare(const Point& a, const Point& b, PairOrder& out) {
  const double most = std::max(a.measured, b.measured);
  if (std::abs(a.measured - b.measured) < kMeasurementNoise * most) return;
  ++out.of;
  const bool a_is_less = a.measured < b.measured;
  if (a_is_less ? a.predicted < b.predicted : a.predicted > b.predicted) ++out.right;
}

std::string cells(const ErrorStats& stats) {
  if (stats.n == 0)
    return fmt::format("{:>6} {:>7} {:>7} {:>7} {:>7} {:>5}", "-", "", "", "", "", "");
  return fmt::format("{:>6} {:>7.1f} {:>7.1f} {:>7.1f} {:>+7.1f} {:>5.0f}", stats.n,
                     100 * stats.median, 100 * stats.mean, 100 * stats.p90, 100 * stats.bias,
                     100 * stats.covered);
}

}  // namespace

double quantile(std::span<const double> sorted, double q) {
  if (sorted.empty()) return 0;
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(below);
  return sorted[below] + part * (sorted[above] - sorted[below]);
}

ErrorStats error_stats(std::span<const ErrorSample> samples) {
  ErrorStats out;
  out.n = static_cast<std::int64_t>(samples.size());
  if (samples.empty()) return out;
  std::vector<double> errors;
  errors.reserve(samples.size());
  for (const ErrorSample& s : samples) {
    const double signed_error = s.predicted / s.measured - 1;
    errors.push_back(std::abs(signed_error));
    out.mean += errors.back();
    out.bias += signed_error;
    out.covered += s.covered() ? 1 : 0;
  }
  const auto n = static_cast<double>(out.n);
  out.mean /= n;
  out.bias /= n;
  out.covered /= n;
  std::ranges::sort(errors);
  out.median = quantile(errors, 0.5);
  out.p90 = quantile(errors, 0.9);
  return out;
}

PairOrder pair_order(std::span<const PairSample> samples) {
  std::map<std::string_view, std::map<std::string_view, Layout>> jobs;
  for (const PairSample& s : samples) {
    auto& layouts = jobs[s.job];
    if (layouts.size() >= kMaxLayouts && !layouts.contains(s.layout)) continue;
    Layout& layout = layouts[s.layout];
    layout.measured.push_back(s.measured);
    layout.predicted.push_back(s.predicted);
  }
  PairOrder out;
  for (const auto& [job, layouts] : jobs) {
    std::vector<Point> points;
    for (const auto& [name, layout] : layouts) {
      points.push_back({median_of(layout.measured), median_of(layout.predicted)});
    }
    for (std::size_t a = 0; a < points.size(); ++a) {
      for (std::size_t b = a + 1; b < points.size(); ++b) compare(points[a], points[b], out);
    }
  }
  return out;
}

std::string format_text(const ErrorTable& table) {
  std::size_t width = table.title.size();
  for (const ErrorTable::Row& row : table.rows) width = std::max(width, row.label.size());
  std::string out = fmt::format("{:<{}}", "", width);
  for (const std::string& quantity : table.quantities) out += fmt::format(" | {:<44}", quantity);
  out += fmt::format("\n{:<{}}", table.title, width);
  for (std::size_t i = 0; i < table.quantities.size(); ++i) {
    out += fmt::format(" | {:>6} {:>7} {:>7} {:>7} {:>7} {:>5}", "n", "median", "mean", "p90",
                       "bias", "in80");
  }
  out += '\n';
  for (const ErrorTable::Row& row : table.rows) {
    out += fmt::format("{:<{}}", row.label, width);
    for (const ErrorStats& stats : row.stats) out += " | " + cells(stats);
    out += '\n';
  }
  return out;
}

}  // namespace pentafold
