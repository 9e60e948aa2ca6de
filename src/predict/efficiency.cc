#include "predict/efficiency.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace pentafold {
namespace {

constexpr double kEdge = 0.01;  // ranges are written rounded

}  // namespace

Curve::Curve(double first, double step, std::span<const double> values)
    : first_(first), inverse_step_(1 / step), last_(static_cast<double>(values.size()) - 1) {
  CHECK(!values.empty() && values.size() <= kMostKnots && step > 0);
  std::ranges::copy(values, values_.begin());
}

double Curve::least_slope() const {
  double least = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(last_); ++i) {
    least = std::min(least, (values_[i + 1] - values_[i]) * inverse_step_);
  }
  return least;
}

double Curve::greatest_slope() const {
  double greatest = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(last_); ++i) {
    greatest = std::max(greatest, (values_[i + 1] - values_[i]) * inverse_step_);
  }
  return greatest;
}

double Curve::greatest() const {
  return *std::max_element(values_.begin(), values_.begin() + static_cast<int>(last_) + 1);
}

Surface::Time Surface::time(const Load& load) const {
  double work = load.work;
  double traffic = load.traffic;
  for (std::size_t i = 0; i < kAxes; ++i) {
    work -= compute[i](load.axes[i]);
    traffic -= memory[i](load.axes[i]);
  }
  const double fixed = std::exp2(floor(load.axes[0])) * load.slower;
  const double large = std::max(work, traffic);
  if (large == kNothing) return {fixed + stream * load.rest, Binding::Floor};
  const double blend = std::log2(1 + std::exp2(p * (std::min(work, traffic) - large))) / p;
  const double moving = std::exp2(large + blend) + stream * load.rest;
  const Binding binding = fixed > moving    ? Binding::Floor
                          : work >= traffic ? Binding::Compute
                                            : Binding::Memory;
  return {fixed + moving, binding};
}

bool Surface::covers(const std::array<double, kAxes>& axes) const {
  for (std::size_t i = 0; i < kAxes; ++i) {
    if (!(axes[i] >= from[i] - kEdge && axes[i] <= to[i] + kEdge)) return false;
  }
  return true;
}

}  // namespace pentafold
