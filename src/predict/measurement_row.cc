#include "predict/measurement_row.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <regex>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::size_t kShown = 60;

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

Skip skip(SkipReason reason, const MeasurementRow& row, Column column) {
  return {reason, fmt::format("{} {}", kColumnNames[static_cast<std::size_t>(column)],
                              quote_text(row[column].substr(0, kShown)))};
}

std::optional<double> read_number(std::string_view text) {
  text = trimmed(text);
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = status == std::errc() && end == text.data() + text.size();
  if (!whole || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> read_count(std::string_view text) {
  const auto value = read_number(text);
  constexpr double kMost = 1 << 30;
  if (!value || *value < 0 || *value > kMost || *value != std::floor(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::string lowered(std::string_view text) {
  std::string out;
  for (const char c : trimmed(text)) {
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string read_month(std::string_view text) {
  static const std::regex kDate(R"((\d{4})(-?)(0[1-9]|1[0-2])(\2\d\d)?)");
  std::match_results<std::string_view::const_iterator> parts;
  text = trimmed(text);
  if (!std::regex_match(text.begin(), text.end(), parts, kDate)) return "";
  // Six digits alone might be anything.
  if (parts.length(2) == 0 && !parts[4].matched) return "";
  return parts.str(1) + "-" + parts.str(3);
}

std::optional<std::int64_t> count_before(std::string_view text, std::string_view after) {
  for (std::size_t at = text.find(after); at != std::string_view::npos;
       at = text.find(after, at + 1)) {
    std::size_t begin = at;
    while (begin > 0 && std::isdigit(static_cast<unsigned char>(text[begin - 1])) != 0) --begin;
    if (begin < at) return read_count(text.substr(begin, at - begin));
  }
  return std::nullopt;
}

bool from_inferencex(const MeasurementRow& row) {
  const std::string& notes = row[Column::Notes];
  return notes.find("random-range-ratio 0.8") != std::string::npos ||
         notes.find("InferenceX export") != std::string::npos ||
         notes.find("InferenceX DB dump") != std::string::npos;
}

}  // namespace pentafold
