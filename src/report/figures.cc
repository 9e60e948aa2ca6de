#include "report/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <set>

#include "base/check.h"
#include "base/nearest.h"
#include "base/quote.h"
#include "base/units.h"
#include "report/markdown.h"

namespace pentafold {
namespace {

bool name_char(char c) {
  return (std::isalnum(static_cast<unsigned char>(c)) != 0) || c == '_' || c == '.';
}

std::string format_plain(double value) {
  const bool whole = std::abs(value) < 1e6 && value == std::floor(value);
  return whole ? fmt::format("{:.0f}", value)
               : (std::abs(value) < 1e3 ? fmt::format("{:.4g}", value) : format_count(value));
}

// Figures whose name begins with `group` and a dot; where none does, those that have it inside.
std::vector<const Figure*> group_of(const Figures& figures, std::string_view group) {
  std::vector<const Figure*> found;
  if (group.empty()) return found;
  const std::string start = std::string(group) + ".";
  for (const auto& [name, figure] : figures.all()) {
    if (name.starts_with(start)) found.push_back(&figure);
  }
  if (!found.empty()) return found;
  for (const auto& [name, figure] : figures.all()) {
    if (("." + name + ".").find("." + start) != std::string::npos) found.push_back(&figure);
  }
  return found;
}

std::string from(const Figure& figure) {
  if (figure.formula.empty()) return figure.source;
  return "= " + figure.formula + (figure.source.empty() ? "" : "; " + figure.source);
}

void derive(const Figures& figures, const Figure& figure, std::size_t depth,
            std::set<std::string>& seen, std::string& out) {
  const std::string indent(2 * depth, ' ');
  out += fmt::format("{}{} = {}: {}\n", indent, figure.id, format_figure(figure.value, figure.unit),
                     figure.what);
  if (!seen.insert(figure.id).second) return;
  out += fmt::format("{}  {}\n", indent, from(figure));
  for (const std::string& name : inputs_of(figure.formula)) {
    const Figure* input = figures.find(name);
    if (input == nullptr || seen.contains(name)) continue;
    derive(figures, *input, depth + 1, seen, out);
  }
}

std::string unknown(const Figures& figures, std::string_view id) {
  std::vector<std::string_view> known;
  known.reserve(figures.all().size());
  for (const auto& [name, figure] : figures.all()) known.push_back(name);
  const std::string meant = nearest(id, known);
  if (!meant.empty()) {
    return fmt::format("no figure is called {}; did you mean \"{}\"?\n", quote_text(id), meant);
  }
  std::set<std::string> groups;
  for (const auto& [name, figure] : figures.all()) {
    groups.insert(name.substr(0, name.find('.')));
  }
  return fmt::format("no figure is called {}; they are grouped under {}\n", quote_text(id),
                     fmt::join(groups, ", "));
}

}  // namespace

std::string format_figure(double value, FigureUnit unit) {
  switch (unit) {
    case FigureUnit::Count:
      return format_plain(value);
    case FigureUnit::Bytes:
      return format_bytes(value);
    case FigureUnit::Seconds:
      return format_seconds(value);
    case FigureUnit::Share:
      // Not "-0.0 %".
      return fmt::format("{:.1f} %", std::abs(value) < 0.0005 ? 0.0 : value * 100);
    case FigureUnit::Ratio:
      return fmt::format("{:.3g}", value);
    case FigureUnit::TokensPerSecond:
      return format_plain(std::abs(value) >= 100 ? std::round(value) : value) + " tokens/s";
    case FigureUnit::RequestsPerSecond:
      return format_plain(value) + " requests/s";
    case FigureUnit::BytesPerSecond:
      return format_bytes(value) + "/s";
    case FigureUnit::OperationsPerSecond:
      return fmt::format("{:.4g} TFLOPS", value / 1e12);
    case FigureUnit::Operations:
      return fmt::format("{:.4g} GFLOP", value / 1e9);
    case FigureUnit::Watts:
      return fmt::format("{:.4g} W", value);
    case FigureUnit::Dollars:
      return fmt::format("{:.4g} $", value);
  }
  return "?";
}

std::string Figures::value(const Figure& figure) {
  CHECK(!figure.id.empty() && std::ranges::all_of(figure.id, name_char));
  CHECK(!figure.formula.empty() || !figure.source.empty());
  const auto [it, fresh] = all_.try_emplace(figure.id, figure);
  if (!fresh && it->second.value != figure.value) {
    check_failed(__FILE__, __LINE__, "a figure has one value", figure.id);
  }
  return format_figure(figure.value, figure.unit);
}

std::vector<std::string> Figures::missing() const {
  std::vector<std::string> names;
  for (const auto& [id, figure] : all_) {
    for (std::string& name : inputs_of(figure.formula)) {
      if (find(name) == nullptr) names.push_back(std::move(name));
    }
  }
  return names;
}

std::string Figures::show(const Figure& figure) {
  return fmt::format("{} [{}]", value(figure), figure.id);
}

const Figure* Figures::find(std::string_view id) const {
  const auto it = all_.find(id);
  return it == all_.end() ? nullptr : &it->second;
}

std::vector<std::string> inputs_of(std::string_view formula) {
  static constexpr std::array<std::string_view, 4> kFunctions = {"min", "max", "ceil", "floor"};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < formula.size();) {
    if (!name_char(formula[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < formula.size() && name_char(formula[end])) ++end;
    const std::string_view word = formula.substr(i, end - i);
    i = end;
    const bool number = std::isdigit(static_cast<unsigned char>(word.front())) != 0;
    if (number || std::ranges::find(kFunctions, word) != kFunctions.end()) continue;
    if (std::ranges::find(names, word) == names.end()) names.emplace_back(word);
  }
  return names;
}

std::string explain_number(const Figures& figures, std::string_view id) {
  std::string out;
  if (const Figure* figure = figures.find(id)) {
    std::set<std::string> seen;
    derive(figures, *figure, 0, seen, out);
    return out;
  }
  const auto group = group_of(figures, id);
  if (group.empty()) return unknown(figures, id);
  for (const Figure* figure : group) {
    out += fmt::format("{} = {}: {}\n  {}\n", figure->id,
                       format_figure(figure->value, figure->unit), figure->what, from(*figure));
  }
  return out;
}

std::string figure_table(const Figures& figures) {
  MarkdownTable table({"figure", "value", "is", "from"});
  for (const auto& [name, figure] : figures.all()) {
    table.add({name, format_figure(figure.value, figure.unit), figure.what, from(figure)});
  }
  return table.text();
}

}  // namespace pentafold
