#include "spec/param_count.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr double kMaxParams = 1e18;

}  // namespace

Result<double> read_param_count(const YamlMap& map, std::string_view key) {
  PF_ASSIGN(const std::string text, map.text(key, std::nullopt));
  double value = 0.0;
  const char* const last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, value);
  std::string_view unit(end, static_cast<std::size_t>(last - end));
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  constexpr std::array<std::string_view, 4> kUnits = {"", "M", "B", "T"};
  constexpr std::array kScales = {1.0, 1e6, 1e9, 1e12};
  const auto at =
      static_cast<std::size_t>(std::find(kUnits.begin(), kUnits.end(), unit) - kUnits.begin());
  const double params = status == std::errc{} && at < kUnits.size() ? value * kScales[at] : 0.0;
  if (params >= 1.0 && params <= kMaxParams) return params;
  return map.error_at(key, fmt::format("{} must be a number of parameters like 417M or 10B, not {}",
                                       key, quote_text(text)));
}

}  // namespace pentafold
