// markdown: tables and safe cells for documents.
//
// Names come from strangers' files: in a cell nothing ends the row, and no control character
// reaches a terminal. Cost: one pass. Held by report/figures_test.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pentafold {

// `text` on one line, without what would end a table cell.
std::string markdown_cell(std::string_view text);

class MarkdownTable {
 public:
  explicit MarkdownTable(const std::vector<std::string>& headings);
  // As many cells as headings.
  void add(const std::vector<std::string>& cells);
  bool empty() const { return rows_ == 0; }
  std::string text() const { return text_ + "\n"; }

 private:
  std::size_t columns_ = 0;
  std::size_t rows_ = 0;
  std::string text_;
};

}  // namespace pentafold
