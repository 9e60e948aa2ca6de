// TraceRow: one row of a trace file, by field; part of the readers behind spec/trace.h.
//
// CSV and JSON lines name the same things alike, so one table of names serves both. Times are whole
// nanoseconds, for a wall clock's seconds and a simulation's microseconds do not fit one double.
// Cost: plain values. Held by spec/trace_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

enum class TraceField {
  Arrival,
  Prompt,
  Output,
  Priority,
  Hashes,      // of prompt blocks; JSON only
  Queued,      // measured: the engine saw the request
  FirstToken,  // measured
  LastToken,   // measured
  kCount
};

// How a column says a time.
enum class TimeForm {
  Timestamp,  // date and time of day as text; milliseconds as a JSON number (Mooncake)
  WithUnit,   // "20ms"
  Scaled,     // a number, in TraceColumn::unit_ns
};

// What a name means.
struct TraceColumn {
  std::string_view name;  // lower case; files may write it in any
  TraceField field;
  TimeForm form = TimeForm::Scaled;
  double unit_ns = 1e9;
};
// nullptr: no name of ours; such columns are passed over.
const TraceColumn* find_trace_column(std::string_view name);
// For errors: known names of what the file lacks.
std::string known_names(TraceField field);

struct TraceRow {
  std::int64_t arrival_ns = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t priority = 0;
  std::int64_t queued_ns = 0;
  std::int64_t first_token_ns = 0;
  std::int64_t last_token_ns = 0;
  unsigned present = 0;  // bits by TraceField

  bool has(TraceField field) const { return (present >> static_cast<unsigned>(field) & 1U) != 0; }
  void mark(TraceField field) { present |= 1U << static_cast<unsigned>(field); }
};

// A value as the file has it.
struct TraceCell {
  std::string_view text;
  bool quoted = false;  // a JSON string
  bool json = false;
};
// Puts a cell into the row. Otherwise the problem: "must be a whole number 1 to 1073741824".
std::optional<std::string> read_cell(const TraceColumn& column, const TraceCell& cell,
                                     TraceRow& row);

// One JSON object on a line; hashes are appended to `hashes`. Otherwise the problem.
std::optional<std::string> read_json_row(std::string_view line, TraceRow& row,
                                         std::vector<std::uint64_t>& hashes);

// The header of a CSV file, then its rows.
class CsvColumns {
 public:
  // The problem with the header, if there is one.
  std::optional<std::string> read_header(std::string_view line);
  std::optional<std::string> read_row(std::string_view line, TraceRow& row);
  bool has_timestamp() const;

 private:
  std::vector<const TraceColumn*> columns_;  // nullptr: passed over
  std::vector<std::string> names_;           // as the file writes them
  std::vector<std::string_view> cells_;      // of one row
};

}  // namespace pentafold
