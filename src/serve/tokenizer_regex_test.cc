#include "serve/tokenizer_regex.h"

#include <gtest/gtest.h>

namespace pentafold {
namespace {

using Strings = std::vector<std::string>;

// Matches in brackets, the rest bare.
Strings cut(const Regex& regex, std::string_view text) {
  RegexScratch scratch;
  std::vector<RegexSpan> spans;
  const Status status = regex.cut(text, scratch, spans);
  if (!status.ok()) return {"error: " + status.error().message};
  Strings out;
  for (const RegexSpan& span : spans) {
    const std::string part(text.substr(span.begin, span.end - span.begin));
    out.push_back(span.matched ? "[" + part + "]" : part);
  }
  return out;
}

Strings cut(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::from_ruby(pattern);
  if (!regex.ok()) return {"refused: " + regex.error().message};
  return cut(*regex, text);
}

TEST(TokenizerRegex, CutsWithoutGaps) {
  EXPECT_EQ(cut("b+", "abbcb"), (Strings{"a", "[bb]", "c", "[b]"}));
  EXPECT_EQ(cut("b+", ""), Strings{});
  EXPECT_EQ(cut("x*", "axb"), (Strings{"[]", "a", "[x]", "b", "[]"}));  // none right after [x]
  EXPECT_EQ(cut("(?<=a)b", "abb"), (Strings{"a", "[b]", "b"}));
}

TEST(TokenizerRegex, RubyMeaningsHold) {
  EXPECT_EQ(cut("\\s", "\xE1\xA0\x8E \xC2\x85"), (Strings{"\xE1\xA0\x8E", "[ ]", "[\xC2\x85]"}));
  EXPECT_EQ(cut("\\w+", "a\xCC\x81_-"), (Strings{"[a\xCC\x81_]", "-"}));  // marks are word letters
  EXPECT_EQ(cut("\\w", "\xC2\xBD\xE2\x91\xA0"), (Strings{"[\xC2\xBD]", "\xE2\x91\xA0"}));
  EXPECT_EQ(cut("\\h+", "xFf0 "), (Strings{"x", "[Ff0]", " "}));  // hexadecimal digits
  EXPECT_EQ(cut("\\v", "\n\v"), (Strings{"\n", "[\v]"}));         // one character only
  EXPECT_EQ(cut("^a$", "a\na"), (Strings{"[a]", "\n", "[a]"}));   // lines, not the text
  EXPECT_EQ(cut("(?m:a.b)", "a\nb"), (Strings{"[a\nb]"}));        // m: dot takes newlines
  EXPECT_EQ(cut("a.b", "a\nb"), (Strings{"a\nb"}));
  EXPECT_EQ(cut("a{,2}b", "aaab"), (Strings{"a", "[aab]"}));
  EXPECT_EQ(cut("a{b", "a{b"), (Strings{"[a{b]"}));
  EXPECT_EQ(cut("\\bb\\b", "ab b"), (Strings{"ab ", "[b]"}));
  EXPECT_EQ(cut("[]x]+", "]x"), (Strings{"[]x]"}));
  EXPECT_EQ(cut("\\u00e9|\\x41",
                "\xC3\xA9"
                "A"),
            (Strings{"[\xC3\xA9]", "[A]"}));
  EXPECT_EQ(cut("\\p{^L}", "a1"), (Strings{"a", "[1]"}));
  EXPECT_EQ(cut("(?i:'s)", "'S"), (Strings{"['S]"}));
}

// U+31350 became a letter in Unicode 15, U+1E5D1 (a letter, too) in 16.
TEST(TokenizerRegex, RecentLettersAreLetters) {
  const std::string recent = "\xF0\xB1\x8D\x90\xF0\x9E\x97\x91";
  EXPECT_EQ(cut("\\p{L}+", recent), Strings{"[" + recent + "]"});
  EXPECT_EQ(cut("[\\p{Lo}]+", recent), Strings{"[" + recent + "]"});
  EXPECT_EQ(cut("\\P{L}+", recent), Strings{recent});
  EXPECT_EQ(cut("\\w+", recent), Strings{"[" + recent + "]"});
}

// U+30FC belongs to Katakana and, by script extensions only, to Hiragana.
TEST(TokenizerRegex, ScriptsAreNotWidened) {
  EXPECT_EQ(cut("\\p{Hiragana}+", "\xE3\x81\x82\xE3\x83\xBC"),
            (Strings{"[\xE3\x81\x82]", "\xE3\x83\xBC"}));
}

TEST(TokenizerRegex, WhatHasNoEqualIsRefused) {
  for (const char* pattern : {"[a[b]]",
                              "[a&&b]",
                              "a{2}+",
                              "(a)\\1",
                              "(*LIMIT_MATCH=1)a",
                              "(?R)",
                              "(?C1)a",
                              "(?<n>a)",
                              "\\Ka",
                              "\\Qa\\E",
                              "\\C",
                              "\\p{L",
                              "\\pL",
                              "\\xFF",
                              "\\x{41",
                              "a\\",
                              "[a",
                              "[\\W]",
                              "(?~a)",
                              "(?#c)",
                              "\\p{No Such Property}",
                              "(a",
                              "*",
                              "a{99999}",
                              "(?i"}) {
    const auto regex = Regex::from_ruby(pattern);
    EXPECT_FALSE(regex.ok()) << pattern;
    if (!regex.ok()) {
      EXPECT_FALSE(regex.error().message.empty());
    }
  }
  EXPECT_FALSE(Regex::from_ruby(std::string(100'000, 'a')).ok());
  EXPECT_FALSE(Regex::from_ruby(std::string(2'000, '(') + std::string(2'000, ')')).ok());
  EXPECT_FALSE(Regex::from_literal("").ok());
}

TEST(TokenizerRegex, EndlessBacktrackingBecomesAnError) {
  const std::string text = std::string(5'000, 'a') + "!";
  for (const char* pattern : {"(a+)+$", "(a|aa)+$", "(a|a)*b", "(?:a*)*c"}) {
    const Strings parts = cut(pattern, text);
    ASSERT_EQ(parts.size(), 1U) << pattern;
    EXPECT_TRUE(parts[0].starts_with("error: regex") || parts[0] == text) << parts[0];
  }
  EXPECT_TRUE(cut("(a|aa)+$", text)[0].starts_with("error: regex '(a|aa)+$' gave up"));
}

TEST(TokenizerRegex, LiteralsMeanThemselves) {
  for (const char* text : {"a.b", "\\s", "[x]", "(", "{2}", "^", "#", "a|b", "\xE2\x96\x81"}) {
    const auto regex = Regex::from_literal(text);
    ASSERT_TRUE(regex.ok()) << text;
    EXPECT_EQ(cut(*regex, std::string("-") + text + "aXb"),
              (Strings{"-", "[" + std::string(text) + "]", "aXb"}));
  }
}

}  // namespace
}  // namespace pentafold
