#include "spec/csv_rows.h"

#include <fmt/format.h>

#include <utility>

namespace pentafold {
namespace {

constexpr std::size_t kMaxFields = 1024;
constexpr std::size_t kMaxField = std::size_t{1} << 20;

}  // namespace

CsvRows::CsvRows(LineReader lines) : lines_(std::move(lines)) {}

CsvRows::CsvRows(std::string_view text, std::string file)
    : CsvRows(LineReader(text, std::move(file))) {}

Result<CsvRows> CsvRows::open(const std::string& path) {
  PF_ASSIGN(LineReader lines, LineReader::open(path));
  return CsvRows(std::move(lines));
}

Error CsvRows::refused(std::string message) const {
  return make_error(ErrorCode::InvalidSpec, std::move(message), lines_.file(), line_);
}

// Appends the line's text to the last field and opens new ones; false: a quote is still open.
Result<bool> CsvRows::add_line(std::string_view text, std::vector<std::string>& fields) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = fields.back();
    const char c = text[i];
    if (quoted_ && c == '"') {
      const bool doubled = i + 1 < text.size() && text[i + 1] == '"';
      if (doubled) {
        field += '"';
        ++i;
        continue;
      }
      quoted_ = false;
      if (i + 1 < text.size() && text[i + 1] != ',') {
        return refused(fmt::format("field {} has text after its closing quote", fields.size()));
      }
    } else if (quoted_) {
      field += c;
    } else if (c == ',') {
      if (fields.size() == kMaxFields) {
        return refused(fmt::format("has more than {} fields; is it a CSV file?", kMaxFields));
      }
      fields.emplace_back();
    } else if (c == '"' && field.empty()) {
      quoted_ = true;
    } else {
      field += c;
    }
    if (fields.back().size() > kMaxField) {
      return refused(fmt::format("field {} is longer than {} bytes", fields.size(), kMaxField));
    }
  }
  return !quoted_;
}

Result<bool> CsvRows::next(std::vector<std::string>& fields) {
  std::string_view text;
  do {
    PF_ASSIGN(const bool more, lines_.next(text));
    if (!more) return false;
  } while (text.empty());
  line_ = lines_.number();
  quoted_ = false;
  fields.assign(1, {});
  while (true) {
    PF_ASSIGN(const bool whole, add_line(text, fields));
    if (whole) return true;
    PF_ASSIGN(const bool more, lines_.next(text));
    if (!more) return refused("a quoted field is never closed");
    fields.back() += '\n';
  }
}

}  // namespace pentafold
