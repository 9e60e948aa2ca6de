#include "verify/audit_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "base/nearest.h"
#include "base/quote.h"

namespace pentafold {
namespace {

constexpr std::size_t kLongestValue = 120;
// An approximate value promises no more than this.
constexpr double kApproximate = 0.05;
constexpr double kCoarsest = 0.25;

struct Unit {
  std::string_view name;
  double scale;
  UnitDimension dimension;
};

constexpr UnitDimension kCount{};
constexpr UnitDimension kByte{.byte = 1};
constexpr UnitDimension kSecond{.second = 1};
constexpr UnitDimension kOperation{.operation = 1};
constexpr UnitDimension kToken{.token = 1};
constexpr UnitDimension kBytesPerSecond{.byte = 1, .second = -1};
constexpr UnitDimension kOperationsPerSecond{.second = -1, .operation = 1};

constexpr std::array kUnits = {
    Unit{"", 1, kCount},
    Unit{"%", 0.01, kCount},
    Unit{"x", 1, kCount},
    Unit{"K", 1e3, kCount},
    Unit{"k", 1e3, kCount},
    Unit{"M", 1e6, kCount},
    Unit{"B", 1e9, kCount},
    Unit{"T", 1e12, kCount},
    Unit{"byte", 1, kByte},
    Unit{"bytes", 1, kByte},
    Unit{"kB", 1e3, kByte},
    Unit{"KB", 1e3, kByte},
    Unit{"MB", 1e6, kByte},
    Unit{"GB", 1e9, kByte},
    Unit{"TB", 1e12, kByte},
    Unit{"KiB", 1024.0, kByte},
    Unit{"MiB", 1048576.0, kByte},
    Unit{"GiB", 1073741824.0, kByte},
    Unit{"TiB", 1099511627776.0, kByte},
    Unit{"s", 1, kSecond},
    Unit{"second", 1, kSecond},
    Unit{"seconds", 1, kSecond},
    Unit{"ms", 1e-3, kSecond},
    Unit{"us", 1e-6, kSecond},
    Unit{"min", 60, kSecond},
    Unit{"h", 3600, kSecond},
    Unit{"FLOP", 1, kOperation},
    Unit{"MFLOP", 1e6, kOperation},
    Unit{"GFLOP", 1e9, kOperation},
    Unit{"TFLOP", 1e12, kOperation},
    Unit{"FLOPS", 1, kOperationsPerSecond},
    Unit{"GFLOPS", 1e9, kOperationsPerSecond},
    Unit{"TFLOPS", 1e12, kOperationsPerSecond},
    Unit{"TFlops", 1e12, kOperationsPerSecond},
    Unit{"PFLOPS", 1e15, kOperationsPerSecond},
    Unit{"PFlops", 1e15, kOperationsPerSecond},
    Unit{"GBps", 1e9, kBytesPerSecond},
    Unit{"TBps", 1e12, kBytesPerSecond},
    Unit{"Gbps", 1e9 / 8, kBytesPerSecond},
    Unit{"Tbps", 1e12 / 8, kBytesPerSecond},
    Unit{"token", 1, kToken},
    Unit{"tokens", 1, kToken},
    Unit{"TPS", 1, UnitDimension{.second = -1, .token = 1}},
};

// Words that count things.
constexpr std::array<std::string_view, 34> kThings = {
    "GPU",      "GPUs",     "device",    "devices", "node",      "nodes",     "expert",
    "experts",  "layer",    "layers",    "head",    "heads",     "stage",     "stages",
    "group",    "groups",   "module",    "modules", "part",      "parts",     "replica",
    "replicas", "sequence", "sequences", "param",   "params",    "parameter", "parameters",
    "step",     "steps",    "batch",     "batches", "operation", "operations"};

bool is_thing(std::string_view word) {
  return std::ranges::find(kThings, word) != kThings.end();
}

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  void skip_spaces() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }
  bool eat(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  // Digits with "," between thousands; half_digit of what was written.
  std::optional<double> number(double& half_digit) {
    skip_spaces();
    std::string digits;
    std::size_t used = 0;
    int after_point = -1;
    for (; used < rest_.size(); ++used) {
      const char c = rest_[used];
      const bool digit_next =
          used + 1 < rest_.size() && rest_[used + 1] >= '0' && rest_[used + 1] <= '9';
      if (c == ',' && !digits.empty() && digit_next) continue;
      if (c == '.' && (after_point >= 0 || !digit_next)) break;
      if (c != '.' && c != '-' && (c < '0' || c > '9')) break;
      if (c == '-' && !digits.empty()) break;
      digits += c;
      if (c == '.') {
        after_point = 0;
      } else if (after_point >= 0) {
        ++after_point;
      }
    }
    double value = 0;
    const char* const last = digits.data() + digits.size();
    const auto [end, status] = std::from_chars(digits.data(), last, value);
    if (status != std::errc{} || end != last || !std::isfinite(value)) return std::nullopt;
    rest_.remove_prefix(used);
    half_digit = 0.5 * std::pow(10.0, -std::max(after_point, 0));
    return value;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

// "tokens/ms per GPU" -> {tokens, ms, GPU}: the first multiplies, the others divide.
std::vector<std::string> unit_words(std::string_view text) {
  std::vector<std::string> words(1);
  std::string plain(text);
  for (std::size_t at = plain.find(" per "); at != std::string::npos; at = plain.find(" per ")) {
    plain.replace(at, 5, "/");
  }
  for (const char c : plain) {
    if (c == '/') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  for (std::string& word : words) {
    while (word.ends_with(' ')) word.pop_back();
    while (word.starts_with(' ')) word.erase(0, 1);
  }
  return words;
}

Status multiply_unit(StatedValue& out, const std::string& word, bool divides) {
  const int sign = divides ? -1 : 1;
  // "B params": a scale, then the thing counted.
  const std::size_t space = word.find(' ');
  if (space != std::string::npos && is_thing(word.substr(space + 1))) {
    return multiply_unit(out, word.substr(0, space), divides);
  }
  if (is_thing(word)) {
    if (divides && (word == "GPU" || word == "device")) out.dimension.gpu -= 1;
    return ok_status();
  }
  for (const Unit& unit : kUnits) {
    if (unit.name != word || (divides && word.empty())) continue;
    out.scale *= divides ? 1 / unit.scale : unit.scale;
    out.factor = out.factor || word == "x";
    out.percent = out.percent || word == "%";
    out.dimension.byte += sign * unit.dimension.byte;
    out.dimension.second += sign * unit.dimension.second;
    out.dimension.operation += sign * unit.dimension.operation;
    out.dimension.token += sign * unit.dimension.token;
    return ok_status();
  }
  std::vector<std::string_view> known(kThings.begin(), kThings.end());
  for (const Unit& unit : kUnits) known.push_back(unit.name);
  const std::string meant = nearest(word, known);
  return refused(fmt::format("unknown unit {}{}", quote_text(word),
                             meant.empty() ? "; write one such as GB, ms, TFLOPS, tokens/s/GPU, %"
                                           : fmt::format("; did you mean \"{}\"?", meant)));
}

void read_comparison(Scanner& scan, StatedValue& out) {
  constexpr std::array<std::pair<std::string_view, Comparison>, 6> kSigns = {
      {{"<=", Comparison::LessEqual},
       {">=", Comparison::GreaterEqual},
       {"≤", Comparison::LessEqual},
       {"≥", Comparison::GreaterEqual},
       {"<", Comparison::Less},
       {">", Comparison::Greater}}};
  for (const auto& [sign, comparison] : kSigns) {
    if (!scan.eat(sign)) continue;
    out.comparison = comparison;
    break;
  }
  if (scan.eat("~") || scan.eat("≈")) out.approximate = true;
}

}  // namespace

Result<StatedValue> parse_stated(std::string_view text) {
  StatedValue out;
  out.text = std::string(text.substr(0, kLongestValue));
  if (text.size() > kLongestValue) {
    return refused(
        fmt::format("the value {} is longer than {} characters; a value is a number "
                    "and a unit",
                    quote_text(text), kLongestValue));
  }
  Scanner scan(text);
  read_comparison(scan, out);
  const auto low = scan.number(out.half_digit);
  if (!low) {
    return refused(
        fmt::format("{} does not start with a number; write one with its unit, such as "
                    "\"64 GB\" or \"120 tokens/ms/GPU\"",
                    quote_text(text)));
  }
  auto high = low;
  if (scan.eat("..") || scan.eat("-") || scan.eat("–")) {
    high = scan.number(out.half_digit);
    if (!high || *high < *low) {
      return refused(fmt::format("{} is not a range from low to high", quote_text(text)));
    }
  }
  if (scan.eat("+")) out.comparison = Comparison::GreaterEqual;
  scan.skip_spaces();
  if (scan.eat("×")) {
    out.factor = true;
  } else {
    out.unit = std::string(scan.rest());
  }
  while (out.unit.ends_with(' ')) out.unit.pop_back();
  const std::vector<std::string> words = unit_words(out.unit);
  for (std::size_t i = 0; i < words.size(); ++i) PF_TRY(multiply_unit(out, words[i], i > 0));
  if (out.factor) out.unit = "x";
  out.low = *low * out.scale;
  out.high = *high * out.scale;
  out.half_digit *= out.scale;
  return out;
}

std::string in_unit_of(double value, const StatedValue& like) {
  const double shown = value / like.scale;
  const bool whole = std::abs(shown - std::round(shown)) < 1e-9 * std::abs(shown);
  const double magnitude = std::abs(shown);
  std::string number = whole && magnitude < 1e9              ? fmt::format("{:.0f}", shown)
                       : magnitude >= 100 && magnitude < 1e9 ? fmt::format("{:.1f}", shown)
                                                             : fmt::format("{:.4g}", shown);
  if (like.unit.empty()) return number;
  return like.unit == "%" || like.unit == "x" ? number + like.unit : number + " " + like.unit;
}

bool agrees(const StatedValue& stated, double low, double high, double tolerance) {
  const double slack = std::max(tolerance, stated.approximate ? kApproximate : 0.0);
  const auto room = [&](double right) {
    // A single digit promises little, but not nothing: "1" is not 0.5.
    const double rounding = tolerance > 0 || stated.approximate
                                ? std::min(stated.half_digit, kCoarsest * std::abs(right))
                                : 0.0;
    return std::max(rounding, slack * std::abs(right)) * (1 + 1e-9) + 1e-12 * std::abs(right);
  };
  switch (stated.comparison) {
    case Comparison::Less:
    case Comparison::LessEqual:
      return low <= stated.high + slack * std::abs(stated.high);
    case Comparison::Greater:
    case Comparison::GreaterEqual:
      return high >= stated.low - slack * std::abs(stated.low);
    case Comparison::Equal:
      break;
  }
  const bool rounded_up = stated.factor && !stated.approximate && stated.low > high;
  const double above = rounded_up ? slack * std::abs(high) : room(high);
  return stated.high >= low - room(low) && stated.low <= high + above;
}

bool satisfies(double value, const StatedValue& limit) {
  constexpr double kEqual = 1e-9;
  const double slack = kEqual * std::abs(limit.low);
  switch (limit.comparison) {
    case Comparison::Less:
      return value < limit.low - slack;
    case Comparison::LessEqual:
      return value <= limit.low + slack;
    case Comparison::Greater:
      return value > limit.low + slack;
    case Comparison::GreaterEqual:
      return value >= limit.low - slack;
    case Comparison::Equal:
      return std::abs(value - limit.low) <= slack;
  }
  return false;
}

}  // namespace pentafold
