#include "spec/layer_pattern.h"

#include <fmt/format.h>

#include "base/quote.h"

namespace pentafold {
namespace {

constexpr int kMaxDepth = 8;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '+';
}

class Parser {
 public:
  Parser(std::string_view text, std::size_t max_layers) : text_(text), max_layers_(max_layers) {}

  LayerPattern parse() {
    LayerPattern out;
    out.layers = group(0);
    if (problem_.empty() && at_ < text_.size()) problem_ = "has a ) without its (";
    if (problem_.empty() && out.layers.empty()) problem_ = "names no layer";
    out.problem = problem_;
    return out;
  }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == ',')) ++at_;
  }

  // 1 when there is no number.
  std::size_t times() {
    if (at_ == text_.size() || !is_digit(text_[at_])) return 1;
    std::size_t value = 0;
    while (at_ < text_.size() && is_digit(text_[at_])) {
      value = value * 10 + static_cast<std::size_t>(text_[at_++] - '0');
      if (value > max_layers_) problem_ = fmt::format("repeats more than {} times", max_layers_);
      if (!problem_.empty()) return 1;
    }
    if (value == 0) problem_ = "repeats something 0 times";
    skip_spaces();
    return value;
  }

  std::vector<std::string> item(int depth) {
    if (at_ == text_.size()) {
      problem_ = "ends after a number; name a layer after it";
      return {};
    }
    if (text_[at_] == '(') {
      ++at_;
      std::vector<std::string> inside = group(depth + 1);
      if (problem_.empty() && at_ == text_.size()) problem_ = "has a ( without its )";
      ++at_;
      return inside;
    }
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    if (begin == at_) {
      problem_ = fmt::format("holds {}, which is neither a name nor a number",
                             quote_text(text_.substr(at_, 1)));
      return {};
    }
    return {std::string(text_.substr(begin, at_ - begin))};
  }

  std::vector<std::string> group(int depth) {
    std::vector<std::string> out;
    if (depth > kMaxDepth) problem_ = fmt::format("nests groups more than {} deep", kMaxDepth);
    skip_spaces();
    while (problem_.empty() && at_ < text_.size() && text_[at_] != ')') {
      const std::size_t repeats = times();
      if (!problem_.empty()) break;
      const std::vector<std::string> layers = item(depth);
      if (out.size() + repeats * layers.size() > max_layers_) {
        problem_ = fmt::format("gives more than {} layers", max_layers_);
        break;
      }
      for (std::size_t i = 0; i < repeats; ++i) out.insert(out.end(), layers.begin(), layers.end());
      skip_spaces();
    }
    return out;
  }

  std::string_view text_;
  std::size_t max_layers_;
  std::size_t at_ = 0;
  std::string problem_;
};

}  // namespace

LayerPattern parse_layer_pattern(std::string_view text, std::size_t max_layers) {
  return Parser(text, max_layers).parse();
}

}  // namespace pentafold
