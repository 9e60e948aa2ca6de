// tidy_source: enough understanding of C++ text to judge its form: code apart from comments and
// strings, and where functions begin and end.
//
// split_source keeps every newline, so offsets and lines stay those of the file. find_functions
// matches braces and asks of each what stands before it: namespace, type, initialiser or function.
// It knows the style of this code base (clang-format, no braces opened in one #if branch and closed
// in another), not all of C++; braces that do not match are reported rather than guessed at.
// Cost: linear in the text. Held by tests/tidy_test.cc on planted snippets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pentafold::tidy {

struct SplitSource {
  std::string code;      // comments, literals and preprocessor lines blanked
  std::string comments;  // everything but comments blanked
};
SplitSource split_source(std::string_view text);

struct Function {
  int first_line = 0;  // of its declaration, 1-based
  int last_line = 0;   // of its closing brace
  int lines() const { return last_line - first_line + 1; }
};
struct FunctionScan {
  std::vector<Function> functions;
  bool balanced = true;
};
FunctionScan find_functions(const std::string& code);

std::vector<std::string> split_lines(std::string_view text);

}  // namespace pentafold::tidy
