// Trace files that are tables: a header of names, then rows (RFC 4180, but a cell stays on its
// line).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/nearest.h"
#include "base/quote.h"
#include "spec/trace_row.h"

namespace pentafold {
namespace {

constexpr std::size_t kMaxColumns = 256;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Cells of a line, without the quotes around them. False: a quote is not closed, or there are too
// many cells.
bool split_cells(std::string_view line, std::vector<std::string_view>& cells) {
  cells.clear();
  while (cells.size() < kMaxColumns) {
    std::size_t end = line.find(',');
    const std::string_view rest = trimmed(line);
    if (rest.starts_with('"')) {
      const std::size_t close = rest.find('"', 1);
      if (close == std::string_view::npos) return false;
      const auto after =
          static_cast<std::size_t>(rest.data() - line.data()) + close + 1;  // the closing quote
      end = line.find(',', after);
      if (!trimmed(line.substr(after, end - after)).empty()) return false;
      cells.push_back(trimmed(rest.substr(1, close - 1)));
    } else {
      cells.push_back(trimmed(line.substr(0, end)));
    }
    if (end == std::string_view::npos) return true;
    line.remove_prefix(end + 1);
  }
  return false;
}

std::string missing_column(TraceField field, const std::vector<std::string>& names) {
  const std::string known = known_names(field);
  std::string out = fmt::format("has no column for the {}; known names are {}",
                                field == TraceField::Arrival  ? "arrival of a request"
                                : field == TraceField::Prompt ? "tokens of its prompt"
                                                              : "tokens of its answer",
                                known);
  for (const std::string& name : names) {
    if (find_trace_column(name) != nullptr) continue;
    for (std::size_t at = 0; at < known.size();) {
      const std::size_t end = std::min(known.find(", ", at), known.size());
      const std::string_view one = std::string_view(known).substr(at, end - at);
      if (!nearest(name, std::span(&one, 1)).empty()) {
        return fmt::format("{}; is {} meant to be {}?", out, quote_text(name), one);
      }
      at = end + 2;
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> CsvColumns::read_header(std::string_view line) {
  if (line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (!split_cells(line, cells_)) {
    return fmt::format(
        "is no header of a table: a quote is not closed, or there are more than {} "
        "columns",
        kMaxColumns);
  }
  TraceRow seen;
  for (const std::string_view name : cells_) {
    const TraceColumn* column = find_trace_column(name);
    columns_.push_back(column);
    names_.emplace_back(name);
    if (column == nullptr) continue;
    if (seen.has(column->field)) {
      return fmt::format("has two columns of one meaning: {} is another name of {}",
                         quote_text(name), known_names(column->field));
    }
    seen.mark(column->field);
  }
  if (seen.present == 0) {
    return "is no trace: the first line is neither a JSON object nor a header with columns such "
           "as arrival_s, prompt_tokens, output_tokens";
  }
  for (const TraceField field : {TraceField::Arrival, TraceField::Prompt, TraceField::Output}) {
    if (!seen.has(field)) return missing_column(field, names_);
  }
  return std::nullopt;
}

std::optional<std::string> CsvColumns::read_row(std::string_view line, TraceRow& row) {
  if (!split_cells(line, cells_) || cells_.size() != columns_.size()) {
    return fmt::format("must have {} cells, as the header has, not {}", columns_.size(),
                       cells_.size());
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == nullptr) continue;
    // An answer's times are empty where there was none; other cells are needed.
    const bool measured = columns_[i]->field >= TraceField::Queued;
    if (cells_[i].empty() && measured) continue;
    if (auto problem = read_cell(*columns_[i], {cells_[i]}, row)) {
      return fmt::format("{} {}", names_[i], *problem);
    }
  }
  return std::nullopt;
}

bool CsvColumns::has_timestamp() const {
  return std::ranges::any_of(columns_, [](const TraceColumn* column) {
    return column != nullptr && column->form == TimeForm::Timestamp;
  });
}

}  // namespace pentafold
