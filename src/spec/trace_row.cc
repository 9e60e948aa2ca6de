// Names, numbers and times of trace files.
#include "spec/trace_row.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/quote.h"
#include "spec/quantity.h"
#include "spec/trace.h"

namespace pentafold {
namespace {

using F = TraceField;
constexpr double kNsPerS = 1e9;
// Some 127 years from 1970, either way: sums and differences of two still fit.
constexpr double kMostNs = 4e18;

// Sources: Azure's TIMESTAMP, ContextTokens, GeneratedTokens; Mooncake's timestamp, input_length,
// output_length, hash_ids; vLLM's RequestStateStats; LLMServingSim's and Vidur's trace files.
constexpr std::array<TraceColumn, 31> kColumns = {{
    {"timestamp", F::Arrival, TimeForm::Timestamp, 0},
    {"arrival", F::Arrival, TimeForm::WithUnit, 0},
    {"arrival_s", F::Arrival},
    {"arrival_time_s", F::Arrival},
    {"arrival_time", F::Arrival},
    {"arrived_at", F::Arrival},
    {"arrival_ms", F::Arrival, TimeForm::Scaled, 1e6},
    {"arrival_time_ms", F::Arrival, TimeForm::Scaled, 1e6},
    {"arrival_us", F::Arrival, TimeForm::Scaled, 1e3},
    {"arrival_time_us", F::Arrival, TimeForm::Scaled, 1e3},
    {"arrival_ns", F::Arrival, TimeForm::Scaled, 1},
    {"arrival_time_ns", F::Arrival, TimeForm::Scaled, 1},
    {"prompt_tokens", F::Prompt},
    {"prompt_toks", F::Prompt},
    {"input_tokens", F::Prompt},
    {"input_toks", F::Prompt},
    {"input_length", F::Prompt},
    {"contexttokens", F::Prompt},
    {"num_prefill_tokens", F::Prompt},
    {"isl", F::Prompt},
    {"output_tokens", F::Output},
    {"output_toks", F::Output},
    {"output_length", F::Output},
    {"generatedtokens", F::Output},
    {"num_decode_tokens", F::Output},
    {"osl", F::Output},
    {"priority", F::Priority},
    {"hash_ids", F::Hashes},
    {"queued_ts", F::Queued},
    {"first_token_ts", F::FirstToken},
    {"last_token_ts", F::LastToken},
}};
constexpr std::size_t kLongestName = 24;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// The whole of `text` as an integer.
std::optional<std::int64_t> whole(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Exact where the text is plain digits; a double of seconds since 1970 has only 0.2 us.
std::optional<std::int64_t> scaled_ns(std::string_view text, double unit_ns) {
  const std::size_t dot = text.find('.');
  const bool exponent = text.find_first_of("eE") != std::string_view::npos;
  if (dot == std::string_view::npos || exponent) {
    if (unit_ns == 1 && !exponent) {
      const auto value = whole(text);
      return value && std::fabs(static_cast<double>(*value)) < kMostNs ? value : std::nullopt;
    }
    const auto value = to_number(text);
    if (!value || !(std::fabs(*value * unit_ns) < kMostNs)) return std::nullopt;
    return std::llround(*value * unit_ns);
  }
  const auto units = dot == 0 ? 0 : whole(text.substr(0, dot));
  const auto fraction = to_number(std::string("0").append(text.substr(dot)));
  if (!units || !fraction || !(std::fabs(static_cast<double>(*units) * unit_ns) < kMostNs)) {
    return std::nullopt;
  }
  const std::int64_t rest = std::llround(*fraction * unit_ns);
  return *units * static_cast<std::int64_t>(unit_ns) + (text.front() == '-' ? -rest : rest);
}

// Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level
// date algorithms").
std::int64_t days_from_civil(std::int64_t year, std::int64_t month, std::int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = year / 400;
  const std::int64_t of_era = year - era * 400;
  const std::int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

class DateReader {
 public:
  explicit DateReader(std::string_view text) : text_(text) {}
  // Exactly `digits` digits, within [low, high].
  std::int64_t number(std::size_t digits, std::int64_t low, std::int64_t high) {
    const auto value = text_.size() < digits ? std::nullopt : whole(text_.substr(0, digits));
    if (!value || *value < low || *value > high || text_.front() == '-') {
      ok_ = false;
      return low;
    }
    text_.remove_prefix(digits);
    return *value;
  }
  void expect(std::string_view any_of) {
    if (text_.empty() || any_of.find(text_.front()) == std::string_view::npos) {
      ok_ = false;
    } else {
      text_.remove_prefix(1);
    }
  }
  std::int64_t fraction_ns() {
    if (!text_.starts_with('.')) return 0;
    text_.remove_prefix(1);
    std::int64_t ns = 0;
    std::int64_t unit = 100'000'000;
    const std::size_t before = text_.size();
    for (; !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; unit /= 10) {
      ns += unit * (text_.front() - '0');
      text_.remove_prefix(1);
    }
    ok_ = ok_ && text_.size() < before;
    return ns;
  }
  std::string_view rest() const { return text_; }
  bool ok() const { return ok_; }

 private:
  std::string_view text_;
  bool ok_ = true;
};

// "2023-11-16 18:15:46.6805900", with T for the space, with Z or +hh:mm behind it.
std::optional<std::int64_t> timestamp_ns(std::string_view text) {
  DateReader in(text);
  const std::int64_t year = in.number(4, 1971, 2095);
  in.expect("-");
  const std::int64_t month = in.number(2, 1, 12);
  in.expect("-");
  const std::int64_t day = in.number(2, 1, 31);
  in.expect(" T");
  std::int64_t seconds = 3600 * in.number(2, 0, 23);
  in.expect(":");
  seconds += 60 * in.number(2, 0, 59);
  in.expect(":");
  seconds += in.number(2, 0, 60);
  const std::int64_t ns = in.fraction_ns();
  if (in.rest() == "Z") {
    in.expect("Z");
  } else if (!in.rest().empty()) {
    const std::int64_t sign = in.rest().front() == '-' ? 1 : -1;
    in.expect("+-");
    seconds += sign * 3600 * in.number(2, 0, 23);
    in.expect(":");
    seconds += sign * 60 * in.number(2, 0, 59);
  }
  if (!in.ok() || !in.rest().empty()) return std::nullopt;
  return (days_from_civil(year, month, day) * 86400 + seconds) * 1'000'000'000 + ns;
}

std::optional<std::string> read_time(const TraceColumn& column, const TraceCell& cell,
                                     std::int64_t& ns) {
  if (column.form == TimeForm::WithUnit) {
    const auto seconds = parse_seconds(std::string(cell.text), "it");
    if (!seconds.ok()) return "is no time: " + seconds.error().message;
    if (*seconds > kNsPerS) return "must be below 1e9 s";
    ns = std::llround(*seconds * kNsPerS);
    return std::nullopt;
  }
  std::optional<std::int64_t> value;
  std::string_view wanted = "must be a number";
  if (column.form == TimeForm::Scaled) {
    if (!cell.quoted) value = scaled_ns(cell.text, column.unit_ns);
  } else if (cell.json && !cell.quoted) {
    value = scaled_ns(cell.text, 1e6);
  } else {
    value = timestamp_ns(cell.text);
    wanted =
        "must be a date and time such as 2023-11-16 18:15:46.68 (a number goes into a column "
        "arrival_s, arrival_ms or arrival_ns)";
  }
  if (!value) return fmt::format("{}, not {}", wanted, quote_text(cell.text));
  ns = *value;
  return std::nullopt;
}

std::optional<std::string> read_count(const TraceCell& cell, std::int64_t low, std::int64_t high,
                                      std::int64_t& to) {
  const auto value = cell.quoted ? std::nullopt : whole(cell.text);
  if (!value || *value < low || *value > high) {
    return fmt::format("must be a whole number {} to {}, not {}", low, high, quote_text(cell.text));
  }
  to = *value;
  return std::nullopt;
}

}  // namespace

const TraceColumn* find_trace_column(std::string_view name) {
  if (name.size() > kLongestName) return nullptr;
  char small[kLongestName];
  std::ranges::transform(name, small, lower);
  const std::string_view wanted(small, name.size());
  const auto found = std::ranges::find(kColumns, wanted, &TraceColumn::name);
  return found == kColumns.end() ? nullptr : &*found;
}

std::string known_names(TraceField field) {
  std::string out;
  for (const TraceColumn& column : kColumns) {
    if (column.field != field) continue;
    if (!out.empty()) out += ", ";
    out += column.name;
  }
  return out;
}

std::optional<std::string> read_cell(const TraceColumn& column, const TraceCell& cell,
                                     TraceRow& row) {
  constexpr std::int64_t kInt32 = std::numeric_limits<std::int32_t>::max();
  row.mark(column.field);
  switch (column.field) {
    case F::Arrival:
      return read_time(column, cell, row.arrival_ns);
    case F::Prompt:
      return read_count(cell, 1, kMaxTraceTokens, row.prompt_tokens);
    case F::Output:
      return read_count(cell, 1, kMaxTraceTokens, row.output_tokens);
    case F::Priority:
      return read_count(cell, -kInt32, kInt32, row.priority);
    case F::Queued:
      return read_time(column, cell, row.queued_ns);
    case F::FirstToken:
      return read_time(column, cell, row.first_token_ns);
    case F::LastToken:
      return read_time(column, cell, row.last_token_ns);
    case F::Hashes:
    case F::kCount:
      break;
  }
  return "must be a list of block hashes, which only JSON lines can hold";
}

}  // namespace pentafold
