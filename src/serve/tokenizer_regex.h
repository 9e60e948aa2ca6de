// Regular expressions of tokenizer files, run by PCRE2 with the meaning they have in Oniguruma.
//
// Idea: the reference matches with Oniguruma in Ruby syntax; PCRE2 is several times faster (JIT)
// but reads a few escapes otherwise (\s, \w, \h, \v, script names, ^ and $). The pattern is
// rewritten so that both agree; constructs with no equal (nested classes, &&, {n}+, back
// references) are refused by name. Character properties are those of PCRE2's Unicode version.
// Source: Oniguruma doc/RE, pcre2pattern(3).
// Cost: one pcre2_match a match; steps, depth and heap of each are limited, so a pattern that
// backtracks without end becomes an Error. Held by serve/tokenizer_regex_test.cc.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pentafold {

// The PCRE2 form of an Oniguruma (Ruby syntax) pattern.
Result<std::string> translate_ruby_regex(std::string_view pattern);
bool compiles_in_pcre2(const std::string& pattern);

class RegexScratch {  // match memory; one per call, never shared between threads
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

struct RegexSpan {
  std::size_t begin, end;
  bool matched;
};

class Regex {  // immutable, cheap to copy, thread-safe
 public:
  static Result<Regex> from_ruby(std::string_view pattern);
  static Result<Regex> from_literal(std::string_view text);
  static Regex from_trusted(std::string_view pattern);  // from_ruby of a constant; must compile

  // Cuts `text` (valid UTF-8) into matches and what lies between, in order and without gaps. Empty
  // matches appear as empty spans, except right behind another match. Appends to `out`.
  Status cut(std::string_view text, RegexScratch& scratch, std::vector<RegexSpan>& out) const;

 private:
  struct Code;
  static Result<Regex> compile(const std::string& pattern, std::string_view shown);
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

}  // namespace pentafold
