#include "support/tidy_source.h"

#include <algorithm>
#include <cctype>
#include <regex>

namespace pentafold::tidy {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Walks the text once; every byte lands in code, in comments, or in neither.
class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {
    out_.code.assign(text.size(), ' ');
    out_.comments.assign(text.size(), ' ');
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') out_.code[i] = out_.comments[i] = '\n';
    }
  }

  SplitSource run() && {
    while (at_ < text_.size()) step();
    return std::move(out_);
  }

 private:
  void step() {
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("//")) return comment(end_of_line());
    if (rest.starts_with("/*")) return comment(after("*/", at_ + 2));
    if (rest.starts_with("R\"") && (at_ == 0 || !is_word(text_[at_ - 1]))) return raw_string();
    const char c = text_[at_];
    if (c == '"' || (c == '\'' && !is_digit_separator())) return literal(c);
    if (c == '#' && line_is_blank_before()) return preprocessor();
    out_.code[at_] = c;
    ++at_;
  }

  void comment(std::size_t end) {
    for (; at_ < end; ++at_) out_.comments[at_] = text_[at_];
  }
  void raw_string() {
    const std::size_t open = text_.find('(', at_);
    if (open == std::string_view::npos) {
      at_ = text_.size();
      return;
    }
    const std::string closing = ")" + std::string(text_.substr(at_ + 2, open - at_ - 2)) + "\"";
    at_ = after(closing, open);
  }
  void literal(char delimiter) {
    for (++at_; at_ < text_.size() && text_[at_] != delimiter; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    at_ = std::min(at_ + 1, text_.size());
  }
  // To the end of the line, over continuations; comments at its end stay comments.
  void preprocessor() {
    while (at_ < text_.size() && text_[at_] != '\n') {
      const std::string_view rest = text_.substr(at_);
      if (rest.starts_with("//")) return comment(end_of_line());
      if (rest.starts_with("/*")) {
        comment(after("*/", at_ + 2));
      } else {
        at_ = std::min(at_ + (rest.starts_with("\\\n") ? 2 : 1), text_.size());
      }
    }
  }

  bool is_digit_separator() const { return at_ > 0 && is_word(text_[at_ - 1]); }
  bool line_is_blank_before() const {
    std::size_t i = at_;
    while (i > 0 && (text_[i - 1] == ' ' || text_[i - 1] == '\t')) --i;
    return i == 0 || text_[i - 1] == '\n';
  }
  std::size_t end_of_line() const { return std::min(text_.find('\n', at_), text_.size()); }
  std::size_t after(std::string_view mark, std::size_t from) const {
    const std::size_t found = text_.find(mark, from);
    return found == std::string_view::npos ? text_.size() : found + mark.size();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  SplitSource out_;
};

enum class Scope { Outer, Function, Other };  // Outer: namespace or type, where functions may begin

// Cuts what stands in balanced pairs, so that what is left is the shape of the declaration.
std::string without_pairs(const std::string& text, char open, char close) {
  std::string out;
  int depth = 0;
  for (const char c : text) {
    if (c == close && depth > 0) --depth;
    if (depth == 0) out += c;
    if (c == open) ++depth;
  }
  return out;
}

// What does the brace after this declaration open?
Scope classify(const std::string& declaration) {
  static const std::regex kType(R"(^\s*(inline\s+)?(namespace|extern|class|struct|union|enum)\b)");
  static const std::regex kOperator(R"(operator\s*[^\s\w(]+)");
  std::string shape = without_pairs(declaration, '(', ')');
  shape = std::regex_replace(shape, kOperator, "operator");
  const bool is_template = shape.find("template") != std::string::npos;
  if (is_template) {
    shape = without_pairs(shape, '<', '>');
    shape = std::regex_replace(shape, std::regex(R"(^\s*template\s*<>)"), "");
  }
  const bool has_parameters = shape.find(')') != std::string::npos;
  const bool initialises = shape.find('=') != std::string::npos;
  if (initialises) return Scope::Other;
  if (std::regex_search(shape, kType) && shape.find("alignas") != std::string::npos) {
    return Scope::Outer;
  }
  if (std::regex_search(shape, kType) && !has_parameters) return Scope::Outer;
  return has_parameters ? Scope::Function : Scope::Other;
}

class FunctionFinder {
 public:
  explicit FunctionFinder(const std::string& code) : code_(code) {}

  FunctionScan run() && {
    for (at_ = 0; at_ < code_.size(); ++at_) step(code_[at_]);
    scan_.balanced = scan_.balanced && open_.empty();
    return std::move(scan_);
  }

 private:
  struct Open {
    Scope scope;
    int first_line;
  };
  bool outer() const { return open_.empty() || open_.back().scope == Scope::Outer; }

  void step(char c) {
    if (c == '\n') ++line_;
    if (c == '{') return open_brace();
    if (c == '}') return close_brace();
    if (!outer()) return;
    if (c == ';' || access_label(c)) {
      declaration_.clear();
    } else if (!declaration_.empty() || std::isspace(static_cast<unsigned char>(c)) == 0) {
      if (declaration_.empty()) first_line_ = line_;
      declaration_ += c;
    }
  }

  void open_brace() {
    const Scope scope = outer() ? classify(declaration_) : Scope::Other;
    open_.push_back({scope, first_line_});
    if (scope == Scope::Outer) declaration_.clear();
  }

  void close_brace() {
    if (open_.empty()) {
      scan_.balanced = false;
      return;
    }
    const Open closed = open_.back();
    open_.pop_back();
    if (!outer() || continues_initialiser()) return;
    if (closed.scope == Scope::Function) scan_.functions.push_back({closed.first_line, line_});
    declaration_.clear();
  }

  // "Type() : a_{1}, b_{2} {}": the first two closing braces end no body.
  bool continues_initialiser() const {
    const std::size_t next = code_.find_first_not_of(" \n\t", at_ + 1);
    return next != std::string::npos && (code_[next] == ',' || code_[next] == '{');
  }
  bool access_label(char c) const {
    if (c != ':') return false;
    return declaration_ == "public" || declaration_ == "private" || declaration_ == "protected";
  }

  const std::string& code_;
  std::size_t at_ = 0;
  int line_ = 1;
  int first_line_ = 1;
  std::string declaration_;
  std::vector<Open> open_;
  FunctionScan scan_;
};

}  // namespace

SplitSource split_source(std::string_view text) {
  return Splitter(text).run();
}

FunctionScan find_functions(const std::string& code) {
  return FunctionFinder(code).run();
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace pentafold::tidy
