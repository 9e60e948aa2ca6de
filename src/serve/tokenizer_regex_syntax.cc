// Oniguruma (Ruby syntax) to PCRE2: the rewriting half of tokenizer_regex.h.
#include <fmt/format.h>

#include <string_view>

#include "serve/tokenizer_regex.h"
#include "serve/tokenizer_unicode.h"

namespace pentafold {
namespace {

// Letters, marks, decimal digits and connectors; below U+0100 Oniguruma reads a Latin-1 table,
// which counts superscripts and fractions, too.
std::string word_members() {
  return "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}" +
         recent_characters("L") + recent_characters("M") + recent_characters("Nd");
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// What a class needs to contain to mean \s, \d, \h, \w or \v; empty for any other letter.
std::string shorthand_members(char c) {
  switch (c) {
    case 's':
      return "\\p{wspace}";
    case 'd':
      return "\\p{Nd}" + recent_characters("Nd");
    case 'h':
      return "0-9a-fA-F";
    case 'w':
      return word_members();
    case 'v':
      return "\\x0B";
    default:
      return "";
  }
}

class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  Result<std::string> run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        PF_TRY(escape(false));
      } else if (c == '[') {
        PF_TRY(char_class());
      } else if (c == '(') {
        PF_TRY(group());
      } else if (c == '{') {
        PF_TRY(interval());
      } else {
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  Error refuse(std::string_view construct, std::string_view why) const {
    return make_error(ErrorCode::Unsupported,
                      fmt::format("regex construct '{}' (at byte {} of the pattern) is not "
                                  "supported: {}",
                                  construct, at_, why));
  }
  Error unfinished(std::string_view what) const {
    return make_error(ErrorCode::InvalidSpec, fmt::format("regex ends inside {}", what));
  }
  void take(std::size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }
  void replace(std::size_t count, std::string_view by) {
    out_ += by;
    at_ += count;
  }

  Status escape(bool in_class);
  Status lettered_escape(char c, bool in_class);
  Status negated_in_class(char c);
  Status property(bool in_class);
  Status code_point();
  Status char_class();
  Status group();
  Status option_group();
  Status interval();

  std::string_view in_;
  std::size_t at_ = 0;
  std::string out_;
};

Status Translator::escape(bool in_class) {
  if (at_ + 1 >= in_.size()) return unfinished("an escape");
  const char c = in_[at_ + 1];
  if (is_letter(c)) return lettered_escape(c, in_class);
  if (is_digit(c)) return refuse(in_.substr(at_, 2), "back references and octal escapes");
  if ((c & 0x80) != 0) {  // an escaped character beyond ASCII stands for itself
    at_ += 1;
    return ok_status();
  }
  take(2);
  return ok_status();
}

Status Translator::lettered_escape(char c, bool in_class) {
  constexpr std::string_view kSameInBoth = "nrtfae", kNegated = "SDHW", kAnchors = "AzZ";
  if (c == 'p' || c == 'P') return property(in_class);
  if (c == 'x' || c == 'u') return code_point();
  if (kSameInBoth.find(c) != std::string_view::npos) {
    take(2);
  } else if (const std::string members = shorthand_members(c); !members.empty()) {
    replace(2, in_class ? members : "[" + members + "]");
  } else if (in_class) {
    return negated_in_class(c);
  } else if (kNegated.find(c) != std::string_view::npos) {
    replace(2, "[^" + shorthand_members(static_cast<char>(c - 'A' + 'a')) + "]");
  } else if (c == 'b') {
    replace(2, fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", word_members()));
  } else if (c == 'B') {
    replace(2, fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", word_members()));
  } else if (kAnchors.find(c) != std::string_view::npos) {
    take(2);
  } else {
    return refuse(in_.substr(at_, 2), "no such escape");
  }
  return ok_status();
}

// A class has no way to take characters out again, so only what PCRE2 can negate itself remains.
Status Translator::negated_in_class(char c) {
  if (c != 'S' && c != 'D') return refuse(in_.substr(at_, 2), "no such escape inside [...]");
  replace(2, c == 'S' ? "\\P{wspace}" : "\\P{Nd}");
  return ok_status();
}

// Names of one or two letters are general categories in both. A longer name may be a script, which
// PCRE2 alone would widen to its script extensions unless told otherwise.
Status Translator::property(bool in_class) {
  const std::size_t close = in_.find('}', at_);
  if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || close == std::string_view::npos) {
    return refuse(in_.substr(at_, 2), "write the property in braces");
  }
  const bool capital = in_[at_ + 1] == 'P';
  std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
  const bool caret = !name.empty() && name.front() == '^';
  if (caret) name.remove_prefix(1);
  for (const char c : name) {
    if (!is_letter(c) && c != '_' && c != ' ' && c != '&') return refuse(name, "no such property");
  }
  at_ = close + 1;
  const bool negated = capital != caret;
  const std::string script = fmt::format("sc:{}", name);
  // Asking the compiler is cheaper than a table of scripts: it refuses "sc:" before anything else.
  const bool is_script = name.size() > 2 && compiles_in_pcre2(fmt::format("\\p{{{}}}", script));
  const std::string recent = recent_characters(name == "Alphabetic" ? "L" : name);
  const std::string known = is_script ? script : std::string(name);
  if (in_class && negated) {
    out_ += fmt::format("\\P{{{}}}", known);
  } else if (in_class) {
    out_ += fmt::format("\\p{{{}}}{}", known, recent);
  } else {
    out_ += fmt::format("[{}\\p{{{}}}{}]", negated ? "^" : "", known, recent);
  }
  return ok_status();
}

// \xHH, \x{H...}, \uHHHH
Status Translator::code_point() {
  const bool braces = in_[at_ + 1] == 'x' && at_ + 2 < in_.size() && in_[at_ + 2] == '{';
  const std::size_t begin = at_ + (braces ? 3 : 2);
  const std::size_t most = in_[at_ + 1] == 'u' ? 4 : braces ? 8 : 2;
  std::size_t end = begin;
  while (end < in_.size() && end - begin < most && is_hex(in_[end])) ++end;
  const std::string_view digits = in_.substr(begin, end - begin);
  const bool closed = !braces || (end < in_.size() && in_[end] == '}');
  if (digits.empty() || !closed || (!braces && digits.size() != most)) {
    return refuse(in_.substr(at_, end - at_), "not a complete hexadecimal escape");
  }
  if (most == 2 && digits[0] >= '8') {
    return refuse(in_.substr(at_, end - at_), "single bytes beyond ASCII; write \\x{...}");
  }
  out_ += fmt::format("\\x{{{}}}", digits);
  at_ = end + (braces ? 1 : 0);
  return ok_status();
}

Status Translator::char_class() {
  take(1);
  if (at_ < in_.size() && in_[at_] == '^') take(1);
  if (at_ < in_.size() && in_[at_] == ']') replace(1, "\\]");
  while (at_ < in_.size() && in_[at_] != ']') {
    if (in_[at_] == '\\') {
      PF_TRY(escape(true));
    } else if (in_[at_] == '[') {
      return refuse("[", "classes inside classes; write \\[ for the character");
    } else if (in_.substr(at_, 2) == "&&") {
      return refuse("&&", "intersections of classes");
    } else {
      take(1);
    }
  }
  if (at_ >= in_.size()) return unfinished("[...]");
  take(1);
  return ok_status();
}

Status Translator::group() {
  const std::string_view rest = in_.substr(at_);
  if (rest.starts_with("(*")) return refuse("(*", "nothing to repeat");
  if (!rest.starts_with("(?")) {
    take(1);
    return ok_status();
  }
  for (const std::string_view opening : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
    if (rest.starts_with(opening)) {
      take(opening.size());
      return ok_status();
    }
  }
  return option_group();
}

Status Translator::option_group() {
  std::size_t end = at_ + 2;
  std::string options;
  while (end < in_.size() && (in_[end] == 'i' || in_[end] == 'm' || in_[end] == '-')) {
    options += in_[end] == 'm' ? 's' : in_[end];  // Ruby's m is "dot matches newline"
    ++end;
  }
  if (options.empty() || end >= in_.size() || (in_[end] != ':' && in_[end] != ')')) {
    return refuse(in_.substr(at_, 4), "only (?: (?= (?! (?> (?<= (?<! (?i) and (?i: open a group");
  }
  out_ += "(?" + options + in_[end];
  at_ = end + 1;
  return ok_status();
}

// {n}, {n,}, {n,m}, {,m}; any other brace is a character.
Status Translator::interval() {
  std::size_t end = at_ + 1;
  while (end < in_.size() && (is_digit(in_[end]) || in_[end] == ',')) ++end;
  const std::string_view body = in_.substr(at_ + 1, end - at_ - 1);
  const std::size_t comma = body.find(',');
  const bool closed = end < in_.size() && in_[end] == '}';
  if (!closed || body.empty() || body == "," ||
      (comma != std::string_view::npos && body.find(',', comma + 1) != std::string_view::npos)) {
    replace(1, "\\{");
    return ok_status();
  }
  if (end + 1 < in_.size() && in_[end + 1] == '+') {
    return refuse(in_.substr(at_, end + 2 - at_),
                  "Ruby repeats the repetition, PCRE2 possesses it");
  }
  out_ += comma == 0 ? fmt::format("{{0{}}}", body) : fmt::format("{{{}}}", body);
  at_ = end + 1;
  return ok_status();
}

}  // namespace

Result<std::string> translate_ruby_regex(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace pentafold
