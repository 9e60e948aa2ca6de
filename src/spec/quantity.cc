#include "spec/quantity.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include "base/nearest.h"
#include "base/quote.h"

namespace pentafold {
namespace {

// Beyond it nothing is meant, and products of a few quantities still fit a double.
constexpr double kLargest = 1e30;

struct Unit {
  std::string_view name;
  double scale;
};

struct Kind {
  std::string_view noun;     // "a time"
  std::string_view example;  // "20ms"
  std::string_view units;    // for people: the usual ones
  std::span<const Unit> known;
};

constexpr std::array<Unit, 6> kTimes = {{{"s", 1.0},
                                         {"ms", 1e-3},
                                         {"us", 1e-6},
                                         {"\xC2\xB5s", 1e-6},  // the micro sign
                                         {"ns", 1e-9},
                                         {"min", 60.0}}};
constexpr std::array<Unit, 10> kSizes = {{{"B", 1.0},
                                          {"kB", 1e3},
                                          {"KB", 1e3},
                                          {"MB", 1e6},
                                          {"GB", 1e9},
                                          {"TB", 1e12},
                                          {"KiB", 0x1p10},
                                          {"MiB", 0x1p20},
                                          {"GiB", 0x1p30},
                                          {"TiB", 0x1p40}}};
constexpr std::array<Unit, 16> kBandwidths = {{{"B/s", 1.0},
                                               {"kB/s", 1e3},
                                               {"MB/s", 1e6},
                                               {"GB/s", 1e9},
                                               {"TB/s", 1e12},
                                               {"MBps", 1e6},
                                               {"GBps", 1e9},
                                               {"TBps", 1e12},
                                               {"GiB/s", 0x1p30},
                                               {"TiB/s", 0x1p40},
                                               {"Mb/s", 1e6 / 8},
                                               {"Gb/s", 1e9 / 8},
                                               {"Tb/s", 1e12 / 8},
                                               {"Mbps", 1e6 / 8},
                                               {"Gbps", 1e9 / 8},
                                               {"Tbps", 1e12 / 8}}};
constexpr std::array<Unit, 11> kSpeeds = {{{"GFLOPS", 1e9},
                                           {"TFLOPS", 1e12},
                                           {"PFLOPS", 1e15},
                                           {"GFlops", 1e9},
                                           {"TFlops", 1e12},
                                           {"PFlops", 1e15},
                                           {"GFLOP/s", 1e9},
                                           {"TFLOP/s", 1e12},
                                           {"PFLOP/s", 1e15},
                                           {"TOPS", 1e12},
                                           {"POPS", 1e15}}};
constexpr std::array<Unit, 2> kPowers = {{{"W", 1.0}, {"kW", 1e3}}};
constexpr std::array<Unit, 3> kRates = {{{"/s", 1.0}, {"/min", 1.0 / 60}, {"/h", 1.0 / 3600}}};

std::string_view without_spaces(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(' '), text.size());
  const std::size_t end = text.find_last_not_of(' ');
  return end == std::string_view::npos ? std::string_view() : text.substr(begin, end + 1 - begin);
}

struct Parts {
  double value = 0;
  std::string_view unit;
};

// A finite number in front of something else; "nan" and "inf" are words, not numbers, here.
std::optional<Parts> split_number(std::string_view text) {
  text = without_spaces(text);
  const std::size_t sign = text.starts_with('-') ? 1 : 0;
  if (text.size() == sign || (text[sign] != '.' && (text[sign] < '0' || text[sign] > '9'))) {
    return std::nullopt;
  }
  Parts out;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), out.value);
  if (status != std::errc{} || !std::isfinite(out.value)) return std::nullopt;
  out.unit = without_spaces(text.substr(static_cast<std::size_t>(end - text.data())));
  return out;
}

std::string unit_problem(std::string_view unit, const Kind& kind) {
  if (unit.empty()) return "has no unit";
  std::vector<std::string_view> names;
  for (const Unit& known : kind.known) names.push_back(known.name);
  const std::string meant = nearest(unit, names);
  const std::string problem = fmt::format("has the unknown unit {}", quote_text(unit));
  return meant.empty() ? problem : fmt::format("{} (did you mean \"{}\"?)", problem, meant);
}

Result<double> parse_as(const std::string& text, const std::string& what, const Kind& kind) {
  const auto refused = [](std::string message) {
    return make_error(ErrorCode::InvalidSpec, std::move(message));
  };
  const auto parts = split_number(text);
  if (!parts) {
    return refused(fmt::format("{} must be {} such as {}, not {}", what, kind.noun, kind.example,
                               quote_text(text)));
  }
  const auto unit = std::ranges::find(kind.known, parts->unit, &Unit::name);
  if (unit == kind.known.end()) {
    return refused(fmt::format("{} = {} {}; write {} such as {} (units: {})", what,
                               quote_text(text), unit_problem(parts->unit, kind), kind.noun,
                               kind.example, kind.units));
  }
  if (std::signbit(parts->value)) {
    return refused(fmt::format("{} = {} is negative; write {} such as {}", what, quote_text(text),
                               kind.noun, kind.example));
  }
  const double value = parts->value * unit->scale;
  if (value > kLargest) {
    return refused(fmt::format("{} = {} is beyond anything meant; write {} such as {}", what,
                               quote_text(text), kind.noun, kind.example));
  }
  return value;
}

}  // namespace

std::optional<double> to_number(std::string_view text) {
  const auto parts = split_number(text);
  return parts && parts->unit.empty() ? std::optional(parts->value) : std::nullopt;
}

std::optional<double> to_bytes(std::string_view text) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  const auto unit = std::ranges::find(kSizes, parts->unit, &Unit::name);
  return unit == kSizes.end() ? std::nullopt : std::optional(parts->value * unit->scale);
}

Result<double> parse_seconds(const std::string& text, const std::string& what) {
  return parse_as(text, what, {"a time", "20ms", "ns, us, ms, s, min", kTimes});
}

Result<double> parse_bytes(const std::string& text, const std::string& what) {
  return parse_as(text, what, {"a size", "64GB", "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB", kSizes});
}

Result<double> parse_bytes_per_s(const std::string& text, const std::string& what) {
  return parse_as(text, what,
                  {"a bandwidth", "450GB/s", "MB/s, GB/s, TB/s in bytes, Mb/s, Gb/s, Tb/s in bits",
                   kBandwidths});
}

Result<double> parse_flops(const std::string& text, const std::string& what) {
  return parse_as(text, what,
                  {"a peak", "989TFLOPS", "GFLOPS, TFLOPS, PFLOPS, TOPS, POPS", kSpeeds});
}

Result<double> parse_watts(const std::string& text, const std::string& what) {
  return parse_as(text, what, {"a power", "700W", "W, kW", kPowers});
}

Result<double> parse_rate(const std::string& text, const std::string& what) {
  return parse_as(text, what, {"a rate", "12/s", "/s, /min, /h", kRates});
}

}  // namespace pentafold
