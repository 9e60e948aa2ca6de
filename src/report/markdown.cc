#include "report/markdown.h"

#include "base/check.h"

namespace pentafold {

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '|') {
      out += "\\|";
    } else {
      out += byte < 0x20 || byte == 0x7F ? ' ' : c;
    }
  }
  return out;
}

MarkdownTable::MarkdownTable(const std::vector<std::string>& headings) : columns_(headings.size()) {
  add(headings);
  text_ += "|";
  for (std::size_t i = 0; i < columns_; ++i) text_ += "---|";
  text_ += "\n";
  rows_ = 0;
}

void MarkdownTable::add(const std::vector<std::string>& cells) {
  CHECK(cells.size() == columns_);
  text_ += "|";
  for (const std::string& cell : cells) text_ += " " + markdown_cell(cell) + " |";
  text_ += "\n";
  ++rows_;
}

}  // namespace pentafold
