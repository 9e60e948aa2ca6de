#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

namespace pentafold {
namespace {

std::string scaled(double value, const std::array<std::pair<double, const char*>, 5>& scales) {
  for (const auto& [scale, unit] : scales) {
    if (std::abs(value) >= scale || scale == scales.back().first) {
      const double v = value / scale;
      const int digits = scale == 1.0 ? 0 : std::abs(v) >= 100 ? 0 : std::abs(v) >= 10 ? 1 : 2;
      return fmt::format("{:.{}f}{}{}", v, digits, *unit == '\0' ? "" : " ", unit);
    }
  }
  return {};
}

}  // namespace

std::string format_bytes(double bytes) {
  return scaled(bytes, {{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1.0, "B"}}});
}

std::string format_count(double count) {
  return scaled(count, {{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}, {1.0, ""}}});
}

std::string format_seconds(double seconds) {
  if (std::abs(seconds) < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (std::abs(seconds) < 1.0) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

}  // namespace pentafold
