// Figures: the numbers of a document, each with a name that stays and the way it came about.
//
// A figure is a leaf with a source ("datasheet: ...", "specs/engines.yaml") or follows from
// others by an arithmetic formula over their names (+ - * / and min, max, ceil, floor); a sum that
// no formula could hold names the code that makes it. A text shows "18.2 ms [decode.tpot]".
// Figures are kept by name, so that a document never depends on the order they came in.
// Cost: O(log n) to look up; O(n) to explain. Held by report/figures_test.cc, and every formula of
// the plan report by planner/plan_report_test.cc, which evaluates them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pentafold {

enum class FigureUnit {
  Count,
  Bytes,
  Seconds,
  Share,  // of one, shown in percent
  Ratio,  // shown as "1.35"
  TokensPerSecond,
  RequestsPerSecond,
  BytesPerSecond,
  OperationsPerSecond,
  Operations,
  Watts,
  Dollars,
};
std::string format_figure(double value, FigureUnit unit);  // "18.2 ms", "4.80 TB/s", "37.5 %"

struct Figure {
  std::string id;  // lower case, digits, "_", levels parted by ".": "decode.tpot"
  double value = 0;
  FigureUnit unit = FigureUnit::Count;
  std::string what;     // "time per output token"
  std::string formula;  // over ids of other figures and numbers; empty for a leaf
  std::string source;   // of a leaf, or what the formula leaves unsaid
};

class Figures {
 public:
  // Keeps the figure and gives its text with its id. A name already kept must have the same value:
  // a number has one derivation.
  std::string show(const Figure& figure);
  // The same without the id, for tables that have it in a column of their own.
  std::string value(const Figure& figure);

  const Figure* find(std::string_view id) const;  // nullptr: none of that name
  const std::map<std::string, Figure, std::less<>>& all() const { return all_; }
  // Names in formulas that are no figure's; empty once a document is complete.
  std::vector<std::string> missing() const;

 private:
  std::map<std::string, Figure, std::less<>> all_;
};

// Names in a formula, in order, each once.
std::vector<std::string> inputs_of(std::string_view formula);

// The derivation of `id`, down to its sources, each figure once. A group ("memory") lists what is
// in it; an unknown name is answered with the nearest known one.
std::string explain_number(const Figures& figures, std::string_view id);

// | id | value | from |, one line a figure.
std::string figure_table(const Figures& figures);

}  // namespace pentafold
