// Rows of trace files that are JSON objects. A trace has a million of them and a dozen known
// names, so they are read in place, without a document.
#include <fmt/format.h>

#include <charconv>

#include "base/quote.h"
#include "spec/quantity.h"
#include "spec/trace_row.h"

namespace pentafold {
namespace {

constexpr int kMaxDepth = 16;

class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool eat(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool at_end() { return peek() == '\0' && at_ == text_.size(); }
  std::size_t column() const { return at_ + 1; }

  // Between the quotes, escapes as they are written: no name or value of ours has one.
  bool string(std::string_view& out) {
    if (!eat('"')) return false;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) return false;
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    if (at_ >= text_.size()) return false;
    out = text_.substr(begin, at_++ - begin);
    return true;
  }

  // A number, true, false or null.
  bool word(std::string_view& out) {
    peek();
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    out = text_.substr(begin, at_ - begin);
    return out == "true" || out == "false" || out == "null" || to_number(out).has_value();
  }

  bool skip_value(int depth) {
    if (depth > kMaxDepth) return false;
    std::string_view ignored;
    if (peek() == '"') return string(ignored);
    if (peek() == '[') return skip_list('[', ']', depth);
    if (peek() == '{') return skip_list('{', '}', depth);
    return word(ignored);
  }

  // A list of integers 0 to 2^64 - 1.
  bool integers(std::vector<std::uint64_t>& out) {
    if (!eat('[')) return false;
    if (eat(']')) return true;
    do {
      peek();
      std::uint64_t value = 0;
      const char* begin = text_.data() + at_;
      const auto [end, status] = std::from_chars(begin, text_.data() + text_.size(), value);
      if (status != std::errc{}) return false;
      at_ += static_cast<std::size_t>(end - begin);
      out.push_back(value);
    } while (eat(','));
    return eat(']');
  }

 private:
  static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' ||
           c == 'E';
  }
  bool skip_list(char open, char close, int depth) {
    eat(open);
    if (eat(close)) return true;
    std::string_view key;
    do {
      if (open == '{' && (!string(key) || !eat(':'))) return false;
      if (!skip_value(depth + 1)) return false;
    } while (eat(','));
    return eat(close);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string no_json(const JsonCursor& cursor) {
  return fmt::format("is not a JSON object: it cannot be read from column {} on", cursor.column());
}

std::optional<std::string> read_value(JsonCursor& cursor, std::string_view key,
                                      const TraceColumn& column, TraceRow& row,
                                      std::vector<std::uint64_t>& hashes) {
  if (row.has(column.field)) return fmt::format("says {} twice", quote_text(key));
  if (column.field == TraceField::Hashes) {
    row.mark(column.field);
    if (cursor.integers(hashes)) return std::nullopt;
    return fmt::format("{} must be a list of whole numbers 0 to 2^64 - 1", key);
  }
  const char first = cursor.peek();
  TraceCell cell{.text = {}, .quoted = first == '"', .json = true};
  if (first == '[' || first == '{') return fmt::format("{} must be a number", key);
  if (cell.quoted ? !cursor.string(cell.text) : !cursor.word(cell.text)) return no_json(cursor);
  if (cell.text == "null" && !cell.quoted) return std::nullopt;  // as if it were not there
  auto problem = read_cell(column, cell, row);
  if (problem) return fmt::format("{} {}", key, *problem);
  return std::nullopt;
}

}  // namespace

std::optional<std::string> read_json_row(std::string_view line, TraceRow& row,
                                         std::vector<std::uint64_t>& hashes) {
  JsonCursor cursor(line);
  if (!cursor.eat('{')) return no_json(cursor);
  if (!cursor.eat('}')) {
    do {
      std::string_view key;
      if (!cursor.string(key) || !cursor.eat(':')) return no_json(cursor);
      const TraceColumn* column = find_trace_column(key);
      if (column == nullptr) {
        if (!cursor.skip_value(0)) return no_json(cursor);
      } else if (auto problem = read_value(cursor, key, *column, row, hashes)) {
        return problem;
      }
    } while (cursor.eat(','));
    if (!cursor.eat('}')) return no_json(cursor);
  }
  if (!cursor.at_end()) return no_json(cursor);
  return std::nullopt;
}

}  // namespace pentafold
