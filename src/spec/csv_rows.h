// CsvRows: the rows of a CSV file too large to hold, plain or gzip.
//
// RFC 4180: fields between commas, quoted where they hold commas, quotes (doubled) or line ends. A
// row's fields, their number and their bytes are bounded, as a line is by LineReader.
// Cost: one pass, one row in memory. Held by spec/csv_rows_test.cc and
// tests/fuzz/measurement_fuzz.cc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "spec/line_reader.h"

namespace pentafold {

class CsvRows {
 public:
  static Result<CsvRows> open(const std::string& path);
  // Borrows the text; `file` is for errors.
  CsvRows(std::string_view text, std::string file);

  // The next row that is not an empty line. False: there is none. InvalidSpec: a quote that is
  // never closed or has text after it, too many fields, a field too long.
  Result<bool> next(std::vector<std::string>& fields);
  int line() const { return line_; }  // where that row begins, from 1
  const std::string& file() const { return lines_.file(); }

 private:
  explicit CsvRows(LineReader lines);
  Result<bool> add_line(std::string_view text, std::vector<std::string>& fields);
  Error refused(std::string message) const;

  LineReader lines_;
  int line_ = 0;
  bool quoted_ = false;  // inside a quoted field that goes on in the next line
};

}  // namespace pentafold
