// MachineSpec: look-ups in its tables, and its form in a cluster file.
#include "spec/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "base/quote.h"
#include "spec/yaml_reader.h"

namespace pentafold {
namespace {

constexpr std::size_t kMostPoints = 1024;
constexpr double kMostSeconds = 1e3;
constexpr double kMostSize = 1e15;
constexpr std::int64_t kMostCores = 65536;

// Where x lies: between points `low` and `low + 1`, `share` of the way on a log scale.
struct Place {
  std::size_t low = 0;
  double share = 0;
};

Place place_in(const std::vector<double>& x, double where) {
  CHECK(!x.empty(), "a table has points");
  if (where <= x.front()) return {0, 0};
  if (where >= x.back()) return {x.size() - 1, 0};
  const auto high =
      static_cast<std::size_t>(std::upper_bound(x.begin(), x.end(), where) - x.begin());
  return {high - 1, std::log(where / x[high - 1]) / std::log(x[high] / x[high - 1])};
}

double along(const std::vector<double>& y, Place place) {
  if (place.share == 0) return y[place.low];
  return y[place.low] * std::pow(y[place.low + 1] / y[place.low], place.share);
}

}  // namespace

double MeasuredCurve::at(double where) const {
  return along(y, place_in(x, where));
}

double ProductTable::at(double rows_at_once, double working_set) const {
  const Place row = place_in(rows, rows_at_once);
  const Place set = place_in(working_sets, working_set);
  const double near = along(seconds[set.low], row);
  if (set.share == 0) return near;
  return near * std::pow(along(seconds[set.low + 1], row) / near, set.share);
}

namespace {

// A list of numbers within the bounds; `ascending` as places in a table are.
Result<std::vector<double>> read_numbers(const YamlMap& map, std::string_view key, double low,
                                         double high, bool ascending) {
  if (!map.has(key)) {
    return map.error_at(key, fmt::format("key \"{}\" is missing; run pentafold calibrate", key));
  }
  PF_ASSIGN(const auto nodes, map.sequence(key));
  std::vector<double> out;
  for (const YAML::Node& node : nodes) {
    double value = 0;
    if (!node.IsScalar() || !YAML::convert<double>::decode(node, value) || !(value >= low) ||
        !(value <= high)) {
      return map.error_at(key, fmt::format("{} must be numbers from {:g} to {:g}", key, low, high));
    }
    if (ascending && !out.empty() && value <= out.back()) {
      return map.error_at(key, fmt::format("{} must grow from number to number", key));
    }
    out.push_back(value);
  }
  if (out.empty() || out.size() > kMostPoints) {
    return map.error_at(key, fmt::format("{} must hold 1 to {} numbers", key, kMostPoints));
  }
  return out;
}

constexpr double kLeast = 1e-18;  // tables are interpolated between logarithms

Result<YamlMap> read_part(const YamlMap& outer, std::string_view key) {
  if (outer.has(key)) return outer.map(key);
  return outer.error_at(key, fmt::format("key \"{}\" is missing; run pentafold calibrate", key));
}

Result<MeasuredCurve> read_curve(const YamlMap& outer, std::string_view key) {
  PF_ASSIGN(const YamlMap map, read_part(outer, key));
  constexpr std::array<std::string_view, 2> kKeys = {"at", "seconds"};
  PF_TRY(map.refuse_unknown(kKeys));
  MeasuredCurve out;
  PF_ASSIGN(out.x, read_numbers(map, "at", kLeast, kMostSize, true));
  PF_ASSIGN(out.y, read_numbers(map, "seconds", kLeast, kMostSeconds, false));
  if (out.x.size() != out.y.size()) {
    return map.error_at("seconds",
                        fmt::format("{} holds {} places and {} times; each place has one", key,
                                    out.x.size(), out.y.size()));
  }
  return out;
}

Result<LineCost> read_line(const YamlMap& outer, std::string_view key) {
  PF_ASSIGN(const auto numbers, read_numbers(outer, key, 0, kMostSeconds, false));
  if (numbers.size() != 2) {
    return outer.error_at(
        key, fmt::format("{} must be two numbers: seconds a call, seconds a unit", key));
  }
  return LineCost{numbers[0], numbers[1]};
}

Result<ProductTable> read_product(const YamlMap& outer, std::string_view key) {
  PF_ASSIGN(const YamlMap map, read_part(outer, key));
  constexpr std::array<std::string_view, 3> kKeys = {"rows", "working_sets", "seconds"};
  PF_TRY(map.refuse_unknown(kKeys));
  ProductTable out;
  PF_ASSIGN(out.rows, read_numbers(map, "rows", kLeast, kMostSize, true));
  PF_ASSIGN(out.working_sets, read_numbers(map, "working_sets", kLeast, kMostSize, true));
  PF_ASSIGN(const auto all, read_numbers(map, "seconds", kLeast, kMostSeconds, false));
  const std::size_t width = out.rows.size();
  if (all.size() != width * out.working_sets.size()) {
    return map.error_at("seconds", fmt::format("{} holds {} times for {} working sets of {} rows",
                                               key, all.size(), out.working_sets.size(), width));
  }
  for (std::size_t i = 0; i < all.size(); i += width) {
    const auto from = all.begin() + static_cast<std::ptrdiff_t>(i);
    out.seconds.emplace_back(from, from + static_cast<std::ptrdiff_t>(width));
  }
  return out;
}

std::string list(const std::vector<double>& numbers) {
  return fmt::format("[{:.4g}]", fmt::join(numbers, ", "));
}

std::string write_curve(std::string_view key, const MeasuredCurve& curve) {
  return fmt::format("  {}: {{at: {}, seconds: {}}}\n", key, list(curve.x), list(curve.y));
}

std::string write_line(std::string_view key, const LineCost& line) {
  return fmt::format("{}: [{:.4g}, {:.4g}]\n", key, line.call_s, line.unit_s);
}

std::string write_product(std::string_view key, const ProductTable& table) {
  std::string out = fmt::format("  {}:\n    rows: {}\n    working_sets: {}\n    seconds:\n", key,
                                list(table.rows), list(table.working_sets));
  // One list in lines of one working set each.
  for (std::size_t i = 0; i < table.seconds.size(); ++i) {
    const bool last = i + 1 == table.seconds.size();
    out += fmt::format("      {}{:.4g}{}\n", i == 0 ? "[" : " ", fmt::join(table.seconds[i], ", "),
                       last ? "]" : ",");
  }
  return out;
}

// What is a line, and what is a curve, by its key.
struct LineKey {
  std::string_view name;
  LineCost MachineSpec::* field;
};
constexpr std::array<LineKey, 4> kLines = {{{"attend_one", &MachineSpec::attend_one},
                                            {"attend_many", &MachineSpec::attend_many},
                                            {"message", &MachineSpec::message},
                                            {"step", &MachineSpec::step}}};
struct CurveKey {
  std::string_view name;
  MeasuredCurve MachineSpec::* field;
};
constexpr std::array<CurveKey, 6> kCurves = {{{"product_start", &MachineSpec::product_start},
                                              {"leaf", &MachineSpec::leaf},
                                              {"cache_byte", &MachineSpec::cache_byte},
                                              {"exchange_delay", &MachineSpec::exchange_delay},
                                              {"exchange_wake", &MachineSpec::exchange_wake},
                                              {"exchange_work", &MachineSpec::exchange_work}}};
constexpr std::size_t kMostHostSteps = 64;
constexpr std::size_t kLongestWord = 64;

Status read_host(const YamlMap& outer, MachineSpec& out) {
  PF_ASSIGN(const YamlMap map, read_part(outer, "host"));
  const auto names = map.keys();
  if (names.size() > kMostHostSteps) {
    return outer.error_at("host", fmt::format("host has more than {} steps", kMostHostSteps));
  }
  for (const std::string& name : names) {
    PF_ASSIGN(out.host[name], read_line(map, name));
  }
  return ok_status();
}

}  // namespace

Result<MachineSpec> read_machine(const YamlMap& map) {
  std::vector<std::string_view> known = {"device",         "cores",        "product_alone",
                                         "product_shared", "product_call", "host"};
  for (const LineKey& line : kLines) known.push_back(line.name);
  for (const CurveKey& curve : kCurves) known.push_back(curve.name);
  PF_TRY(map.refuse_unknown(known));
  MachineSpec out;
  PF_ASSIGN(out.device, map.text("device", std::nullopt));
  if (out.device.empty() || out.device.size() > kLongestWord) {
    return map.error_at("device",
                        fmt::format("device must be a name of 1 to {} characters", kLongestWord));
  }
  PF_ASSIGN(out.cores, map.integer("cores", std::nullopt, 1, kMostCores));
  PF_ASSIGN(out.product_alone, read_product(map, "product_alone"));
  PF_ASSIGN(out.product_shared, read_product(map, "product_shared"));
  PF_ASSIGN(out.product_call_s, map.number("product_call", std::nullopt, 0, kMostSeconds));
  for (const LineKey& line : kLines) {
    PF_ASSIGN(out.*line.field, read_line(map, line.name));
  }
  for (const CurveKey& curve : kCurves) {
    PF_ASSIGN(out.*curve.field, read_curve(map, curve.name));
  }
  PF_TRY(read_host(map, out));
  return out;
}

std::string write_machine(const MachineSpec& machine) {
  std::string out = fmt::format("  device: {}\n  cores: {}\n  product_call: {:.4g}\n",
                                machine.device, machine.cores, machine.product_call_s);
  out += write_product("product_alone", machine.product_alone);
  out += write_product("product_shared", machine.product_shared);
  for (const CurveKey& curve : kCurves) out += write_curve(curve.name, machine.*curve.field);
  for (const LineKey& line : kLines) out += "  " + write_line(line.name, machine.*line.field);
  out += "  host:\n";
  for (const auto& [name, line] : machine.host) out += "    " + write_line(name, line);
  return out;
}

}  // namespace pentafold
